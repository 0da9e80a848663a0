"""`equipoise verify`: a report is held against its predictions, and one changed digit anywhere fails."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from equipoise import judge
from equipoise import verify as verifier
from equipoise.cli import main
from equipoise.cohort.seal import open_held_out
from equipoise.trial.protocol import protocol_of
from equipoise.trial.table import validated
from trial.simulated_predictions import CONFIG, binary

SMALL = {"n_bootstrap": 100, "loess_bootstrap": 0, "min_cell": 100, "endpoints": ["auroc", "brier"]}
"""Few resamples, and no curves of so few rows: a page with forest plots alone."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small report with a seal, in the state in which `run` leaves it."""
    home = tmp_path_factory.mktemp("verify")
    folder = home / "run"
    folder.mkdir()
    table = validated(binary(n=160, seed=3, equipoise=0.4, linear=0.9))
    table.write_parquet(folder / "predictions.parquet")
    config = {"trial": yaml.safe_load(CONFIG.read_text()) | SMALL, "paths": {"ledger": str(home / "ledger")}, "served_before": 0, "seed": 0}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    opening = judge.open_seal(config, "c0ffee", table, "held_out")
    asked = [{"kind": "binary", "task": "risk", "required": ["linear"], "role": "held_out", "opening": opening, "target": "died"}]
    judge.publish(
        folder,
        table,
        protocol_of(config["trial"]),
        asked,
        predictions=folder / "predictions.parquet",
        seal=judge.seal_record(config, "c0ffee", table, "held_out", opening),
        context={"name": "small", "command": "equipoise run", "versions": {"numpy": "x"}},
        site=None,
    )
    return folder


@pytest.fixture(scope="module", autouse=True)
def remembered() -> Iterator[None]:
    """The trial and the page are pure functions: what was computed once from the same input is not computed again."""
    trials: dict[Any, Any] = {}
    pages: dict[str, list[tuple[str, bytes]]] = {}
    results_of, write_report = verifier.results_of, verifier.write_report

    def trial(table: pl.DataFrame, protocol: Any, asked: Any) -> Any:
        key = (table.write_csv(), protocol.hash, json.dumps(asked))
        if key not in trials:
            trials[key] = results_of(table, protocol, asked)
        return trials[key]

    def page(folder: Path, results: Any, context: Any) -> Path:
        key = json.dumps([results, context])
        if key not in pages:
            write_report(folder, results, context)
            pages[key] = [(p.relative_to(folder).as_posix(), p.read_bytes()) for p in folder.rglob("*.*") if p.name != "results.json"]
        (folder / "tables").mkdir(exist_ok=True)
        for name, content in pages[key]:
            (folder / name).write_bytes(content)
        return folder / "report.html"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifier, "results_of", trial)
        patch.setattr(verifier, "write_report", page)
        yield


@pytest.fixture
def copy(report: Path, tmp_path: Path) -> Path:
    return shutil.copytree(report, tmp_path / "copy")


def edited(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=1) + "\n")


@pytest.mark.parametrize("name", ["", "report.html", "claims.json"])
def test_an_unchanged_report_is_verified(report: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(report / name)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"verified: {report / 'report.html'}")
    assert "equal to the last digit" in out
    assert "the ledger holds opening 1" in out


def test_claims_say_protocol_seal_verdict_and_every_figure(report: Path) -> None:
    claims, results = (json.loads((report / name).read_text()) for name in ("claims.json", "results.json"))
    (question,) = claims["questions"]
    assert claims["protocol"]["hash"] == results["protocol"]["hash"]
    assert claims["seal"]["ledger"][0]["opening"] == claims["seal"]["opening"] == 1
    assert set(claims["seal"]["ledger"][0]) == {"opening", "at", "rows", "cohort", "protocol", "config", "predictions"}
    assert (question["verdict"], question["sentence"]) == (results["verdict"], results["verdict_detail"]["sentence"])
    for bound in ("value", "lo", "hi"):
        assert question["figures"][f"endpoints.auroc.{bound}"] == results["endpoints"]["auroc"][bound]
    assert question["figures"]["comparisons.linear.log_score.difference"] == results["comparisons"]["linear"]["log_score"]["difference"]
    assert question["figures"]["n.rows"] == 160


def _results(r: dict[str, Any]) -> None:
    r["endpoints"]["auroc"]["value"] = float(f"{r['endpoints']['auroc']['value']:.17g}"[:-4] + "1234")


def _page(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    at = re.search(r'<th scope="row">[^/]*AUROC.*?<data[^>]*>[^<\d]*0\.(\d)', text, re.S)
    assert at is not None
    (folder / "report.html").write_text(text[: at.start(1)] + str((int(at[1]) + 1) % 10) + text[at.end(1) :])


def _table(folder: Path) -> None:
    lines = (folder / "tables" / "comparisons.csv").read_text().splitlines(keepends=True)
    lines[1] = re.sub(r"(\d)(,)", lambda m: str((int(m[1]) + 1) % 10) + m[2], lines[1], count=1)
    (folder / "tables" / "comparisons.csv").write_text("".join(lines))


def _predictions(folder: Path) -> None:
    table = pl.read_parquet(folder / "predictions.parquet")
    table.with_columns(pl.when(pl.int_range(pl.len()) == 7).then(pl.col("risk") + 0.001).otherwise(pl.col("risk")).alias("risk")).write_parquet(
        folder / "predictions.parquet"
    )


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a digit of the page": (_page, "report.html: Performance, AUROC: printed"),
    "a digit of a table": (_table, "tables/comparisons.csv: line 2, "),
    "a late digit of the results": (lambda f: edited(f / "results.json", _results), "claims.json: files.results.json: printed"),
    "a number of the results": (lambda f: edited(f / "results.json", lambda r: r["n"].update(events=r["n"]["events"] + 1)), "results.json: n.events: printed"),
    "the verdict": (lambda f: edited(f / "results.json", lambda r: r.update(verdict="demonstrated gain")), "results.json: verdict: printed demonstrated gain"),
    "a figure of the claims": (
        lambda f: edited(f / "claims.json", lambda c: c["questions"][0]["figures"].update({"endpoints.brier.lo": 0.1})),
        "claims.json: questions.0.figures.endpoints.brier.lo: printed 0.1, recomputed 0.",
    ),
    "the claims' sentence": (lambda f: edited(f / "claims.json", lambda c: c["questions"][0].update(sentence="Great.")), "claims.json: questions.0.sentence"),
    "the protocol": (lambda f: edited(f / "claims.json", lambda c: c["protocol"].update(threshold=0.2)), "protocol"),
    "an impossible protocol": (lambda f: edited(f / "claims.json", lambda c: c["protocol"].update(level=1.95)), "cannot be repeated"),
    "the opening": (lambda f: edited(f / "claims.json", lambda c: c["seal"].update(opening=3)), "claims.json: seal.opening: printed 3, recomputed 1"),
    "the time of the opening": (
        lambda f: edited(f / "claims.json", lambda c: c["seal"]["ledger"][0].update(at="2020-01-01T00:00:00Z")),
        "claims.json: seal: printed opening 1 of 2020",
    ),
    "the rows of the seal": (lambda f: edited(f / "claims.json", lambda c: c["seal"]["ledger"][0].update(rows="ab" * 8)), "claims.json: seal.rows"),
    "what the page was made from": (lambda f: edited(f / "context.json", lambda c: c.update(name="big")), "report.html: "),
    "a prediction": (_predictions, "claims.json: predictions.sha256"),
    "a table too many": (lambda f: (f / "tables" / "more.csv").write_text("a\n1\n"), "tables/more.csv: printed a file, recomputed nothing"),
    "a table too few": (lambda f: (f / "tables" / "endpoints.csv").unlink(), "tables/endpoints.csv: printed nothing, recomputed a file"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_one_change_anywhere_fails_and_is_said(what: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, said = CHANGES[what]
    change(copy)
    assert main(["verify", str(copy)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("NOT VERIFIED")
    assert said in out
    assert len(out.splitlines()) < 6 * verifier.SHOWN


def test_an_opening_that_the_ledger_counts_higher_is_said(report: Path, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The ledger says 2 for these very hashes, the claims say 1."""
    config = yaml.safe_load((copy / "config.yaml").read_text())
    ledger = Path(shutil.copytree(config["paths"]["ledger"], tmp_path / "ledger"))
    (own,) = ledger.glob("*.jsonl")
    own.write_text(own.read_text().replace('"opening": 1', '"opening": 2'))
    (copy / "config.yaml").write_text(yaml.safe_dump(config | {"paths": {"ledger": str(ledger)}}))
    assert main(["verify", str(copy)]) == 1
    assert "claims.json: seal: printed opening 1 of" in (out := capsys.readouterr().out)
    assert "recomputed opening 2 of" in out


def test_rows_that_were_opened_again_are_a_note(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((copy / "config.yaml").read_text())
    ledger = Path(shutil.copytree(config["paths"]["ledger"], tmp_path / "ledger"))
    (copy / "config.yaml").write_text(yaml.safe_dump(config | {"paths": {"ledger": str(ledger)}}))
    (line,) = json.loads((copy / "claims.json").read_text())["seal"]["ledger"]
    hashes = {f"{name}_hash": line[name] for name in ("rows", "cohort", "protocol", "config")}
    assert open_held_out(ledger, **hashes, predictions_hash="abcdef") == 2
    assert main(["verify", str(copy)]) == 0
    assert "by now these rows were opened 2 times" in capsys.readouterr().out


def test_without_the_ledger_the_report_is_verified_and_the_seal_is_not(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "config.yaml").unlink()
    assert main(["verify", str(copy)]) == 0
    assert "the ledger is not on this machine: the seal record could not be checked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [([], "takes one report"), (["nowhere"], "There is no nowhere"), (["run/predictions.parquet"], "is no report"), (["."], "holds no claims.json")],
)
def test_what_is_no_report_is_a_mistake(words: list[str], said: str, report: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(report.parent)
    assert main(["verify", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_table_that_is_gone_and_claims_of_another_version_are_mistakes(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "predictions.parquet").unlink()
    assert main(["verify", str(copy)]) == 2
    assert "is gone" in capsys.readouterr().err
    edited(copy / "claims.json", lambda c: c["questions"][0]["asked"].update(moon="full"))
    assert main(["verify", str(copy)]) == 2
    assert "verify with the version that made it" in capsys.readouterr().err


def test_verifying_knows_no_torch(report: Path) -> None:
    code = (
        "import sys; from equipoise.cli import main; code = main(['verify', sys.argv[1]]); "
        "print([m for m in ('torch', 'pytorch_lightning', 'pyro', 'hydra', 'sklearn') if m in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(report)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "[]"

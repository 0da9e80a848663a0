"""`equipoise compare` on folders of runs: what it says, what it refuses, what it leaves behind."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from compare.written_runs import TRIAL, predictions, write_run, write_sweep
from equipoise.cli import main
from equipoise.compare import compared
from equipoise.compare.configs import ABSENT, differing, settings
from equipoise.compare.folder import read_runs
from equipoise.trial.protocol import protocol_of
from report.page_reader import Reader
from trial.simulated_predictions import judged


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def results(*names: str) -> dict[str, Any]:
    return compared(*read_runs(names))


def written(*names: str) -> dict[str, Any]:
    """By the command: what it writes is what `compared` returns."""
    assert main(["compare", *names]) == 0
    found: dict[str, Any] = json.loads(Path("comparison/comparison.json").read_text())
    return found


def page() -> Reader:
    return Reader(Path("comparison/comparison.html").read_text())


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["compare", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert not Path("comparison").exists()
    return error


def test_two_runs_are_compared_as_the_trial_compares_two_models(capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Path("one"), predictions("a"), opening=1)
    write_run(Path("two"), predictions("d"), opening=2, fusion="Late", d_model=16)
    found = written("one", "two")
    question = found["questions"][0]
    both = pl.concat([predictions("d"), predictions("a").filter(pl.col("model") == "equipoise").with_columns(pl.lit("one").alias("model"))])
    expected = judged(both, required=("one",), protocol=protocol_of(TRIAL))
    assert question["runs"]["two"]["endpoints"] == expected["endpoints"]
    assert question["comparators"]["linear"]["endpoints"] == expected["comparators"]["linear"]["endpoints"]
    for name, entry in expected["comparisons"]["one"].items():
        assert {k: question["differences"]["two"][name][k] for k in entry} == entry
    assert question["differences"]["two"]["log_score"]["p_adjusted"] == expected["comparisons"]["one"]["log_score"]["p"]  # one pair
    assert found["configs"] == {
        "d_model": {"one": 8, "two": 16},
        "fusion._target_": {"one": "equipoise.fusion.concat.Concat", "two": "equipoise.fusion.late.Late"},
    }
    read = page()
    assert "winner's curse" in read.text
    assert "At least 2 openings of these rows are on record" in read.text
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in read.tags}
    printed = capsys.readouterr().out
    assert "no verdict" in printed
    assert "reference" in printed


def test_runs_that_differ_in_their_seed_alone_are_one_line_with_both_kinds_of_claim(capsys: pytest.CaptureFixture[str]) -> None:
    for i, model in enumerate("abcdef"):
        write_run(Path(f"r{i}"), predictions(model), opening=i + 1, seed=i % 3, fusion="Concat" if i < 3 else "Late")
    found = written(*(f"r{i}" for i in range(6)))
    assert found["ways"] == {"fusion=Concat (3 seeds)": ["r0", "r1", "r2"], "fusion=Late (3 seeds)": ["r3", "r4", "r5"]}
    question = found["questions"][0]
    values = [question["runs"][f"r{i}"]["endpoints"]["log_score"]["value"] for i in range(6)]
    way = question["ways"]["fusion=Late (3 seeds)"]
    assert way["endpoints"]["log_score"]["value"] == pytest.approx(sum(values[3:]) / 3, rel=1e-12)
    assert way["seeds"]["log_score"]["mean"] == pytest.approx(sum(values[3:]) / 3, rel=1e-12)
    assert (way["seeds"]["log_score"]["min"], way["seeds"]["log_score"]["max"]) == (min(values[3:]), max(values[3:]))
    entry = question["differences"]["fusion=Late (3 seeds)"]["log_score"]
    assert entry["difference"] == pytest.approx((sum(values[3:]) - sum(values[:3])) / 3, rel=1e-9)
    assert entry["lo"] < entry["difference"] < entry["hi"]
    assert entry["seeds"]["lo"] < entry["difference"] < entry["seeds"]["hi"]
    assert entry["seeds"]["method"] == "Welch's t over 3 and 3 seeds"
    assert "Over seeds" in page().text


def test_two_seeds_have_a_spread_and_no_interval_over_seeds() -> None:
    for name, model, seed in (("one", "a", 0), ("two", "b", 1)):
        write_run(Path(name), predictions(model), seed=seed)
    question = results("one", "two")["questions"][0]
    assert question["differences"] == {}
    seeds = question["ways"]["one (2 seeds)"]["seeds"]["auroc"]
    assert seeds["sd"] > 0
    assert seeds["lo"] is None


def test_a_sweep_shows_tuning_metrics_without_p_values_and_says_which_job_failed(capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(Path("sweep"))
    found = written("sweep")
    assert found["role"] == "select"
    assert found["said"] == ["job sweep/6 was left out: it ended in a fault, see its job.json"]
    assert list(found["runs"]) == [f"sweep/{i}" for i in range(6)]
    for entry in found["questions"][0]["differences"]["fusion=Late (3 seeds)"].values():
        assert (entry["p"], entry["p_adjusted"], entry["seeds"]["p"], entry["seeds"]["p_adjusted"]) == (None, None, None, None)
        assert entry["seeds"]["lo"] is not None
    text = page().text
    assert "Tuning metrics, no claim" in text
    assert "winner's curse" not in text
    assert "the held-out rows stay sealed" in capsys.readouterr().out


def test_p_values_of_several_runs_are_adjusted_for_their_number() -> None:
    for i, model in enumerate("abcd"):
        write_run(Path(f"r{i}"), predictions(model), d_model=8 + i)
    differences = written("r0", "r1", "r2", "r3")["questions"][0]["differences"]
    of_primary = [table["log_score"] for table in differences.values()]
    ordered = sorted(of_primary, key=lambda e: e["p"])
    assert ordered[0]["p_adjusted"] == pytest.approx(min(1, 3 * ordered[0]["p"]))
    assert {e["adjustment"] for e in of_primary} == {"Holm"}
    secondary = [table[k] for table in differences.values() for k in table if k != "log_score"]
    assert {(e["adjustment"], e["adjusted_over"]) for e in secondary} == {("Benjamini-Hochberg", len([e for e in secondary if e["p"] is not None]))}
    with Path("comparison/tables/differences.csv").open() as f:
        lines = [line for line in csv.DictReader(f) if line["metric"] == "log_score"]
    assert [float(line["p_adjusted"]) for line in lines] == [e["p_adjusted"] for e in of_primary]


def test_rows_that_not_every_run_was_judged_on_are_left_out_and_said() -> None:
    people = [f"s{i}" for i in range(30)]
    write_run(Path("one"), predictions("a"))
    write_run(Path("two"), predictions("b").filter(~pl.col("subject_id").is_in(people)), d_model=16, manifest={"cohort_hash": "c1"})
    found = results("one", "two")
    assert "the runs' cohorts are not the same" in found["said"][0]
    question = found["questions"][0]
    assert question["n"]["rows"] == 210
    assert "30 of 240 rows of one were not judged in every run and are left out" in question["said"]


def test_a_comparator_that_is_not_the_same_in_every_run_is_left_out_and_said() -> None:
    write_run(Path("linear"), predictions("a"))
    write_run(Path("two"), predictions("b"), d_model=16)
    question = results("linear", "two")["questions"][0]
    assert list(question["comparators"]) == ["linear (comparator)"], "a run may have a comparator's name"
    write_run(Path("three"), predictions("b", comparator="f"), d_model=16)
    question = results("linear", "three")["questions"][0]
    assert question["comparators"] == {}
    assert "comparator linear is left out: its predictions are not the same in every run" in question["said"]


def test_another_protocol_is_said_and_the_first_ones_judges() -> None:
    write_run(Path("one"), predictions("a"))
    write_run(Path("two"), predictions("b"), trial=TRIAL | {"level": 0.9})
    found = results("two", "one")
    assert found["questions"][0]["protocol"]["level"] == 0.9
    assert any("another protocol (trial keys level); here that of two judges all" in s for s in found["said"])


def test_the_same_run_copied_is_left_out_and_other_predictions_of_one_config_are_said() -> None:
    write_run(Path("one"), predictions("a"))
    write_run(Path("copy"), predictions("a"))
    write_run(Path("again"), predictions("b"))
    found = results("one", "copy", "again")
    assert found["ways"] == {"one": ["one"], "again": ["again"]}
    assert "copy was left out: it repeats one" in found["said"][0]
    assert "again has the config and the seed of one, but other predictions" in found["said"][1]


def changed(folder: Path) -> None:
    table = pl.read_parquet(folder / "predictions.parquet")
    table.with_columns((pl.col("risk") * 0.99).alias("risk")).write_parquet(folder / "predictions.parquet")


def unfinished(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("opening")
    (folder / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))


def as_other(results: dict[str, Any]) -> Callable[[Path], None]:
    return lambda folder: (folder / "results.json").write_text(json.dumps(json.loads((folder / "results.json").read_text()) | results))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            unfinished,
            "The run in two is not finished. Expected: predictions and results. Found: status 'interrupted'. To mend: go on with it, equipoise run run_dir=two",
        ),
        (changed, "The predictions in two were changed after the run"),
        (lambda folder: (folder / "results.json").unlink(), "no results.json"),
        (lambda folder: (folder / "manifest.json").unlink(), "The folder two is not a run's"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "cannot be read"),
        (as_other({"task": "death"}), "The runs answer different questions"),
        (as_other({"kind": "continuous"}), "Task 'risk' is not the same question in every run"),
        (as_other({"target": "stroke"}), "one: binary outcome; two: binary stroke"),
        (as_other({"role": "select"}), "one: held-out rows; two: select rows (sealed)"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(spoil: Callable[[Path], Any], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Path("one"), predictions("a"))
    write_run(Path("two"), predictions("b"), d_model=16)
    spoil(Path("two"))
    assert said in refused(capsys, "one", "two")


def test_other_rows_and_other_outcomes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Path("one"), predictions("a"))
    table = predictions("b")
    write_run(Path("others"), table.with_columns(("x" + pl.col("subject_id")).alias("subject_id")), d_model=16)
    assert "no rows in common" in refused(capsys, "one", "others")
    write_run(Path("turned"), table.with_columns((1 - pl.col("outcome")).alias("outcome")), d_model=16)
    error = refused(capsys, "one", "turned")
    assert "Runs one and turned know another outcome of 240 of their common rows" in error


def test_names_that_are_no_two_runs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Path("one"), predictions("a"))
    assert "There is nothing to compare" in refused(capsys)
    assert "1 finished run" in refused(capsys, "one")
    assert "is named twice" in refused(capsys, "one", "./one")
    assert "There is no folder elsewhere" in refused(capsys, "one", "elsewhere")
    assert "the folder of a run or of a sweep" in refused(capsys, "one", "one", "--out", "one")
    write_run(Path("copy"), predictions("a"))
    assert "it repeats one" in refused(capsys, "one", "copy")


def test_nothing_of_a_person_and_no_path_stands_in_what_is_left_behind(tmp_path: Path) -> None:
    for name, model, d_model in (("one", "a", 8), ("two", "b", 16)):
        table = predictions(model).with_columns(("patient-" + pl.col("subject_id")).alias("subject_id"), pl.lit("patient-c").alias("cluster"))
        write_run(Path(name), table, d_model=d_model)
    written("one", "two")
    for path in Path("comparison").rglob("*"):
        if path.is_file():
            assert "patient-" not in path.read_text()
            assert str(tmp_path) not in path.read_text()


def test_comparing_imports_no_torch() -> None:
    code = "import sys, equipoise.compare, omegaconf, rich.table; print(sorted({'torch', 'pytorch_lightning', 'wandb'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_settings_leave_out_seeds_and_places() -> None:
    own = {
        "seed": 3,
        "run_dir": "a",
        "cohort": {"seed": 0, "path": "x.csv"},
        "comparator": {"linear": {"seed": 3}, "boosting": {"seed": 4}},
        "logger": {"a": 1},
    }
    assert settings(own) == {"cohort.seed": 0, "comparator.boosting.seed": 4}
    assert differing({"a": {"x": 1, "y": None}, "b": {"x": 1}}) == {"y": {"a": None, "b": ABSENT}}

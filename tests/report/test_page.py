"""The page as a whole: it always comes, it is safe, it says what results.json says."""

from __future__ import annotations

import copy
import json
import logging
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from equipoise.report import write_report
from equipoise.report.curves import curves
from equipoise.report.finding import Finding
from equipoise.report.markup import Numbering
from equipoise.report.pack.whole import PARTS
from equipoise.report.page import page
from report.page_reader import Reader
from report.simulated_results import binary_results, context, of_every_kind

KINDS = of_every_kind()
BINARY = KINDS["binary"]
SMALL = binary_results(comparators=("linear",), only=("auroc", "log_score")) | {"curves": {}}
NASTY = '<b onload="x()">&amp;$x_1^{2$'


@pytest.fixture(autouse=True)
def _no_section_fails(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Any:
    """A section that cannot be made is only a warning in use; in a test it is a failure unless the test is about that."""
    yield
    if "sections_may_fail" not in request.fixturenames:
        assert not [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.fixture
def sections_may_fail() -> None:
    """Marks a test whose subject is a section that cannot be made."""


@cache
def written(kind: str) -> tuple[str, list[str], str]:
    """The page of a kind as `write_report` writes it, the names of all files in the folder, and the name of the returned path."""
    with tempfile.TemporaryDirectory() as folder:
        at = write_report(Path(folder) / "run", KINDS[kind], context())
        return at.read_text(encoding="utf-8"), sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()), at.name


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_question_gets_a_whole_page_with_its_verdict_sentence(kind: str) -> None:
    text, names, name = written(kind)
    read = Reader(text)
    assert name == "report.html"
    assert KINDS[kind]["verdict_detail"]["sentence"] in read.text
    assert len(text.encode()) < 2 * 2**20
    assert sum(tag == "svg" for tag, _ in read.tags) >= 3
    assert {n for n in names if "/tables/" not in n} == {f"run/{n}" for n in ("report.html", *PARTS)}
    assert {"run/tables/comparisons.csv", "run/tables/endpoints.csv"} <= set(names)


@pytest.mark.parametrize("kind", KINDS)
def test_no_page_has_a_script_an_outside_reference_or_an_id_twice(kind: str) -> None:
    text = written(kind)[0]
    read = Reader(text)
    assert not {"script", "link", "iframe", "object", "embed", "img", "form", "base"} & {tag for tag, _ in read.tags}
    for _, attributes in read.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert not [v for n, v in attributes.items() if n in ("href", "src", "xlink:href", "action") and not (v or "").startswith(("#", "data:image/png"))]
    assert "http" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    ids = [a["id"] for _, a in read.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {(a.get("href") or "#")[1:] for t, a in read.tags if t == "use"} <= set(ids)


def test_names_are_text_and_never_markup_in_tables_figures_and_flow() -> None:
    results = binary_results(comparators=(NASTY,), only=("auroc", "log_score"))
    results["target"] = results["verdict_detail"]["sentence"] = NASTY
    results["scenarios"] = {f"masked:{NASTY}": results["scenarios"]["masked:genotype"]}
    where = context(name=NASTY, command=NASTY, config_yaml=NASTY, not_run={NASTY: NASTY}, reader_notes={NASTY: {NASTY: NASTY}}, benchmark_note=NASTY)
    where["cohort"] = where["cohort"] | {"flow": [{"step": NASTY, "n_rows": 5, "n_subjects": 5, "note": NASTY}], "sources": [{"name": NASTY}]}
    where["presence"] = {NASTY: {NASTY: 0.5}}
    text = page(results, where)
    read = Reader(text)
    assert "<b onload" not in text
    assert not any("onload" in a for _, a in read.tags)
    assert read.text.count('<b onload="x()">&amp;$x_1^{2$') > 10


def test_no_absolute_path_of_the_machine_reaches_the_page_or_its_tables(tmp_path: Path) -> None:
    results = copy.deepcopy(SMALL)
    results["endpoints"]["auroc"]["note"] = "read from /srv/secret/predictions.parquet"
    where = context(benchmark_note=r"kept in C:\Users\ann\set_b", ledger_note="see ~/ledger/x.jsonl", failures=["/opt/eq/run.py broke"])
    write_report(tmp_path, results, where)
    text = (tmp_path / "report.html").read_text()
    for part in ("/home/ann", "/srv", "Users", "~/ledger", "/opt/eq"):
        assert part not in text
    assert "…/7" in text  # the last part of run_dir still tells the run
    assert "/srv" not in (tmp_path / "tables" / "endpoints.csv").read_text()


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes_also_in_another_process(tmp_path: Path) -> None:
    results = SMALL | {"curves": {m: {"calibration": c["calibration"]} for m, c in BINARY["curves"].items()}}
    first = page(results, context())
    assert page(copy.deepcopy(results), context()) == first
    (tmp_path / "in.json").write_text(json.dumps([results, context()]))
    code = "import json, sys; from equipoise.report.page import page; sys.stdout.buffer.write(page(*json.load(open(sys.argv[1]))).encode())"
    other = subprocess.run([sys.executable, "-c", code, str(tmp_path / "in.json")], capture_output=True, check=True)
    assert other.stdout.decode("utf-8") == first


def test_making_a_page_leaves_matplotlib_as_it_was_and_imports_no_torch_and_no_pyplot() -> None:
    code = (
        "import sys, matplotlib; state = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}; before = state()\n"
        "from equipoise.report.page import page\n"
        "page({'endpoints': {}}, {'training': [{'train_loss': [1.0, 0.5]}]})\n"
        "assert state() == before; print(sorted({'torch', 'matplotlib.pyplot', 'pyro', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_every_number_shown_rounds_the_number_of_the_results() -> None:
    read = Reader(written("binary")[0])
    exact = {v for e in _leaves(BINARY) for v in [e]}
    shown = [(value, text) for value, text in read.data if re.fullmatch(r"[\s+\N{MINUS SIGN}]*[\d.,]+\s*", text)]
    assert len(shown) > 60
    for value, text in shown:
        digits = text.strip().replace("\N{MINUS SIGN}", "-").replace(",", "")
        assert value in exact
        assert float(digits) == pytest.approx(value, abs=0.5001 * 10.0 ** -len(digits.partition(".")[2]))


def _leaves(tree: Any) -> list[float]:
    if isinstance(tree, dict):
        return [x for v in tree.values() for x in _leaves(v)]
    if isinstance(tree, list):
        return [x for v in tree for x in _leaves(v)]
    return [float(tree)] if isinstance(tree, int | float) and not isinstance(tree, bool) else []


def test_the_primary_difference_stands_in_the_verdict_with_interval_and_p() -> None:
    text = written("binary")[0]
    box = Reader(re.search(r'<section class="verdict".*?</section>', text, re.S).group()).text  # type: ignore[union-attr]
    for comparator in BINARY["verdict_detail"]["against"]:
        e = BINARY["comparisons"][comparator]["log_score"]
        spelt = f"{e['difference']:+.3f} ({e['lo']:+.3f} to {e['hi']:+.3f})".replace("-", "\N{MINUS SIGN}")
        assert f"against {comparator} {spelt}" in box
    assert "Demonstrated gain" in box


@pytest.mark.parametrize("verdict", ["demonstrated gain", "non-inferior", "no demonstrated gain", "demonstrated loss", "not evaluable"])
def test_every_verdict_is_set_in_the_same_dignity(verdict: str) -> None:
    text = page(SMALL | {"verdict": verdict}, {})
    label = verdict.capitalize()
    assert f'<p class="label">{label}</p>' in text
    assert text.replace(f">{label}<", "><") == page(SMALL | {"verdict": "demonstrated gain"}, {}).replace(">Demonstrated gain<", "><")


def test_a_later_opening_is_called_exploratory_and_the_first_is_not() -> None:
    first = Reader(page(SMALL, context())).text
    assert "Opening 1 of these rows" in first
    assert "exploratory" not in first
    detail = SMALL["verdict_detail"] | {"opening": 4, "exploratory": True}
    later = Reader(page(SMALL | {"verdict_detail": detail}, context(benchmark_note="Set B has served before"))).text
    assert "Opening 4 of these rows" in later
    assert "Verdict · exploratory" in later
    assert later.count("Set B has served before") == 2  # beside the seal and among the limitations


def test_select_rows_are_headed_as_tuning_and_carry_no_verdict() -> None:
    read = Reader(page(SMALL | {"role": "select"}, context(opening=None))).text
    assert "Tuning metrics, no claim" in read
    assert "Demonstrated gain" not in read
    assert SMALL["verdict_detail"]["sentence"] not in read


def test_cross_validation_is_said_to_have_no_seal() -> None:
    assert "Cross-validation has no seal" in Reader(written("continuous")[0]).text


@pytest.mark.parametrize("kind", KINDS)
def test_null_is_printed_as_not_estimated_and_never_as_zero(kind: str) -> None:
    read = Reader(page(_emptied(KINDS[kind]), context(seconds=None, members=None)))
    assert "not estimated" in read.text
    assert read.data == []
    assert not re.search(r"\b(nan|None|null|inf)\b", read.text)


def _emptied(tree: Any) -> Any:
    """The same tree with null in the place of every number that is not a count or a truth value."""
    if isinstance(tree, dict):
        return {k: v if k in ("n", "schema") else _emptied(v) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_emptied(v) for v in tree]
    return None if isinstance(tree, int | float) and not isinstance(tree, bool) else tree


def test_a_page_of_nothing_at_all_still_comes_and_says_what_is_missing() -> None:
    read = Reader(page({}, {})).text
    assert "Not evaluable" in read
    assert read.lower().count("not estimated") >= 3


@pytest.mark.parametrize("key", sorted(BINARY))
def test_any_key_of_the_results_may_be_missing_null_or_of_another_kind(key: str) -> None:
    for other in (None, "word"):
        Reader(page(SMALL | {key: other}, {}))
    Reader(page({k: v for k, v in SMALL.items() if k != key}, {}))


@pytest.mark.parametrize("key", sorted(context()))
def test_any_key_of_the_context_may_be_missing_or_null(key: str) -> None:
    Reader(page({}, context(**{key: None})))
    Reader(page({}, {k: v for k, v in context().items() if k != key}))


@pytest.mark.parametrize("kind", BINARY["curves"]["equipoise"])
def test_a_curve_may_lack_any_of_its_lists_or_hold_null(kind: str) -> None:
    own = BINARY["curves"]
    for key, value in own["equipoise"][kind].items():
        for other in (None, [None] * len(value)):
            odd = {"equipoise": {kind: own["equipoise"][kind] | {key: other}}, "linear": {kind: own["linear"][kind] | {key: None}}}
            assert "svg" in curves(Finding(BINARY | {"curves": odd}, {}, Numbering()))


def test_a_section_that_cannot_be_made_costs_its_own_place_only(
    sections_may_fail: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError("an odd number")

    monkeypatch.setattr("equipoise.report.curves.figures.decision", broken)
    read = Reader(page(BINARY, context())).text
    assert "Figures Not estimated: this section could not be made" in read
    assert "Reproducibility" in read
    assert "could not be made" in caplog.text


def test_a_network_with_several_tasks_has_a_verdict_for_each() -> None:
    read = Reader(page(SMALL | {"tasks": {"weight": KINDS["continuous"]}}, context()))
    for own in (SMALL, KINDS["continuous"]):
        assert own["verdict_detail"]["sentence"] in read.text
    assert read.text.count("Reproducibility") == 1
    ids = [a["id"] for _, a in read.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_the_page_is_replaced_at_once_and_a_failed_write_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = write_report(tmp_path, SMALL, context())
    old = at.read_text()

    def broken(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("equipoise.whole_file.os.replace", broken)
    with pytest.raises(OSError, match="no space"):
        write_report(tmp_path, KINDS["continuous"], context())
    assert at.read_text() == old
    assert not list(tmp_path.rglob("*.part"))

"""What goes with the page: the committee's two pages, the model card, the checklists, and a CSV behind every figure."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from equipoise.report import write_report
from equipoise.report.curve_tables import curve_tables
from equipoise.report.finding import Finding
from equipoise.report.markup import Numbering
from equipoise.report.pack.probast_ai import DEVELOPMENT, EVALUATION, probast_ai
from equipoise.report.pack.tripod_ai import SECTIONS, tripod_ai
from report.simulated_results import binary_results, context, continuous_results

DECLARED = {"population": "Adults admitted to intensive care", "estimand": "current_care", "threshold": 0.1, "hash": "5d41402abc4b2a76", "level": 0.95}


@cache
def _simulated(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return make()


def simulated(make: Callable[[], dict[str, Any]] = binary_results) -> dict[str, Any]:
    return deepcopy(_simulated(make))


def finding(**over: Any) -> Finding:
    results = simulated()
    results["protocol"] |= DECLARED
    return Finding(results, context() | over, Numbering())


def rows_of(markdown: str) -> dict[str, str]:
    """The last column by item, of a checklist's tables."""
    cells = [line.strip("|").split(" | ") for line in markdown.splitlines() if line.startswith("| ") and not line.startswith("| item")]
    return {c[0].strip(): c[-1].strip() for c in cells}


def test_every_item_of_tripod_ai_points_somewhere_or_says_not_done() -> None:
    items = [i for items in SECTIONS.values() for i in items]
    assert {int(re.match(r"\d+", i.number).group()) for i in items} == set(range(1, 28))  # type: ignore[union-attr]
    assert len({i.number for i in items}) == len(items) == 52
    rows = rows_of(tripod_ai(finding()))
    assert len(rows) == 52
    assert all(text for text in rows.values())
    assert rows["6b"].startswith("report.html, Protocol: Adults admitted")
    assert rows["17"] == "not done: for the authors to say (statements.ethics)"
    assert rows["20c"].startswith("not done")


def test_what_the_authors_state_answers_an_item_in_their_words() -> None:
    rows = rows_of(tripod_ai(finding(statements={"ethics": "Approved by the committee of X | 12/2026"})))
    assert rows["17"] == r"Approved by the committee of X \| 12/2026"


def test_a_table_from_elsewhere_answers_nothing_about_development() -> None:
    bare = Finding(simulated(), {"command": "equipoise evaluate"}, Numbering())
    rows = rows_of(tripod_ai(bare))
    assert all(rows[item].startswith("not done") for item in ("7", "12b", "12c", "22", "27a"))
    assert "Model development" not in probast_ai(bare)
    assert "Model development" in probast_ai(finding())


def test_probast_ai_has_its_sixteen_and_eighteen_questions_and_rates_nothing() -> None:
    assert (len(DEVELOPMENT), len(EVALUATION)) == (16, 18)
    text = probast_ai(finding())
    assert "It rates nothing" in text
    assert not re.search(r"\b(low|high) risk\b", text.lower())


def test_sample_size_is_not_answered_by_the_number_itself() -> None:
    assert rows_of(tripod_ai(finding()))["10"].startswith("not done")
    assert "Rehearsal" in rows_of(tripod_ai(finding(rehearsal={"power": 0.8})))["10"]


def test_the_card_says_the_verdict_the_numbers_and_what_is_not_declared(tmp_path: Path) -> None:
    write_report(tmp_path, simulated(), context())
    card = (tmp_path / "model_card.md").read_text()
    assert "Verdict: **Demonstrated gain**" in card
    assert "- Population: not declared" in card
    auroc = simulated()["endpoints"]["auroc"]
    assert f"{auroc['value']:.3f} ({auroc['lo']:.3f} to {auroc['hi']:.3f})" in card
    assert "not a medical device" in card


@pytest.mark.parametrize("make", [binary_results, continuous_results])
def test_every_curve_has_its_points_in_a_csv(tmp_path: Path, make: Any) -> None:
    results = simulated(make)
    write_report(tmp_path, results, context())
    for kind in results["curves"]["equipoise"]:
        lines = list(csv.DictReader((tmp_path / "tables" / f"{kind}.csv").read_text().splitlines()))
        assert {line["model"] for line in lines} >= {"equipoise"}
    calibration = [line for line in csv.DictReader((tmp_path / "tables" / "calibration.csv").read_text().splitlines()) if line["model"] == "equipoise"]
    assert [float(line["observed"]) for line in calibration] == results["curves"]["equipoise"]["calibration"]["observed"]


def test_small_cells_stay_empty_in_the_csv() -> None:
    results = {"task": "risk", "curves": {"equipoise": {"risk_distribution": {"edges": [0.0, 0.5, 1.0], "event": [None, 20], "no_event": [30, 40]}}}}
    lines = curve_tables(results)["risk_distribution"].splitlines()
    assert lines[0] == "task,model,curve,edges,event,no_event"
    assert lines[1] == "risk,equipoise,,0.0,,30"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium prints the page and is not installed")
@pytest.mark.parametrize("make", [binary_results, continuous_results])
def test_the_committees_page_prints_on_two_sheets(tmp_path: Path, make: Any) -> None:
    write_report(tmp_path, simulated(make), context())
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--print-to-pdf={tmp_path / 'c.pdf'}", (tmp_path / "committee.html").as_uri()]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    assert len(re.findall(rb"/Type\s*/Page[^s]", (tmp_path / "c.pdf").read_bytes())) == 2

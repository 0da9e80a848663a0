"""Numbers, words and paths, and the doctests of the room."""

from __future__ import annotations

import csv
import doctest
import importlib
import io
import pkgutil

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import equipoise.report
from equipoise.report.finding import Finding
from equipoise.report.limits import limitations
from equipoise.report.making import comparators
from equipoise.report.markup import Html, Numbering, esc, tag, without_paths
from equipoise.report.reading import array, level_of
from equipoise.report.tables import comparisons_csv, endpoints_csv
from equipoise.report.text import MINUS, align, digits_for, estimate, number, p_value
from equipoise.report.vocabulary import metric, scenario_label
from report.simulated_results import binary_results, continuous_results

MODULES = sorted(m.name for m in pkgutil.iter_modules(equipoise.report.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_of_the_report_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"equipoise.report.{name}")).failed == 0


@given(st.text(), st.text())
@example("<script>", '"><img src=x onerror=y>')
def test_text_never_becomes_an_element_or_leaves_its_attribute(text: str, value: str) -> None:
    made = tag("p", text, title=value)
    assert made.count("<") == made.count(">") == 2
    assert made.count('"') == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("run_dir=/home/ann/runs/7", "run_dir=…/7"),
        ("in '/data/set b/x.csv'", "in '…/set b/x.csv'"),
        (r"C:\Users\ann\x.csv", "…/x.csv"),
        ("file:///tmp/a/b.html", "…/b.html"),
        ("~/runs/3 and (/a/b)", "…/3 and (…/b)"),
        ("a/b, mg/dL, 10^9/L, 1/2/2026, train/select, and/or", "a/b, mg/dL, 10^9/L, 1/2/2026, train/select, and/or"),
    ],
)
def test_absolute_paths_are_cut_and_ratios_are_not(text: str, found: str) -> None:
    assert without_paths(text) == found


def test_markup_passes_unescaped_and_text_does_not() -> None:
    assert esc(Html("<i>")) == "<i>"
    assert esc("<i>") == "&lt;i&gt;"


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_a_printed_number_reads_back_within_half_of_its_last_digit(x: float, digits: int) -> None:
    read = float(number(x, digits).replace(MINUS, "-").replace(",", ""))
    assert abs(read - x) <= 0.5 * 10.0**-digits * (1 + 1e-6) + 1e-9
    assert not number(x, digits).startswith(f"{MINUS}0.{'0' * digits}") or digits == 0 or read != 0


@given(st.floats(1e-5, 0.5), st.floats(1e-5, 0.5))
def test_a_bound_of_a_difference_beyond_zero_is_never_printed_as_zero(lo: float, width: float) -> None:
    digits = digits_for(3, [(lo + width / 2, lo, lo + width)], signed=True)
    assert float(number(lo, digits)) > 0


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "x", True])
def test_what_is_no_number_is_not_estimated(value: object) -> None:
    assert number(value, 3) == "not estimated"
    assert estimate(value, 0.1, 0.2, 3) == "not estimated"
    assert p_value(value) == "not estimated"


def test_an_estimate_without_interval_says_so() -> None:
    assert estimate(0.5, None, None, 2) == "0.50 (no interval)"


def test_a_column_of_numbers_stands_on_its_decimal_point() -> None:
    made = align(["0.862", "12.4", "100", f"{MINUS}0.05", "not estimated"])
    points = {text.index(".") for text in (made[0], made[1], made[3])}
    assert len(points) == 1
    assert made[4] == "not estimated"
    assert len({len(text) for text in made[:4]}) == 1


@pytest.mark.parametrize(
    ("key", "label"),
    [("auroc", "AUROC"), ("ipcw_brier@h=365", "IPCW Brier score at 365 days"), ("net_benefit@0.1", "Net benefit at 0.1"), ("my_own_score", "My own score")],
)
def test_metrics_have_readable_names_known_or_not(key: str, label: str) -> None:
    assert metric(key).label == label


def test_the_results_own_word_on_what_is_better_wins() -> None:
    assert metric("log_score", {"better": "higher"}).better == "higher"


def test_scenarios_are_said_in_words() -> None:
    assert scenario_label("masked:genotype") == "genotype hidden"
    assert scenario_label("all") == "all"


def test_null_in_an_array_is_a_gap() -> None:
    assert np.array_equal(array({"x": [1, None, "a"]}, "x"), [1.0, np.nan, np.nan], equal_nan=True)
    assert array({"x": [[1, 2], [3]]}, "x").size == 0


def test_the_level_of_the_intervals_comes_from_the_protocol() -> None:
    assert level_of({"protocol": {"level": 0.9}}) == 0.9
    assert level_of({}) == 0.95


def test_the_tables_hold_every_estimate_at_full_precision() -> None:
    results = binary_results(only=("auroc", "brier", "log_score")) | {"tasks": {"weight": continuous_results()}}
    lines = list(csv.DictReader(io.StringIO(endpoints_csv(results))))
    found = {(x["task"], x["model"], x["scenario"], x["metric"]): x for x in lines}
    assert float(found["risk", "equipoise", "all", "auroc"]["value"]) == results["endpoints"]["auroc"]["value"]
    assert float(found["risk", "linear", "all", "brier"]["hi"]) == results["comparators"]["linear"]["endpoints"]["brier"]["hi"]
    assert ("risk", "equipoise", "masked:genotype", "auroc") in found
    assert ("weight", "gblup", "all", "crps") in found
    own = [x for x in csv.DictReader(io.StringIO(comparisons_csv(results))) if (x["comparator"], x["metric"]) == ("boosting", "log_score")]
    assert float(own[0]["difference"]) == results["comparisons"]["boosting"]["log_score"]["difference"]


def test_a_name_that_a_spreadsheet_would_run_is_made_harmless_in_the_tables() -> None:
    table = endpoints_csv({"comparators": {"=1+1": {"endpoints": {"auroc": {"value": -0.5, "lo": None}}}}})
    assert list(csv.reader(io.StringIO(table)))[1][:7] == ["", "'=1+1", "all", "auroc", "-0.5", "", ""]


@pytest.mark.parametrize(
    ("results", "where", "words"),
    [
        ({}, {"seeds": [0]}, "about this fitted model"),
        ({}, {"seeds": [0, 1, 2, 3], "members": 4}, "4 seeds were joined"),
        ({"n": {"rows": 900, "events": 60}}, {}, "Few events (60)"),
        ({"n": {"rows": 900, "events": 860}}, {}, "Few rows without the event (40)"),
        ({"n": {"rows": 900, "clusters": 300}}, {}, "300 clusters"),
        ({}, {"cohort": {"n_sites": 1}}, "Single site"),
        ({"role": "cross-validation"}, {}, "Cross-validation has no seal"),
        ({}, {"benchmark_note": "set B has served before"}, "Development benchmark: set B has served before."),
        ({"uncertainty": {"estimated": False}}, {}, "uncertainty of the predictions was not estimated"),
        ({"n": {"rows": 90, "outcome_missing": 10}}, {}, "10 rows without an observed outcome (10.0%)"),
        ({}, {"not_run": {"gblup/risk": "no genotypes"}}, "Comparators that could not be run: gblup"),
    ],
)
def test_each_limitation_stands_where_its_fact_holds(results: dict, where: dict, words: str) -> None:
    assert words in limitations(Finding(results, where, Numbering()))
    others = {"n": {"rows": 5000, "clusters": 5000, "events": 900}, "uncertainty": {"estimated": True}}
    assert words not in limitations(Finding(others, {"seeds": [0, 1, 2], "cohort": {"n_sites": 6}}, Numbering()))


TRAINED = {"training": [{"member": 0}]}
TERMS = [
    ({}, "not recorded here", "recalibrated on"),
    (TRAINED, "Whether anything was recalibrated was not recorded", "recalibrated on"),
    (TRAINED | {"calibration": {}}, "no calibrate rows: neither the model nor a comparator was recalibrated", "recalibrated on"),
    (TRAINED | {"calibration": {"risk": "NoCalibration"}}, "No recalibration was chosen", "recalibrated on"),
    (
        TRAINED | {"calibration": {"risk": "LogisticCalibration"}, "n_calibrate": 600},
        "on the same 600 calibrate rows, by the same method (logistic cal",
        "Of the",
    ),
    (TRAINED | {"calibration": {"risk": "LogisticCalibration: only the intercept"}}, "Of the model: Only the intercept.", "neither"),
]


@pytest.mark.parametrize(("where", "words", "never"), TERMS)
def test_what_is_said_of_fitting_and_recalibration_follows_the_record(where: dict, words: str, never: str) -> None:
    results = {"task": "risk", "kind": "binary", "comparators": {"linear": {"required": True, "endpoints": {}}}}
    text = comparators(Finding(results, where, Numbering()))
    assert words in text
    assert never not in text
    assert ("train and select rows" in text) == bool(where)
    assert "spread behind CRPS" not in text
    continuous = comparators(Finding(results | {"kind": "continuous"}, where, Numbering()))
    assert ("spread behind CRPS" in continuous) == bool(where)

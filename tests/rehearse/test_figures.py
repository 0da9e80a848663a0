"""Bookkeeping: rates, coverage and the smallest gain from records whose answers are known."""

from __future__ import annotations

from typing import Any

import pytest

from equipoise.rehearse.figures import demonstrable, figures_of, rate


def record(gain: float, *, claimed: bool, false: bool = False, truth: float = 0.0, lo: float = -1.0, hi: float = 1.0) -> dict[str, Any]:
    return {
        "gain": gain,
        "verdict": "demonstrated gain" if claimed else "no demonstrated gain",
        "claimed": claimed,
        "false": false,
        "truly_better": truth > 0,
        "true_gain": truth,
        "smallest": 0.03,
        "risk_covered": None,
        "models": {"linear": [truth, truth, lo, hi]},
    }


def test_rates_are_counted_by_planted_gain() -> None:
    twins = [[record(0.0, claimed=i < 2, false=i < 1, truth=0.01 if i < 5 else -0.01), record(0.05, claimed=i < 9, truth=0.04)] for i in range(10)]
    twins[3][0] = {"gain": 0.0, "verdict": "not evaluable", "why": "too few", "models": {}}
    null, gain = figures_of(twins)["by_gain"]
    assert (null["claims"]["events"], null["false"]["events"], null["truly_better"]["events"], null["not_evaluable"]) == (2, 1, 4, 1)
    assert null["claims"]["n"] == 10  # a twin without a verdict is one without a claim
    assert gain["claims"]["value"] == 0.9
    assert gain["mean_true_gain"] == pytest.approx(0.04)
    assert gain["mean_smallest"] == pytest.approx(0.03)
    assert null["coverage"]["linear"]["n"] == 9
    assert null["coverage"]["linear"]["value"] == 1.0


def test_coverage_is_of_the_true_difference() -> None:
    twins = [[record(0.0, claimed=False, truth=0.0, lo=-0.1, hi=0.1)], [record(0.0, claimed=False, truth=0.2, lo=-0.1, hi=0.1)]]
    assert figures_of(twins)["by_gain"][0]["coverage"]["linear"]["value"] == 0.5


def test_smallest_gain_lies_where_power_crosses_80_percent() -> None:
    assert demonstrable({0.0: 0.02, 0.02: 0.5, 0.04: 0.9}) == pytest.approx(0.035)
    assert demonstrable({0.0: 0.02, 0.02: 0.5}) is None
    assert demonstrable({0.0: 0.02, 0.02: 0.8}) == pytest.approx(0.02)


def test_intervals_are_wilsons() -> None:
    """R, prop.test(10, 400, correct = FALSE)."""
    found = rate(10, 400)
    assert (round(found["lo"], 5), round(found["hi"], 5)) == (0.01364, 0.0454)
    assert rate(0, 0)["value"] is None

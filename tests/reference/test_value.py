"""Agreement of what the worth of evidences rests on with R (values frozen in value.json, made by make_value.R)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.stats.logistic import logistic_fit, logistic_risk
from equipoise.stats.presence_weights import presence_probability, presence_weights
from equipoise.stats.within_family import within_concordance, within_correlation, within_products, within_slope

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def r() -> dict[str, Any]:
    return {k: np.array(v) if isinstance(v, list) else v for k, v in json.loads((Path(__file__).parent / "value.json").read_text()).items()}


def test_logistic_coefficients_and_probabilities_equal_glm(r: dict[str, Any]) -> None:
    made = logistic_fit(r["x"], r["present"], ridge=1e-14)
    np.testing.assert_allclose(made, r["coefficients"], rtol=1e-10)
    np.testing.assert_allclose(logistic_risk(r["x"], made), r["fitted"], rtol=1e-10)


def test_the_tiny_ridge_and_standardising_change_the_sixth_digit_at_most(r: dict[str, Any]) -> None:
    np.testing.assert_allclose(presence_probability(r["present"] == 1, r["x"]), r["fitted"], rtol=1e-6)


def test_inverse_probability_weights_equal_those_of_glm(r: dict[str, Any]) -> None:
    present = r["present"] == 1
    made = presence_weights(present, r["fitted"])
    assert made.truncated == 0
    assert made.effective_rows == pytest.approx(r["effective_rows"], rel=1e-12)
    assert np.average(r["y"], weights=made.weight) == pytest.approx(r["weighted_mean"], rel=1e-12)


def test_concordance_among_relatives_equals_survival_with_strata(r: dict[str, Any]) -> None:
    pairs, won = within_concordance(r["score"], r["event"], r["family"] - 1, 80)
    assert pairs.sum() == r["pairs"]
    assert won.sum() / pairs.sum() == pytest.approx(r["concordance"], rel=1e-13)


def test_slope_and_correlation_inside_of_families_equal_lm_with_an_intercept_a_family(r: dict[str, Any]) -> None:
    products = within_products(r["score"], r["y"], r["family"] - 1, 80)
    assert float(within_slope(products)) == pytest.approx(r["slope"], rel=1e-12)
    assert float(within_correlation(products)) == pytest.approx(r["correlation"], rel=1e-12)

"""Scores, regression metrics, net benefit, Hosmer-Lemeshow, proportions, weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.stats.hosmer_lemeshow import event1, hosmer_lemeshow
from equipoise.stats.net_benefit import net_benefit, treat_all
from equipoise.stats.proportion import wilson_interval
from equipoise.stats.regression import linear_slope, mean_residual, pearson_interval, pearson_r, r2, rmse
from equipoise.stats.scores import SMALLEST, crps_normal, is_correct, log_score, multiclass_brier, multiclass_log_score, normal_log_score
from equipoise.stats.weighting import weighted_mean, weighted_quantile, weights_of

RNG = np.random.default_rng(11)


def test_the_log_score_of_a_sure_mistake_is_finite() -> None:
    assert log_score(np.array([0.0, 1.0]), np.array([1, 0])).tolist() == [-np.log(SMALLEST)] * 2
    assert log_score(np.array([0.0, 1.0]), np.array([0, 1])).tolist() == [0.0, 0.0]


def test_multiclass_scores_of_two_classes_are_those_of_a_binary_risk() -> None:
    p, y = RNG.random(20), RNG.integers(0, 2, 20)
    two, hot = np.column_stack([1 - p, p]), np.column_stack([1 - y, y])
    np.testing.assert_allclose(multiclass_log_score(two, hot), log_score(p, y))
    np.testing.assert_allclose(multiclass_brier(two, hot), 2 * (p - y) ** 2)


def test_a_tie_for_the_most_probable_class_counts_as_a_share() -> None:
    assert is_correct(np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[1, 0], [0, 1]])).tolist() == [0.5, 0.0]


def test_crps_without_spread_is_the_absolute_error_and_is_its_limit() -> None:
    m, y = np.array([1.0, 2.0]), np.array([3.0, 2.0])
    np.testing.assert_allclose(crps_normal(m, np.zeros(2), y), [2.0, 0.0])
    np.testing.assert_allclose(crps_normal(m, np.full(2, 1e-9), y), [2.0, 0.0], atol=1e-8)


@pytest.mark.parametrize("score", [crps_normal, normal_log_score])
def test_scores_of_a_normal_are_best_at_the_truth(score: object) -> None:
    y = RNG.normal(2.0, 3.0, 40_000)
    assert callable(score)
    at = {(m, s): float(np.mean(score(np.full(y.size, m), np.full(y.size, s), y))) for m in (1.0, 2.0, 3.0) for s in (2.0, 3.0, 4.5)}
    assert min(at, key=lambda k: at[k]) == (2.0, 3.0)


@given(st.integers(0, 300))
@settings(deadline=None, max_examples=30)
def test_weights_count_as_repeated_rows_in_regression_metrics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y, t = rng.normal(50, 2, 25), rng.normal(50, 3, 25), rng.integers(0, 4, (2, 25))
    for f in (pearson_r, r2, rmse, linear_slope, mean_residual):
        for value, times in zip(f(x, y, t.astype(float)), t, strict=True):
            np.testing.assert_allclose(value, f(np.repeat(x, times), np.repeat(y, times)), rtol=1e-9)


def test_r_is_not_lost_to_cancellation_far_from_zero() -> None:
    x = RNG.normal(0, 1, 50)
    y = x + RNG.normal(0, 1, 50)
    assert float(pearson_r(x + 1e8, y + 1e8)) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)


def test_constants_have_no_correlation_and_no_slope() -> None:
    x = np.full(10, 3.3)
    y = RNG.normal(size=10)
    assert np.isnan(pearson_r(x, y))
    assert np.isnan(linear_slope(x, y))
    assert np.isnan(r2(y, x))
    assert np.isnan(pearson_interval(1.0, 10, 0.95).lo)


def test_net_benefit_of_treating_all_is_that_of_a_risk_of_one_and_weights_are_multiplicities() -> None:
    p, y, t = RNG.random(50), RNG.integers(0, 2, 50), RNG.integers(0, 3, 50)
    places = np.array([0.1, 0.5, 0.8])
    np.testing.assert_allclose(treat_all(y, places), y.mean() - (1 - y.mean()) * places / (1 - places))
    np.testing.assert_allclose(net_benefit(p, y, places, t.astype(float)), net_benefit(np.repeat(p, t), np.repeat(y, t), places))
    assert net_benefit(p, y, 0.5, np.ones((4, 50))).shape == (4,)
    assert net_benefit(p, y, places, np.ones((4, 50))).shape == (4, 3)


def test_event1_is_the_smaller_of_sensitivity_and_precision() -> None:
    p, y = np.array([0.9, 0.8, 0.7, 0.1]), np.array([1, 0, 0, 1])
    assert float(event1(p, y, 0.5)) == pytest.approx(1 / 3)
    assert float(event1(p, y, 0.95)) == 0.0
    assert np.isnan(event1(p, np.zeros(4), 0.5))


def test_hosmer_lemeshow_of_true_risks_is_about_chi_squared() -> None:
    """With the true risks H has 10 degrees of freedom: its mean over sets is 10."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        p = rng.uniform(0.05, 0.95, 500)
        found.append(hosmer_lemeshow(p, (rng.random(500) < p).astype(float)).h)
    # Within a group the risks spread, which makes H a little smaller than chi-squared.
    assert 8.5 < np.mean(found) < 10 + 3 * np.sqrt(20 / 400)


def test_hosmer_lemeshow_without_spread_has_no_event2() -> None:
    assert np.isnan(hosmer_lemeshow(np.full(40, 0.2), RNG.integers(0, 2, 40)).event2)
    assert np.isnan(hosmer_lemeshow(np.array([0.2, 0.3]), np.array([0, 1])).h)


def test_wilson_intervals_stay_within_zero_and_one() -> None:
    lo, hi = wilson_interval(np.array([0.0, 5.0, 10.0, 0.0]), np.array([10.0, 10.0, 10.0, 0.0]), 0.95)
    assert lo[0] == 0
    assert hi[2] == 1
    assert (lo[:3] < hi[:3]).all()
    assert np.isnan(lo[3])


@given(st.integers(0, 300), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_the_weighted_quantile_is_numpys_of_repeated_rows(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=15), rng.integers(0, 4, 15)
    if t.sum():
        assert float(weighted_quantile(x, level, t.astype(float))) == pytest.approx(float(np.quantile(np.repeat(x, t), level)), abs=1e-9)
    else:
        assert np.isnan(weighted_quantile(x, level, t.astype(float)))


def test_weights_of_another_length_are_refused_and_no_weight_gives_no_mean() -> None:
    with pytest.raises(ValueError, match="weights"):
        weights_of(np.ones(3), 4)
    assert np.isnan(weighted_mean(np.ones(3), np.zeros(3)))

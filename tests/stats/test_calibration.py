"""Recalibration and the calibration curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from equipoise.stats.calibration_curve import bins, calibration_error, smooth
from equipoise.stats.recalibration import calibration_in_the_large, calibration_slope, in_the_large_interval, slope_interval


def drawn(seed: int, n: int, intercept: float = 0.0, slope: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Risks whose recalibration has this intercept and slope, and outcomes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(-1, 1.3, n)
    return expit(x), (rng.random(n) < expit(intercept + slope * x)).astype(float)


def test_the_slope_and_the_shift_that_were_planted_are_found() -> None:
    p, y = drawn(0, 200_000, 0.0, 0.6)
    assert float(calibration_slope(p, y)) == pytest.approx(0.6, abs=0.02)
    p, y = drawn(1, 200_000, 0.4, 1.0)
    assert float(calibration_in_the_large(p, y)) == pytest.approx(0.4, abs=0.02)


@given(st.integers(0, 300))
@settings(deadline=None, max_examples=30)
def test_weights_count_as_repeated_rows_in_recalibration(seed: int) -> None:
    p, y = drawn(seed, 150)
    times = np.random.default_rng(seed + 1).integers(0, 4, (3, 150))
    for f in (calibration_slope, calibration_in_the_large):
        for value, t in zip(f(p, y, times.astype(float)), times, strict=True):
            np.testing.assert_allclose(value, f(np.repeat(p, t), np.repeat(y, t)), rtol=1e-8, equal_nan=True)


def test_the_score_equations_hold_at_the_solution() -> None:
    p, y = drawn(2, 500)
    a = float(calibration_in_the_large(p, y))
    assert float((y - expit(a + logit(p))).sum()) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(
    ("p", "y"),
    [
        (np.array([0.1, 0.2, 0.7, 0.8]), np.array([0, 0, 1, 1])),  # separated
        (np.array([0.1, 0.2, 0.7, 0.8]), np.zeros(4)),  # one class
        (np.full(4, 0.3), np.array([0, 1, 0, 1])),  # one risk
    ],
)
def test_a_slope_that_does_not_exist_is_nan_not_a_large_number(p: np.ndarray, y: np.ndarray) -> None:
    assert np.isnan(calibration_slope(p, y))
    assert np.isnan(slope_interval(p, y, 0.95).lo)


def test_one_class_has_no_calibration_in_the_large() -> None:
    assert np.isnan(calibration_in_the_large(np.array([0.1, 0.4]), np.ones(2)))
    assert np.isnan(in_the_large_interval(np.array([0.1, 0.4]), np.ones(2), 0.95).hi)


def test_risks_of_exactly_zero_and_one_leave_everything_finite() -> None:
    p, y = drawn(3, 300)
    p[:3], p[3:6] = 0.0, 1.0
    assert np.isfinite(calibration_slope(p, y))
    assert np.isfinite(calibration_in_the_large(p, y))


def test_clusters_of_copies_do_not_narrow_the_interval() -> None:
    p, y = drawn(4, 400)
    single = slope_interval(p, y, 0.95, np.arange(400))
    copies = slope_interval(np.repeat(p, 5), np.repeat(y, 5), 0.95, np.repeat(np.arange(400), 5))
    assert copies.se == pytest.approx(single.se, rel=0.15)
    assert single.method == "Wald"
    assert "clustered" in copies.method


def test_the_smooth_curve_of_calibrated_risks_is_near_the_diagonal_and_ici_near_zero() -> None:
    p, y = drawn(5, 20_000)
    at = np.quantile(p, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(smooth(p, y, at).observed, at, atol=0.02)
    assert calibration_error(p, y).ici < 0.01


def test_ici_of_a_known_miscalibration_is_its_mean_distance() -> None:
    p, y = drawn(6, 60_000, 0.8, 1.0)
    truth = np.abs(expit(0.8 + logit(p)) - p)
    found = calibration_error(p, y)
    assert found.ici == pytest.approx(truth.mean(), abs=0.01)
    assert found.e50 <= found.e90


@pytest.mark.parametrize("values", [[0.2], [0.1, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5]])
def test_few_distinct_risks_are_answered_by_their_own_means(values: list[float]) -> None:
    rng = np.random.default_rng(0)
    p = rng.choice(values, 500)
    y = (rng.random(500) < p).astype(float)
    found = smooth(p, y, np.array(values))
    np.testing.assert_allclose(found.observed, [y[p == v].mean() for v in values])
    assert "distinct" in found.method


def test_too_many_ties_for_loess_are_answered_by_groups_and_the_method_says_so() -> None:
    rng = np.random.default_rng(1)
    p = np.where(rng.random(800) < 0.9, 0.1, rng.random(800))
    y = (rng.random(800) < p).astype(float)
    found = smooth(p, y, np.array([0.1, 0.6]))
    assert "ties" in found.method
    np.testing.assert_allclose(found.observed, [0.1, 0.6], atol=0.15)


def test_bins_hold_every_row_once_keep_ties_together_and_none_is_small() -> None:
    rng = np.random.default_rng(2)
    p = np.round(rng.random(137), 1)
    groups = bins(p, rng.integers(0, 2, 137), 0.95)
    assert groups.n.sum() == 137
    assert (groups.n >= 10).all()
    assert (np.diff(groups.predicted) > 0).all()
    assert ((groups.lo <= groups.observed) & (groups.observed <= groups.hi)).all()
    assert bins(p[:9], np.zeros(9), 0.95).n.size == 0


@pytest.mark.parametrize("probability", [True, False])
def test_weights_of_bins_move_means_and_equal_ones_change_nothing(probability: bool) -> None:
    rng = np.random.default_rng(3)
    p = rng.random(400)
    y = (rng.random(400) < p).astype(float) if probability else p + rng.normal(size=400)
    plain, same = bins(p, y, 0.95, probability=probability), bins(p, y, 0.95, weight=np.full(400, 3.0), probability=probability)
    for name in ("predicted", "observed", "lo", "hi", "n"):
        np.testing.assert_allclose(getattr(same, name), getattr(plain, name), atol=1e-12)
    events = bins(p, y, 0.95, weight=np.where(y > 0.5, 2.0, 1.0), probability=probability)
    assert (events.observed[1:-1] > plain.observed[1:-1]).all()
    rare = bins(p, y, 0.95, weight=np.where(rng.random(400) < 0.5, 0.01, 1.0), probability=probability)
    assert np.median(rare.hi - rare.lo) > 1.2 * np.median(plain.hi - plain.lo)
    assert bins(p, y, 0.95, weight=np.zeros(400), probability=probability).n.size == 0

"""The cluster bootstrap, the corrected resampled t, doubly robust scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from equipoise.stats.aipw import average_effect, doubly_robust_scores, effect_slope, top_minus_bottom
from equipoise.stats.bootstrap import ClusterBootstrap, ball_interval, percentile_interval
from equipoise.stats.resampled_t import nadeau_bengio


def test_resamples_are_the_same_whatever_the_rows_and_blocks() -> None:
    """The third of three resamples is the third of a thousand, and rows of a cluster share it."""
    few = np.concatenate(list(ClusterBootstrap(np.arange(7), 3, 5).blocks()))
    many = np.concatenate(list(ClusterBootstrap(np.repeat(np.arange(7), 900), 40, 5).blocks()))
    np.testing.assert_array_equal(many[:3, ::900], few)
    assert (many.reshape(40, 7, 900) == many.reshape(40, 7, 900)[:, :, :1]).all()
    assert (few.sum(1) == 7).all()


def test_another_seed_gives_other_resamples() -> None:
    one, other = (np.concatenate(list(ClusterBootstrap(np.arange(50), 10, s).blocks())) for s in (0, 1))
    assert (one != other).any()


def test_the_bootstrap_error_of_a_mean_is_the_textbooks() -> None:
    x = np.random.default_rng(0).exponential(1.0, 300)
    draws = np.concatenate([w @ x / w.sum(1) for w in ClusterBootstrap(np.arange(300), 4000, 0).blocks()])
    found = percentile_interval(float(x.mean()), draws, 0.95, 300)
    assert found.se == pytest.approx(x.std(ddof=1) / np.sqrt(300), rel=0.05)


def test_few_clusters_widen_the_interval_as_student_would() -> None:
    draws = stats.norm.ppf((np.arange(1, 200_000) - 0.5) / 199_999)  # a normal bootstrap distribution
    for clusters in (8, 20, 1000):
        found = percentile_interval(0.0, draws, 0.95, clusters)
        expected = stats.t.ppf(0.975, clusters - 1) * np.sqrt(clusters / (clusters - 1))
        assert found.hi == pytest.approx(expected, rel=0.01)
        assert found.lo == pytest.approx(-expected, rel=0.01)


def test_p_and_interval_agree_on_whether_zero_is_excluded() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        shift, clusters = rng.uniform(-4, 4), int(rng.integers(6, 60))
        found = percentile_interval(shift, rng.normal(shift, 1, 4000), 0.95, clusters)
        if abs(found.p - 0.05) > 0.01:
            assert (found.p < 0.05) == (found.lo > 0 or found.hi < 0)


def test_too_few_clusters_or_too_many_failed_resamples_give_no_interval() -> None:
    draws = np.random.default_rng(0).normal(size=1000)
    assert np.isnan(percentile_interval(0.0, draws, 0.95, 4).lo)
    assert np.isnan(percentile_interval(0.0, np.where(np.arange(1000) < 200, np.nan, draws), 0.95, 50).lo)
    assert np.isnan(percentile_interval(float("nan"), draws, 0.95, 50).lo)


def test_percentiles_that_leave_out_their_own_estimate_are_no_interval() -> None:
    draws = np.random.default_rng(0).normal(5.0, 1.0, 1000)
    found = percentile_interval(1.0, draws, 0.95, 500)
    assert np.isnan([found.lo, found.hi, found.se, found.p]).all()
    assert "no interval" in found.method
    same = percentile_interval(0.1 + 0.2, np.full(1000, 0.3), 0.95, 500)  # equal but for rounding
    assert same.lo <= same.value <= same.hi


def test_the_ball_holds_the_estimate_reaches_the_floor_and_its_p_agrees_with_it() -> None:
    distances = np.abs(np.random.default_rng(1).normal(0.03, 0.01, 400))
    found = ball_interval(0.02, distances, 0.95, 1000, floor=0.0)
    assert found.lo == 0.0
    assert found.hi == pytest.approx(0.02 + np.quantile(distances, 0.95), rel=0.02)
    for value in (0.03, -0.03, 0.045, 0.09, -0.09):
        found = ball_interval(value, distances, 0.95, 1000)
        assert (found.p < 0.05) == (found.lo > 0 or found.hi < 0)
    wide = ball_interval(0.02, distances, 0.95, 8)
    assert (wide.hi - 0.02) / np.quantile(distances, 0.95) == pytest.approx(np.sqrt(8 / 7) * stats.t.ppf(0.975, 7) / stats.norm.ppf(0.975), rel=0.01)
    assert np.isnan(ball_interval(0.02, distances[:15], 0.95, 1000).lo), "too few resamples for the tail"
    assert np.isnan(ball_interval(0.02, distances, 0.95, 4).lo)


def test_nadeau_bengio_is_wider_than_the_t_interval_of_the_folds() -> None:
    folds = np.array([0.70, 0.74, 0.71, 0.77, 0.73])
    found, naive = nadeau_bengio(folds, 0.25, 0.95), stats.t.interval(0.95, 4, folds.mean(), stats.sem(folds))
    assert (found.hi - found.lo) / (naive[1] - naive[0]) == pytest.approx(np.sqrt((1 / 5 + 0.25) / (1 / 5)))
    assert np.isnan(nadeau_bengio(np.array([0.7, np.nan]), 0.25, 0.95).lo)


def test_scores_recover_the_average_effect_when_either_nuisance_is_wrong() -> None:
    rng = np.random.default_rng(4)
    n = 40_000
    x = rng.normal(size=n)
    e = 1 / (1 + np.exp(-x))
    a = (rng.random(n) < e).astype(float)
    y = x + a * (2 + x) + rng.normal(size=n)
    right, wrong = (x, 2 + 2 * x), (np.zeros(n), np.zeros(n))
    for (mu0, mu1), propensity in ((right, np.full(n, 0.5)), (wrong, e)):
        found = average_effect(doubly_robust_scores(y, a, mu0, mu1, propensity), 0.95)
        assert abs(found.value - 2) < 4 * found.se
    both_wrong = average_effect(doubly_robust_scores(y, a, *wrong, np.full(n, 0.5)), 0.95)
    assert abs(both_wrong.value - 2) > 4 * both_wrong.se


def test_the_effect_slope_is_one_for_the_true_effect_and_half_for_one_twice_as_wide() -> None:
    rng = np.random.default_rng(5)
    n = 60_000
    x, a = rng.normal(size=n), rng.integers(0, 2, n)
    y = a * (1 + x) + rng.normal(size=n)
    score = doubly_robust_scores(y, a, np.zeros(n), 1 + x, np.full(n, 0.5))
    assert float(effect_slope(score, 1 + x)) == pytest.approx(1.0, abs=0.05)
    assert float(effect_slope(score, 1 + 2 * x)) == pytest.approx(0.5, abs=0.03)
    assert float(top_minus_bottom(score, x)) == pytest.approx(2 * np.sqrt(2 / np.pi), abs=0.08)
    assert np.isnan(effect_slope(score, np.ones(n)))
    assert np.isnan(top_minus_bottom(score, np.ones(n)))


def test_top_minus_bottom_under_weights_is_that_of_repeated_rows() -> None:
    rng = np.random.default_rng(6)
    score, effect, t = rng.normal(size=30), rng.normal(size=30), rng.integers(0, 3, (2, 30))
    for value, times in zip(top_minus_bottom(score, effect, t.astype(float)), t, strict=True):
        np.testing.assert_allclose(value, top_minus_bottom(np.repeat(score, times), np.repeat(effect, times)), atol=1e-10)


def test_influence_error_of_copies_within_clusters_is_that_of_single_rows() -> None:
    score = np.random.default_rng(7).normal(size=100)
    single, copies = average_effect(score, 0.95), average_effect(np.repeat(score, 3), 0.95, np.repeat(np.arange(100), 3))
    assert copies.se == pytest.approx(single.se)

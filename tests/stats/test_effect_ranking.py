"""AUTOC, Qini, the best linear predictor: definitions, ties, weights, the jackknife."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.stats.aipw import average_effect, best_linear_predictor, effect_slope
from equipoise.stats.effect_ranking import Area, area_interval, autoc, qini, targeting_curve
from equipoise.stats.jackknife import MOST_GROUPS, jackknife_error

AREAS = {"autoc": autoc, "qini": qini}


def sample(n: int = 40, seed: int = 0, digits: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, priorities (with ties where rounded to few digits), weights."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=n), np.round(rng.normal(size=n), digits), rng.uniform(0.2, 2, n)


@pytest.mark.parametrize("digits", [1, 12])
def test_the_areas_are_integrals_of_the_targeting_curve(digits: int) -> None:
    score, priority, weight = sample(digits=digits)
    q = (np.arange(100_000) + 0.5) / 100_000
    curve = targeting_curve(score, priority, q, weight)
    assert float(autoc(score, priority, weight)) == pytest.approx(curve.mean(), abs=1e-7)
    assert float(qini(score, priority, weight)) == pytest.approx((q * curve).mean(), abs=1e-7)


def test_the_curve_is_the_mean_of_the_first_minus_that_of_all_and_shares_a_tie() -> None:
    score = np.array([4.0, 1.0, 3.0, 0.0])
    curve = targeting_curve(score, np.array([9.0, 5.0, 5.0, 1.0]), np.array([0.25, 0.5, 0.75, 1.0]))
    np.testing.assert_allclose(curve, np.array([4.0, 3.0, 8 / 3, 2.0]) - 2.0)


@pytest.mark.parametrize("area", ["autoc", "qini"])
@pytest.mark.parametrize("digits", [0, 12])
def test_whole_weights_are_repeated_rows(area: Area, digits: int) -> None:
    score, priority, _ = sample(digits=digits)
    times = np.random.default_rng(1).integers(0, 3, (2, 40))
    for value, t in zip(AREAS[area](score, priority, times.astype(float)), times, strict=True):
        assert float(value) == pytest.approx(float(AREAS[area](np.repeat(score, t), np.repeat(priority, t))), abs=1e-12)


@pytest.mark.parametrize("area", ["autoc", "qini"])
def test_only_the_order_counts_and_a_constant_score_or_priority_gives_nothing(area: Area) -> None:
    score, priority, weight = sample(digits=12)
    f = AREAS[area]
    assert float(f(score, np.exp(3 * priority), weight)) == pytest.approx(float(f(score, priority, weight)))
    assert float(f(score + 5, priority, weight)) == pytest.approx(float(f(score, priority, weight)))
    assert float(f(np.full(40, 2.0), priority, weight)) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(f(score, np.ones(40)))
    assert np.isnan(area_interval(score, np.ones(40), area, 0.95).lo)


def test_the_areas_of_a_known_ranking_are_those_of_theory() -> None:
    """For an effect ranked rightly, uniform on (0, 1): TOC(q) = (1 - q)/2, so AUTOC = 1/4 and Qini = 1/12."""
    effect = (np.arange(20_000) + 0.5) / 20_000
    assert float(autoc(effect, effect)) == pytest.approx(1 / 4, abs=1e-6)
    assert float(qini(effect, effect)) == pytest.approx(1 / 12, abs=1e-6)


def test_the_jackknife_of_a_mean_is_the_textbooks_and_sums_within_clusters() -> None:
    x, _, w = sample()
    assert jackknife_error(lambda v: v @ x / v.sum(-1), 40)[0] == pytest.approx(x.std(ddof=1) / np.sqrt(40))
    pairs = np.repeat(x, 2), np.repeat(np.arange(40), 2)
    assert jackknife_error(lambda v: v @ pairs[0] / v.sum(-1), 80, pairs[1])[0] == pytest.approx(x.std(ddof=1) / np.sqrt(40))
    assert np.isnan(jackknife_error(lambda v: v @ x / v.sum(-1), 40, np.zeros(40), w)[0])


def test_with_many_clusters_groups_of_them_give_nearly_the_same_error() -> None:
    x = np.random.default_rng(3).normal(size=6 * MOST_GROUPS)
    se, df = jackknife_error(lambda w: w @ x / w.sum(-1), x.size)
    assert df == MOST_GROUPS - 1
    assert se == pytest.approx(x.std(ddof=1) / np.sqrt(x.size), rel=0.12)


@pytest.mark.parametrize("area", ["autoc", "qini"])
def test_copies_within_clusters_leave_the_interval_as_it_is(area: Area) -> None:
    score, priority, _ = sample(digits=12)
    alone = area_interval(score, priority, area, 0.95)
    copied = area_interval(np.repeat(score, 3), np.repeat(priority, 3), area, 0.95, np.repeat(np.arange(40), 3))
    assert (copied.value, copied.se, copied.hi) == pytest.approx((alone.value, alone.se, alone.hi))


def test_the_best_linear_predictor_is_the_average_effect_and_the_slope_with_a_jackknife_error() -> None:
    score, effect, weight = sample(digits=12)
    cluster = np.arange(40) // 3
    line = best_linear_predictor(score, effect, 0.95, cluster, weight)
    assert line.average == average_effect(score, 0.95, cluster, weight)
    assert line.heterogeneity.value == pytest.approx(float(effect_slope(score, effect, weight)))
    without = np.array([effect_slope(score, effect, np.where(cluster == c, 0, weight)) for c in range(14)])
    assert line.heterogeneity.se == pytest.approx(np.sqrt(13 / 14 * ((without - line.heterogeneity.value) ** 2).sum()))
    assert np.isnan(best_linear_predictor(score, np.ones(40), 0.95).heterogeneity.lo)

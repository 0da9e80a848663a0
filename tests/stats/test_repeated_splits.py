"""Ranks within folds, and one answer from repeated divisions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from equipoise.stats.effect_ranking import autoc
from equipoise.stats.estimate import normal_interval
from equipoise.stats.repeated_splits import centred_within, level_of_each, median_p, over_repeats, ranks_within


def test_ranks_and_centring_know_nothing_of_a_folds_level_or_scale() -> None:
    rng = np.random.default_rng(0)
    value, fold = rng.normal(size=60), rng.integers(0, 4, 60)
    np.testing.assert_allclose(ranks_within(value * (1 + fold) + 100 * fold, fold), ranks_within(value, fold))
    np.testing.assert_allclose(centred_within(value + 100 * fold, fold), centred_within(value, fold))
    weight = rng.uniform(0.5, 2, 60)
    centred = centred_within(value, fold, weight)
    np.testing.assert_allclose(np.bincount(fold, weight * centred), 0, atol=1e-12)
    np.testing.assert_allclose(ranks_within(np.array([1.0, 1.0, 2.0]), np.zeros(3)), [1 / 3, 1 / 3, 5 / 6])


def test_folds_predicted_at_different_levels_rank_falsely_and_not_within_folds() -> None:
    """Each fold's prediction is pulled away from its own mean: ranked over all folds, it is as if the effect were ranked upside down."""
    fold = np.repeat(np.arange(5), 40)
    score = np.random.default_rng(1).normal(size=200) + np.array([-0.4, -0.2, 0.0, 0.2, 0.4])[fold]
    left_out = np.array([score[fold != f].mean() for f in range(5)])[fold]
    assert float(autoc(score, left_out)) < -0.1
    assert np.isnan(autoc(score, ranks_within(left_out, fold)))


def test_the_doubled_median_p_is_valid_for_equal_and_for_independent_repeats() -> None:
    rng = np.random.default_rng(2)
    same, free = rng.random(20_000), rng.random((20_000, 20))
    assert np.mean([median_p(np.full(20, p)) < 0.05 for p in same[:4000]]) == pytest.approx(0.025, abs=0.01)
    assert np.mean([median_p(p) < 0.05 for p in free[:2000]]) < 0.001
    assert median_p(np.array([0.9, 0.8, 0.7])) == 1.0


def test_the_median_interval_of_equal_repeats_is_theirs_and_excludes_zero_where_the_p_is_small() -> None:
    one = normal_interval(2.2, 1.0, level_of_each(0.95), "")
    found = over_repeats([one] * 20)
    assert (found.value, found.lo, found.hi) == (one.value, one.lo, one.hi)
    assert found.p == pytest.approx(2 * one.p)
    rng = np.random.default_rng(3)
    for _ in range(50):
        shift = rng.uniform(-4, 4)
        found = over_repeats([normal_interval(v, 1.0, level_of_each(0.95), "") for v in shift + rng.normal(0, 0.3, 20)])
        assert found.lo <= found.value <= found.hi
        if abs(found.p - 0.05) > 0.02:
            assert (found.p < 0.05) == (found.lo > 0 or found.hi < 0)
    assert stats.norm.ppf(level_of_each(level_of_each(0.95))) == pytest.approx(one.hi - one.value)

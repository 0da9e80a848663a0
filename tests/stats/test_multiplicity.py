"""Adjusted p-values: their laws, and the error rates that they promise; and means of a few values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from equipoise.stats.means import mean_interval, welch_interval
from equipoise.stats.multiplicity import benjamini_hochberg, holm

P = st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=12).map(lambda x: np.array(x, dtype=np.float64))


@given(P)
@example(np.array([]))
@example(np.array([np.nan]))
def test_adjusted_p_values_keep_the_order_and_lie_between_p_and_m_times_p(p: np.ndarray) -> None:
    known = ~np.isnan(p)
    least, most = p[known], np.minimum(1, p[known] * known.sum())
    for adjust in (benjamini_hochberg, holm):
        found = adjust(p)
        assert (np.isnan(found) == ~known).all()
        assert (found[known] >= least - 1e-15).all()
        assert (found[known] <= most + 1e-15).all()
        assert (np.diff(found[known][np.argsort(least, kind="stable")]) >= -1e-15).all()
    assert (benjamini_hochberg(p)[known] <= holm(p)[known] + 1e-15).all()


@given(P, st.randoms(use_true_random=False))
def test_the_order_in_which_they_come_changes_nothing(p: np.ndarray, random: object) -> None:
    at = np.arange(p.size)
    random.shuffle(at)  # type: ignore[attr-defined]
    for adjust in (benjamini_hochberg, holm):
        np.testing.assert_array_equal(adjust(p[at]), adjust(p)[at])


def test_a_number_that_is_no_p_value_is_refused() -> None:
    for adjust in (benjamini_hochberg, holm):
        with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
            adjust(np.array([0.1, 1.2]))


def mixture(sets: int, true_nulls: int, false_nulls: int, shared: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided p-values f64 (sets, m) of normal tests that share a part of their variance, the false nulls last at 2.5; and which nulls are true."""
    rng = np.random.default_rng(seed)
    m = true_nulls + false_nulls
    z = np.sqrt(shared) * rng.normal(size=(sets, 1)) + np.sqrt(1 - shared) * rng.normal(size=(sets, m))
    null = np.arange(m) < true_nulls
    return 2 * stats.norm.sf(np.abs(z + np.where(null, 0.0, 2.5))), null


@pytest.mark.parametrize(("true_nulls", "false_nulls", "shared"), [(10, 0, 0.0), (6, 4, 0.0), (6, 4, 0.5), (1, 9, 0.0)])
def test_holm_holds_the_chance_of_any_false_claim(true_nulls: int, false_nulls: int, shared: float) -> None:
    sets, alpha = 4000, 0.05
    p, null = mixture(sets, true_nulls, false_nulls, shared, seed=1)
    wrong = np.mean([(holm(row)[null] <= alpha).any() for row in p])
    error = np.sqrt(alpha * (1 - alpha) / sets)
    assert wrong <= alpha + 3 * error
    if not false_nulls:  # exactly known where all nulls are true and independent
        assert wrong == pytest.approx(1 - (1 - alpha / true_nulls) ** true_nulls, abs=3 * error)
    assert np.mean([(row[null] <= alpha).any() for row in p]) > alpha + 3 * error or true_nulls == 1, "unadjusted, the error would not be held"


@pytest.mark.parametrize("false_nulls", [0, 4, 15])
def test_benjamini_hochberg_holds_the_share_of_false_claims_exactly_where_tests_are_independent(false_nulls: int) -> None:
    sets, m, q = 4000, 20, 0.1
    p, null = mixture(sets, m - false_nulls, false_nulls, 0.0, seed=2)
    claimed = np.stack([benjamini_hochberg(row) <= q for row in p])
    shares = claimed[:, null].sum(1) / np.maximum(claimed.sum(1), 1)
    # The false discovery rate is m0 q / m, whatever the false nulls are (Benjamini and Yekutieli 2001).
    assert shares.mean() == pytest.approx((m - false_nulls) / m * q, abs=3 * shares.std() / np.sqrt(sets))


def test_one_value_has_no_interval_and_equal_values_have_one_of_no_width() -> None:
    assert np.isnan(mean_interval(np.array([0.7]), 0.95).lo)
    assert np.isnan(mean_interval(np.array([]), 0.95).value)
    assert np.isnan(welch_interval(np.array([0.7]), np.array([0.1, 0.2]), 0.95).lo)
    same = welch_interval(np.array([0.7, 0.7]), np.array([0.7, 0.7, np.nan]), 0.95)
    assert (same.value, same.lo, same.hi, same.p) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("k", [3, 5])
def test_intervals_over_a_few_seeds_cover(k: int) -> None:
    rng, sets = np.random.default_rng(3), 3000
    a, b = rng.normal(0.7, 0.01, (sets, k)), rng.normal(0.7, 0.03, (sets, k))
    of_mean = [mean_interval(row, 0.95) for row in a]
    assert np.mean([e.lo <= 0.7 <= e.hi for e in of_mean]) == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / sets))
    # Welch's degrees of freedom are an approximation: conservative or nearly exact with few values.
    of_difference = np.mean([(e := welch_interval(x, y, 0.95)).lo <= 0 <= e.hi for x, y in zip(a, b, strict=True)])
    assert 0.95 - 3 * np.sqrt(0.95 * 0.05 / sets) - 0.01 <= of_difference <= 0.98

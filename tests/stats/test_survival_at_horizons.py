"""Antolini's C, weights for late entry and pseudo-values against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.stats.antolini import antolini_c
from equipoise.stats.concordance import harrell_c
from equipoise.stats.incidence_groups import incidence_groups
from equipoise.stats.integrated_brier import integrated, marginal_brier, scaled
from equipoise.stats.ipcw import brier_of_known, known_at
from equipoise.stats.observation import incidence, inverse_observation, status_at
from equipoise.stats.pseudo_values import influence, pseudo_values
from equipoise.stats.survival import aalen_johansen
from stats.test_survival import follow_up

HORIZONS = np.array([3.0, 6.0, 9.0])


def rising_risks(seed: int, n: int) -> np.ndarray:
    """Tied risks by three horizons that cross between people."""
    return np.cumsum(np.random.default_rng([seed, 1]).integers(0, 4, (n, 3)) / 12, axis=1)


def antolini_by_pairs(risk: np.ndarray, time: np.ndarray, event: np.ndarray, entry: np.ndarray) -> float:
    won = pairs = 0.0
    for i in np.flatnonzero((event == 1) & (time <= HORIZONS[-1])):
        k = int(np.flatnonzero(time[i] <= HORIZONS)[0])
        for j in range(time.size):
            there = entry[j] < time[i] or entry[j] <= 0
            later = time[j] > time[i] or (time[j] == time[i] and event[j] == 0)
            died_before = event[j] > 1 and time[j] <= time[i] and entry[j] <= 0
            if j != i and ((later and there) or died_before):
                pairs += 1
                won += float(risk[i, k] > risk[j, k]) + 0.5 * float(risk[i, k] == risk[j, k])
    return won / pairs if pairs else float("nan")


@given(st.integers(0, 2000), st.integers(1, 45))
@settings(deadline=None, max_examples=40)
def test_antolini_c_counts_the_pairs_of_its_definition(seed: int, n: int) -> None:
    time, event, entry, _ = follow_up(seed, n)
    risk = rising_risks(seed, n)
    np.testing.assert_allclose(antolini_c(risk, HORIZONS, time, event, entry), antolini_by_pairs(risk, time, event, entry), atol=1e-12, equal_nan=True)


def test_antolini_c_of_one_horizon_is_harrell_s_of_events_by_it() -> None:
    time, event, entry, risk = follow_up(4, 80)
    by_then = np.where((event == 1) & (time > 6), 0, event)
    np.testing.assert_allclose(antolini_c(risk[:, None], np.array([6.0]), time, event, entry), harrell_c(risk, time, by_then, entry))


def test_weights_count_as_repeated_rows() -> None:
    time, event, _, _ = follow_up(7, 40)
    risk, times = rising_risks(7, 40), np.random.default_rng(8).integers(0, 3, (2, 40))
    together = antolini_c(risk, HORIZONS, time, event, weight=times.astype(float))
    site = np.arange(40) % 2
    known = status_at(time, event, 6.0, largest_weight=1e6, weight=times.astype(float), stratum=site)
    for r, t in enumerate(times):
        k = np.repeat(np.arange(40), t)
        np.testing.assert_allclose(together[r], antolini_c(risk[k], HORIZONS, time[k], event[k]), atol=1e-12)
        alone = status_at(time[k], event[k], 6.0, largest_weight=1e6, stratum=site[k])
        np.testing.assert_allclose(known.weight[r].sum(), alone.weight.sum(), atol=1e-10)


@given(st.integers(0, 500))
@settings(deadline=None, max_examples=25)
def test_without_late_entry_or_strata_the_status_is_that_of_known_at(seed: int) -> None:
    time, event, _, _ = follow_up(seed)
    ours, plain = status_at(time, event, 6.0, largest_weight=100.0), known_at(time, event, 6.0)
    np.testing.assert_allclose(ours.weight, plain.weight)
    np.testing.assert_array_equal(ours.status, plain.status)


@given(st.integers(0, 500))
@settings(deadline=None, max_examples=25)
def test_events_weighted_for_late_entry_sum_to_aalen_johansen(seed: int) -> None:
    time, event, entry, _ = follow_up(seed, 60)
    entry[:30] = 0.0  # so that the risk set is never empty before the horizon
    known = status_at(time, event, 6.5, largest_weight=1e12, entry=entry)
    assert float(known.weight @ known.status) / 60 == pytest.approx(float(aalen_johansen(time, event, 1, entry).at(np.array([6.5]))[0]))


def test_a_row_that_entered_after_its_time_of_interest_has_no_weight() -> None:
    inverse = inverse_observation(np.array([5.0, 5.0, 5.0]), np.array([0, 1, 0]), np.full(3, 2.0), entry=np.array([0.0, 3.0, 1.0]))
    assert inverse.tolist() == [1.5, 0.0, 1.5]


def test_weights_are_cut_at_the_largest_allowed() -> None:
    time, event = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 0, 0, 1])
    assert status_at(time, event, 5.0, largest_weight=3.0).weight.tolist() == [0.0, 0.0, 0.0, 3.0]


@given(st.integers(0, 500))
@settings(deadline=None, max_examples=15)
def test_the_influence_is_the_derivative_to_each_weight_with_late_entry_and_ties(seed: int) -> None:
    time, event, entry, _ = follow_up(seed, 40)
    entry[:20] = 0.0
    w, small = np.random.default_rng(seed).uniform(0.5, 2, 40), 1e-6
    value, slope = influence(time, event, 6.5, entry, w)
    shifted = aalen_johansen(time, event, 1, entry, w + small * np.eye(40)).at(np.array([6.5]))[..., 0]
    np.testing.assert_allclose(slope, (shifted - value) / small, atol=1e-5)
    assert float(w @ slope) == pytest.approx(0.0, abs=1e-10)


def test_without_censoring_a_pseudo_value_is_the_status_and_within_strata_too() -> None:
    rng = np.random.default_rng(1)
    time, event = rng.exponential(5, 60), rng.integers(1, 3, 60)
    status = ((time <= 4) & (event == 1)).astype(float)
    np.testing.assert_allclose(pseudo_values(time, event, 4.0), status, atol=1e-10)
    np.testing.assert_allclose(pseudo_values(time, event, 4.0, stratum=np.arange(60) % 3), status, atol=1e-10)


def test_the_marginal_score_is_the_brier_score_of_one_risk_for_all_and_scales_to_zero() -> None:
    time, event, _, _ = follow_up(11, 60)
    known, ones = known_at(time, event, 6.5), np.ones(60)
    share = incidence(time, event, 6.5)
    assert float(marginal_brier(known, share, ones)) == pytest.approx(float(brier_of_known(np.full(60, share), known, ones)))
    assert float(scaled(marginal_brier(known, share, ones), marginal_brier(known, share, ones))) == 0.0


def test_one_horizon_has_no_integral() -> None:
    with pytest.raises(ValueError, match="at least two"):
        integrated(np.array([0.1]), np.array([30.0]))


def test_groups_of_risk_hold_their_aalen_johansen_incidence_and_copies_of_a_row_widen_nothing_but_n() -> None:
    rng = np.random.default_rng(3)
    time, event, entry, _ = follow_up(3, 200)
    risk, cluster = rng.random(200), np.arange(200)
    found = incidence_groups(risk, time, event, 6.5, 0.95, entry=entry, cluster=cluster, n_groups=4)
    lowest = risk <= np.sort(risk)[49]
    assert found.n.tolist() == [50.0] * 4
    assert found.observed[0] == pytest.approx(float(aalen_johansen(time[lowest], event[lowest], 1, entry[lowest]).at(np.array([6.5]))[0]))
    assert ((found.lo < found.observed) & (found.observed < found.hi)).all()
    k = np.repeat(np.arange(200), 3)
    thrice = incidence_groups(risk[k], time[k], event[k], 6.5, 0.95, entry=entry[k], cluster=cluster[k], n_groups=4)
    np.testing.assert_allclose(thrice.lo, found.lo, atol=1e-10)
    plain = incidence_groups(risk[k], time[k], event[k], 6.5, 0.95, entry=entry[k], cluster=np.arange(600), n_groups=4)
    assert (plain.hi - plain.lo < 0.7 * (found.hi - found.lo)).all()


def test_without_censoring_a_group_s_interval_is_wilson_s_but_for_the_factor_of_few_clusters() -> None:
    rng = np.random.default_rng(5)
    time, event = rng.exponential(5, 400), np.ones(400, dtype=int)
    found = incidence_groups(rng.random(400), time, event, 4.0, 0.95, entry=np.zeros(400), cluster=np.arange(400), n_groups=1)
    from equipoise.stats.proportion import wilson_interval

    lo, hi = wilson_interval(np.array([(time <= 4).sum()]), np.array([400.0]), 0.95)
    np.testing.assert_allclose([found.lo[0], found.hi[0]], [lo[0], hi[0]], atol=2e-4)

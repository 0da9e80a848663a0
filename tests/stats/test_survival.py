"""Survival, censoring weights and concordance against their definitions, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.stats.concordance import harrell_c, uno_c
from equipoise.stats.ipcw import ipcw_brier, known_at
from equipoise.stats.survival import aalen_johansen, censoring_survival, kaplan_meier


def follow_up(seed: int, n: int = 40, causes: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tied times, events, entries, tied risks."""
    rng = np.random.default_rng(seed)
    time = rng.integers(1, 12, n).astype(float)
    entry = np.where(rng.random(n) < 0.4, rng.integers(0, 11, n), 0).astype(float)
    return time, rng.integers(0, causes + 1, n), np.minimum(entry, time - 1), np.round(rng.normal(size=n), 1)


def harrell_by_pairs(risk: np.ndarray, time: np.ndarray, event: np.ndarray, entry: np.ndarray) -> float:
    won = pairs = 0.0
    for i in np.flatnonzero(event == 1):
        for j in range(time.size):
            there = entry[j] < time[i] or entry[j] <= 0
            later = time[j] > time[i] or (time[j] == time[i] and event[j] == 0)
            died_before = event[j] > 1 and time[j] <= time[i] and entry[j] <= 0
            if j != i and ((later and there) or died_before):
                pairs += 1
                won += float(risk[i] > risk[j]) + 0.5 * float(risk[i] == risk[j])
    return won / pairs if pairs else float("nan")


def uno_by_pairs(risk: np.ndarray, time: np.ndarray, event: np.ndarray, horizon: float) -> float:
    g = censoring_survival(time, event).before(time)
    won = pairs = 0.0
    for i in np.flatnonzero((event == 1) & (time < horizon)):
        for j in range(time.size):
            if j == i:
                continue
            if time[j] > time[i] or (time[j] == time[i] and event[j] == 0):
                weight = g[i] ** -2
            elif event[j] > 1 and time[j] <= time[i]:
                weight = 1 / (g[i] * g[j])
            else:
                continue
            pairs += weight
            won += weight * (float(risk[i] > risk[j]) + 0.5 * float(risk[i] == risk[j]))
    return won / pairs if pairs else float("nan")


@given(st.integers(0, 2000), st.integers(1, 45))
@settings(deadline=None, max_examples=60)
def test_harrell_c_counts_the_pairs_of_its_definition_with_ties_entries_and_competing_causes(seed: int, n: int) -> None:
    time, event, entry, risk = follow_up(seed, n)
    np.testing.assert_allclose(harrell_c(risk, time, event, entry), harrell_by_pairs(risk, time, event, entry), atol=1e-12, equal_nan=True)


@given(st.integers(0, 2000), st.integers(2, 45), st.integers(1, 2))
@settings(deadline=None, max_examples=60)
def test_uno_c_counts_the_weighted_pairs_of_its_definition(seed: int, n: int, causes: int) -> None:
    time, event, _, risk = follow_up(seed, n, causes)
    np.testing.assert_allclose(uno_c(risk, time, event, 8.0), uno_by_pairs(risk, time, event, 8.0), atol=1e-10, equal_nan=True)


@given(st.integers(0, 500))
@settings(deadline=None, max_examples=25)
def test_weights_count_as_repeated_rows_in_every_survival_function(seed: int) -> None:
    time, event, entry, risk = follow_up(seed, 30)
    times = np.random.default_rng(seed + 1).integers(0, 3, (2, 30))
    w, at = times.astype(float), np.array([3.0, 7.0])
    p = 1 / (1 + np.exp(-risk))
    every = {
        "kaplan_meier": lambda k, **o: kaplan_meier(time[k], event[k], entry[k], **o).at(at),
        "aalen_johansen": lambda k, **o: aalen_johansen(time[k], event[k], 1, entry[k], **o).at(at),
        "censoring": lambda k, **o: censoring_survival(time[k], event[k], **o).before(at),
        "brier": lambda k, **o: ipcw_brier(p[k], time[k], event[k], 6.0, **o),
        "uno": lambda k, **o: uno_c(risk[k], time[k], event[k], 8.0, **o),
    }
    for name, f in every.items():
        together = f(np.arange(30), weight=w)
        for value, t in zip(together, times, strict=True):
            np.testing.assert_allclose(value, f(np.repeat(np.arange(30), t)), atol=1e-10, err_msg=name, equal_nan=True)


def test_harrell_c_under_weights_counts_pairs_of_different_rows_only() -> None:
    """A repeated case makes no pair with its own copy (equal times of events are not comparable)."""
    time, event, _, risk = follow_up(3, 30)
    t = np.random.default_rng(0).integers(0, 3, 30)
    k = np.repeat(np.arange(30), t)
    np.testing.assert_allclose(harrell_c(risk, time, event, weight=t.astype(float)), harrell_c(risk[k], time[k], event[k]), atol=1e-12)


def test_without_censoring_incidences_and_brier_are_plain_shares() -> None:
    rng = np.random.default_rng(1)
    time, event, p = rng.exponential(5, 300), rng.integers(1, 3, 300), rng.random(300)
    status = (time <= 4) & (event == 1)
    assert float(aalen_johansen(time, event, 1).at(np.array([4.0]))[0]) == pytest.approx(status.mean())
    assert float(ipcw_brier(p, time, event, 4.0)) == pytest.approx(np.mean((p - status) ** 2))


def test_cumulative_incidences_and_survival_sum_to_one() -> None:
    time, event, entry, _ = follow_up(9, 80)
    at = np.arange(1.0, 12.0)
    whole = kaplan_meier(time, event, entry).at(at) + sum(aalen_johansen(time, event, c, entry).at(at) for c in (1, 2))
    np.testing.assert_allclose(whole, 1.0)


def test_censoring_weights_recover_the_share_with_the_event() -> None:
    """From a known truth: exponential times with a competing cause and independent censoring."""
    rng = np.random.default_rng(2)
    n = 60_000
    one, two, censored = rng.exponential(10, n), rng.exponential(20, n), rng.exponential(8, n)
    time = np.minimum(np.minimum(one, two), censored)
    event = np.where(time == one, 1, np.where(time == two, 2, 0))
    truth = (1 / 10) / (1 / 10 + 1 / 20) * (1 - np.exp(-6 * (1 / 10 + 1 / 20)))
    known = known_at(time, event, 6.0)
    assert float(np.average(known.status, weights=known.weight)) == pytest.approx(truth, abs=0.01)
    assert float(aalen_johansen(time, event, 1).at(np.array([6.0]))[0]) == pytest.approx(truth, abs=0.01)
    assert known.weight.sum() / n == pytest.approx(1.0, abs=0.01)


def test_who_was_followed_exactly_to_the_horizon_is_known_to_be_free() -> None:
    known = known_at(np.array([5.0, 5.0, 2.0]), np.array([0, 1, 0]), 5.0)
    assert known.status.tolist() == [0.0, 1.0, 0.0]
    assert (known.weight > 0).tolist() == [True, True, False]


def test_no_event_gives_no_concordance() -> None:
    assert np.isnan(harrell_c(np.arange(3.0), np.arange(1.0, 4.0), np.zeros(3, dtype=int)))
    assert np.isnan(uno_c(np.arange(3.0), np.arange(1.0, 4.0), np.zeros(3, dtype=int), 5.0))

"""Coverage over draws of calibrate and test rows: within [level, level + 1/(n + 1)] and three Monte-Carlo standard errors, for exchangeable clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from equipoise.conformal import Conformal, Stated
from equipoise.conformal.adaptive_sets import AdaptiveSets
from equipoise.conformal.lower_bound import LowerTimeBound
from equipoise.conformal.quantile import QuantileConformal
from equipoise.conformal.split import SplitConformal
from equipoise.conformal.threshold import threshold
from equipoise.contract.question import Question

CONTINUOUS = Question("t", "weight", "continuous", ())
BINARY = Question("t", "died", "binary", ())
CLASSES = Question("t", "stage", "multiclass", (), classes=("a", "b", "c", "d"))
SURVIVAL = Question("t", "survival", "time_to_event", (), horizons_days=(100.0, 300.0, 600.0))
DRAWS = 2000


def stated(risk: np.ndarray, total: np.ndarray | None = None, lo: np.ndarray | None = None, hi: np.ndarray | None = None) -> Stated:
    nothing = np.full(risk.shape, np.nan)
    return Stated(risk, *(nothing if x is None else x for x in (total, lo, hi)))


def one_group(n: int) -> np.ndarray:
    return np.full(n, "all")


def within(covered: np.ndarray, level: float, n: int) -> None:
    mean, error = covered.mean(), 3 * covered.std() / np.sqrt(covered.size)
    assert level - error <= mean <= level + 1 / (n + 1) + error


def continuous_world(rng: np.random.Generator, n: int) -> tuple[Stated, np.ndarray]:
    """A wrong mean and a wrong spread: outcomes x + (1 + |x|) noise, predicted 0.5 x with spread 1 + x^2."""
    x = rng.normal(size=n)
    y = x + (1 + np.abs(x)) * rng.standard_t(4, n)
    mean, total = 0.5 * x[:, None], (1 + x**2)[:, None] ** 2
    return stated(mean, total, mean - np.sqrt(total), mean + np.sqrt(total)), y


@pytest.mark.parametrize("made", [SplitConformal(level=0.8, by=None), QuantileConformal(level=0.8, by=None)], ids=["split", "quantile"])
@pytest.mark.parametrize("n", [19, 60])
def test_intervals_of_a_wrong_model_cover(made: Conformal, n: int) -> None:
    rng, covered = np.random.default_rng(n), np.empty(DRAWS)
    for i in range(DRAWS):
        told, y = continuous_world(rng, n + 1)
        made.fit(CONTINUOUS, told.take(np.arange(n)), y[:n], np.ones(n, bool), np.arange(n), one_group(n))
        held = made.apply(told.take(np.arange(n, n + 1)), one_group(1))
        covered[i] = held.lo[0, 0] <= y[n] <= held.hi[0, 0]
    within(covered, 0.8, n)


def test_clusters_of_unequal_size_cover_a_random_row_of_a_new_cluster() -> None:
    """Half of the clusters have 12 alike rows, which counted one by one would decide everything."""
    rng, level, k, covered, naive = np.random.default_rng(3), 0.8, 30, np.empty(DRAWS), np.empty(DRAWS)
    for i in range(DRAWS):
        large = rng.random(k + 1) < 0.5
        rows = np.where(large, 12, 1)
        cluster = np.repeat(np.arange(k + 1), rows)
        score = np.abs((rng.normal(size=k + 1) * np.where(large, 0.3, 2.0))[cluster] + 0.1 * rng.normal(size=cluster.size))
        old, new = cluster < k, rng.choice(np.flatnonzero(cluster == k))
        covered[i] = score[new] <= threshold(score[old], cluster[old], level)
        naive[i] = score[new] <= threshold(score[old], np.arange(old.sum()), level)
    within(covered, level, k)
    assert naive.mean() < 0.72


def test_groups_cover_each_by_itself() -> None:
    rng, made, n, level = np.random.default_rng(4), SplitConformal(level=0.8, by="site"), 80, 0.8
    covered: dict[str, list[float]] = {"a": [], "b": []}
    sizes: dict[str, list[int]] = {"a": [], "b": []}
    for _ in range(DRAWS):
        site = np.where(rng.random(n + 1) < 0.3, "b", "a")
        y = rng.normal(size=n + 1) * np.where(site == "b", 4.0, 1.0)
        told = stated(np.zeros((n + 1, 1)))
        made.fit(CONTINUOUS, told.take(np.arange(n)), y[:n], np.ones(n, bool), np.arange(n), site[:n])
        held = made.apply(told.take(np.array([n])), site[n:])
        covered[site[n]].append(float(held.lo[0, 0] <= y[n] <= held.hi[0, 0]))
        sizes[site[n]].append(int((site[:n] == site[n]).sum()))
    for name, found in covered.items():
        within(np.array(found), level, int(np.mean(sizes[name])))


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_sets_of_classes_cover(penalty: float) -> None:
    rng, made, n = np.random.default_rng(5), AdaptiveSets(level=0.8, by=None, penalty=penalty, free=1), 60
    covered = np.empty(DRAWS)
    for i in range(DRAWS):
        eta = rng.normal(size=(n + 1, 4))
        y = (1.5 * eta + rng.gumbel(size=eta.shape)).argmax(1)
        told = stated(softmax(0.7 * eta + [0.5, 0, 0, 0], axis=1))
        made.fit(CLASSES, told.take(np.arange(n)), y[:n].astype(float), np.ones(n, bool), np.arange(n), one_group(n))
        covered[i] = made.apply(told.take(np.array([n])), one_group(1)).event[0, y[n]]
    within(covered, 0.8, n)


def test_sets_of_a_binary_outcome_hold_both_where_the_model_cannot_tell() -> None:
    rng, made, n = np.random.default_rng(6), AdaptiveSets(level=0.9, by=None, penalty=0.0, free=1), 4000
    x = rng.normal(size=n)
    y, told = (rng.random(n) < expit(3 * x)).astype(float), stated(expit(3 * x)[:, None])
    made.fit(BINARY, told, y, np.ones(n, bool), np.arange(n), one_group(n))
    held = made.apply(told, one_group(n))
    event, no_event = held.event[:, 0], held.no_event[:, 0]
    assert np.where(y == 1, event, no_event).mean() == pytest.approx(0.9, abs=0.02)
    both = (event == 1) & (no_event == 1)
    assert (event + no_event >= 1).all()
    assert np.abs(x[both]).max() < np.abs(x[~both]).min() + 1e-9
    assert 0.1 < both.mean() < 0.6


@pytest.mark.parametrize("competing", [False, True])
def test_events_come_after_the_bound_under_independent_censoring(competing: bool) -> None:
    rng, made, n, level = np.random.default_rng(7), LowerTimeBound(level=0.8, by=None), 400, 0.8
    early, bounds = [], []
    for _ in range(150):
        x = rng.normal(size=n + 200)
        event_days = rng.exponential(400 * np.exp(-0.7 * x))
        death = rng.exponential(900, x.size) if competing else np.full(x.size, np.inf)
        censored = rng.exponential(500, x.size)
        time = np.minimum(np.minimum(event_days, death), censored)
        kind = np.where(event_days <= np.minimum(death, censored), 1, np.where(death <= censored, 2, 0))
        risk = 1 - np.exp(-np.array(SURVIVAL.horizons_days) / (250 * np.exp(-0.4 * x[:, None])))  # wrong: too early and too flat
        told = stated(risk)
        made.fit(SURVIVAL, told.take(np.arange(n)), np.column_stack([time, kind, np.zeros_like(time)])[:n], np.ones(n, bool), np.arange(n), one_group(n))
        held = made.apply(told.take(np.arange(n, n + 200)), one_group(200)).time_lo_days[:, 0]
        happens = event_days[n:] < death[n:]
        early.append((happens & (event_days[n:] < held)).mean())
        bounds.append(held.mean())
    error = 3 * np.std(early) / np.sqrt(len(early))
    assert np.mean(early) <= 1 - level + error
    assert np.mean(early) >= 1 - level - 0.02
    assert 20 < np.mean(bounds) < 200


def test_few_rows_give_no_interval_and_say_so() -> None:
    made = SplitConformal(level=0.9, by="site")
    told, group = stated(np.zeros((12, 1))), np.array(["a"] * 9 + ["b"] * 3)
    made.fit(CONTINUOUS, told, np.arange(12.0), np.ones(12, bool), np.arange(12), group)
    held = made.apply(stated(np.zeros((3, 1))), np.array(["a", "b", "c"]))
    assert np.isfinite(held.lo[:, 0]).tolist() == [True, False, False]
    assert "1 of 2 groups" in made.note
    assert "at least 9 clusters" in made.note

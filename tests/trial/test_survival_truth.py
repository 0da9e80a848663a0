"""Time to event from a known truth: intervals cover, with one and with five rows a subject; late entries leave no bias. Slow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from equipoise.stats.bootstrap import ClusterBootstrap, percentile_interval
from equipoise.stats.calibration_curve import smooth
from equipoise.stats.incidence_groups import incidence_groups
from equipoise.stats.pseudo_values import influence, pseudo_values
from equipoise.stats.recalibration import calibration_slope
from equipoise.stats.roc import auroc
from equipoise.trial.calibration_at_horizon import observed_at
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.endpoints import endpoints_of
from equipoise.trial.rows import rows_of
from equipoise.trial.sample import Sample
from equipoise.trial.table import validated
from trial.simulated_predictions import protocol

pytestmark = pytest.mark.slow
H = 60.0
NAMES = ("td_auc", "ipcw_brier", "observed_expected", "calibration_slope")


@dataclass(frozen=True)
class World:
    """Latent times of two causes, of censoring and of entry; a risk of cause 1 by `H` that is somewhat too extreme and too low."""

    one: np.ndarray
    two: np.ndarray
    censored: np.ndarray
    entry: np.ndarray
    risk: np.ndarray
    cluster: np.ndarray

    @property
    def status(self) -> np.ndarray:
        return ((self.one <= H) & (self.one < self.two)).astype(float)

    def sample(self, late_entry: str = "exclude") -> Sample:
        """What is seen: rows still followed when they would enter."""
        time = np.minimum(np.minimum(self.one, self.two), self.censored)
        event = np.where(self.one == time, 1, np.where(self.two == time, 2, 0))
        at = np.flatnonzero(time > self.entry)
        table = pl.DataFrame(
            {
                "subject_id": [f"s{i:06d}" for i in at],
                "cluster": [f"c{c}" for c in self.cluster[at]],
                "target": f"h={H:g}",
                "risk": self.risk[at],
                "time_days": time[at],
                "event": event[at],
                "entry_days": self.entry[at],
            }
        )
        rows = rows_of(validated(table), "time_to_event", (), abstain="exclude")
        words = protocol(late_entry=late_entry)
        return Sample.of(rows, rows.forecasts[("equipoise", "all")], rows.observed, words, np.empty(rows.size), np.empty(0))


def world(seed: int, clusters: int, rows: int, late: float = 0.0) -> World:
    """Rows of a subject share half of the log hazard, and when they are censored. ``late``: the share that enters late, whoever it is."""
    rng = np.random.default_rng([31, seed])
    cluster = np.repeat(np.arange(clusters), rows)
    n = cluster.size
    x = (rng.normal(size=clusters)[cluster] + rng.normal(size=n)) / np.sqrt(2)
    one, two = rng.exponential(1 / (0.010 * np.exp(x))), rng.exponential(250, n)
    censored = rng.exponential(90, clusters)[cluster]
    entry = np.where(rng.random(n) < late, rng.uniform(0, 80, n), 0.0)
    hazard = 0.008 * np.exp(1.3 * x)
    return World(one, two, censored, entry, hazard / (hazard + 0.004) * (1 - np.exp(-(hazard + 0.004) * H)), cluster)


def truth() -> dict[str, float]:
    """Of 400,000 people without censoring or late entry."""
    w = world(10**6, 400_000, 1)
    y, p = w.status, w.risk
    return {
        "td_auc": float(auroc(p, y)),
        "ipcw_brier": float(np.mean((p - y) ** 2)),
        "observed_expected": float(y.mean() / p.mean()),
        "calibration_slope": float(calibration_slope(p, y)),
    }


TRUTH = truth()
ENDPOINTS = {e.name.partition("@")[0]: e for e in endpoints_of("time_to_event", protocol(), (H,))[0]}


def covers(endpoint: Endpoint, s: Sample, blocks: list[np.ndarray], true: float) -> bool:
    draws = np.concatenate([endpoint.of(s, w) for w in blocks])
    found = percentile_interval(float(endpoint.value(s)), draws, 0.95, s.n_clusters)
    return bool(found.lo <= true <= found.hi)


def within(hits: int, sets: int) -> bool:
    return abs(hits / sets - 0.95) < 3 * np.sqrt(0.95 * 0.05 / sets)


@pytest.mark.parametrize(("clusters", "rows", "late"), [(300, 1, 0.0), (90, 5, 0.0), (450, 1, 0.6)], ids=["1_row", "5_rows_a_subject", "late_entries"])
def test_intervals_at_a_horizon_cover_with_a_competing_cause_and_censoring(clusters: int, rows: int, late: float) -> None:
    sets, hits, censored = 300, dict.fromkeys(NAMES, 0), []
    for i in range(sets):
        s = world(i, clusters, rows, late).sample("weight")
        censored.append(np.mean((s.event == 0) & (s.time < H)))
        blocks = list(ClusterBootstrap(np.unique(s.cluster, return_inverse=True)[1], 200, i).blocks())
        for name in NAMES:
            hits[name] += covers(ENDPOINTS[name], s, blocks, TRUTH[name])
    print({k: round(v / sets, 3) for k, v in hits.items()}, f"censored before the horizon {np.mean(censored):.2f}")
    assert 0.25 < np.mean(censored) < 0.5
    for name, n in hits.items():
        assert within(n, sets), f"{name}: {n / sets:.3f}"


def test_endpoints_weighted_for_late_entry_are_unbiased_and_unweighted_ones_are_not() -> None:
    """Many rows a set: with 600 the maximum likelihood of the slope alone is .03 too high."""
    sets, plain = 120, {"plain observed_expected", "plain ipcw_brier"}
    found: dict[str, list[float]] = {k: [] for k in (*NAMES, *plain)}
    for i in range(sets):
        s = world(20_000 + i, 2400, 1, late=0.6).sample("weight")
        for name in NAMES:
            found[name].append(float(ENDPOINTS[name].value(s)))
        total, _ = influence(s.time, s.event, H, s.entry)
        found["plain observed_expected"].append(total / float(s.p.mean()))
        found["plain ipcw_brier"].append(float(ENDPOINTS["ipcw_brier"].value(_as_if_from_the_start(s))))
    for name, values in found.items():
        bias, error = np.mean(values) - TRUTH[name.removeprefix("plain ")], np.std(values) / np.sqrt(sets)
        print(f"{name}: truth {TRUTH[name.removeprefix('plain ')]:.4f}, bias {bias:.4f}, Monte Carlo error {error:.4f}")
        assert (abs(bias) < 3 * error) == (name not in plain), name


def _as_if_from_the_start(s: Sample) -> Sample:
    return replace(s, entry=np.zeros(s.size))


def test_calibration_with_late_entry_is_unbiased_in_groups_and_in_the_weighted_curve_and_not_in_pseudo_values() -> None:
    people = world(10**6 + 1, 400_000, 1)
    edges = np.quantile(people.risk, [0.0, 0.25, 0.5, 0.75, 1.0])
    true = np.array([people.status[(people.risk > lo) & (people.risk <= hi)].mean() for lo, hi in pairwise(edges)])
    places = np.quantile(people.risk, [0.2, 0.5, 0.8])
    curve = smooth(people.risk[:20_000], people.status[:20_000], places).observed
    near = np.array([people.status[np.abs(people.risk - x) < 0.01].mean() for x in places])
    assert np.abs(curve - near).max() < 0.02
    groups, weighted, pseudo = [], [], []
    for i in range(200):
        s = world(40_000 + i, 1000, 1, late=0.6).sample("weight")
        own = [(s.p > lo) & (s.p <= hi) for lo, hi in pairwise(edges)]
        groups.append([influence(s.time[k], s.event[k], H, s.entry[k])[0] for k in own])
        o = observed_at(s, H)
        weighted.append(smooth(s.p, o.outcome, places, o.weight).observed)
        total, slope = influence(s.time, s.event, H, s.entry)
        pseudo.append(smooth(s.p, total + s.size * slope, places).observed)
    for name, values, expected in (("groups", groups, true), ("weighted curve", weighted, near), ("pseudo-values", pseudo, near)):
        z = (np.mean(values, axis=0) - expected) / (np.std(values, axis=0) / np.sqrt(200))
        print(name, np.round(np.mean(values, axis=0) - expected, 4), "in Monte Carlo errors", np.round(z, 1))
        # Loess itself bends by a few thousandths; what late entry does to pseudo-values is far more.
        assert (np.abs(np.mean(values, axis=0) - expected) < 0.015).all() == (name != "pseudo-values"), name
        assert name != "groups" or (np.abs(z) < 3).all()


def test_pseudo_values_without_late_entry_have_the_true_mean_in_groups_of_risk_and_groups_intervals_cover() -> None:
    sets, hits = 300, 0
    people = world(10**6 + 2, 400_000, 1)
    middle = np.quantile(people.risk, [0.6, 0.8])
    inside = (people.risk > middle[0]) & (people.risk <= middle[1])
    true, means = people.status[inside].mean(), []
    for i in range(sets):
        s = world(60_000 + i, 150, 5).sample()
        k = (s.p > middle[0]) & (s.p <= middle[1])
        means.append(pseudo_values(s.time, s.event, H)[k].mean())
        words = {"entry": s.entry[k], "cluster": s.cluster[k], "n_groups": 1}
        found = incidence_groups(s.p[k], s.time[k], s.event[k], H, 0.95, **words)
        hits += bool(found.lo[0] <= true <= found.hi[0])
    error = np.std(means) / np.sqrt(sets)
    print(f"pseudo-values: bias {np.mean(means) - true:.4f}, Monte Carlo error {error:.4f}; group interval covers {hits / sets:.3f}")
    assert abs(np.mean(means) - true) < 3 * error
    assert within(hits, sets)

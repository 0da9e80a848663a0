"""Calibration at a horizon in groups of risk: predicted against the Aalen-Johansen incidence."""

from __future__ import annotations

import numpy as np

from equipoise.stats.calibration_curve import Bins, groups_of
from equipoise.stats.proportion import wilson_interval
from equipoise.stats.pseudo_values import influence
from equipoise.stats.weighting import weights_of


def incidence_groups(
    risk: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    horizon: float,
    level: float,
    *,
    entry: np.ndarray,
    cluster: np.ndarray,
    weight: np.ndarray | None = None,
    n_groups: int = 10,
    fewest: int = 10,
) -> Bins:
    """Groups of equal size by predicted risk, each with its Aalen-Johansen incidence of cause 1; late entries count from their entry on.

    The interval is Wilson's for as many rows as would give the incidence's robust variance: n = F (1 - F) / variance, clusters summed.

    Args:
        risk: f64 (n,), by the horizon.
        time: f64 (n,), event: i64 (n,), horizon, entry: f64 (n,): see `pseudo_values.influence`.
        level: in (0, 1), of the intervals.
        cluster: i64 (n,).
        weight: f64 (n,).
        n_groups: >= 1.
        fewest: smallest group, in rows.

    Source: Gerds, Andersen and Kattan (2014), section 3; Wilson (1927). The effective n is ours, after Korn and Graubard (1998).
    """
    x, w = np.asarray(risk, dtype=np.float64), weights_of(weight, np.asarray(risk).size)
    group = groups_of(x, n_groups, fewest)
    rows = [at for g in range(int(group.max(initial=-1)) + 1) if (at := np.flatnonzero(group == g)).size >= fewest and w[at].sum() > 0]
    found = [_group(time[at], event[at], horizon, level, entry[at], cluster[at], w[at]) for at in rows]
    observed, lo, hi = (np.array([f[k] for f in found], dtype=np.float64) for k in range(3))
    return Bins(np.array([np.average(x[at], weights=w[at]) for at in rows]), observed, lo, hi, np.array([float(at.size) for at in rows]))


def _group(
    time: np.ndarray, event: np.ndarray, horizon: float, level: float, entry: np.ndarray, cluster: np.ndarray, w: np.ndarray
) -> tuple[float, float, float]:
    observed, slope = influence(time, event, horizon, entry, w)
    codes = np.unique(cluster, return_inverse=True)[1]
    each = np.bincount(codes, w * slope)
    variance = float((each**2).sum()) * each.size / max(each.size - 1, 1)
    followed = float(np.unique(codes[(event != 0) | (time >= horizon)]).size)
    size = observed * (1 - observed) / variance if variance > 0 else followed
    lo, hi = wilson_interval(np.array([observed * size]), np.array([size]), level) if size > 0 else (np.array([np.nan]), np.array([np.nan]))
    return observed, float(lo[0]), float(hi[0])

"""Pseudo-values of an incidence: what each row contributes to the Aalen-Johansen estimate."""

from __future__ import annotations

import numpy as np

from equipoise.stats.observation import weight_before
from equipoise.stats.survival import aalen_johansen
from equipoise.stats.weighting import weights_of


def influence(
    time: np.ndarray, event: np.ndarray, horizon: float, entry: np.ndarray | None = None, weight: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """The Aalen-Johansen incidence F(h) of cause 1, and its derivative to each row's weight, f64 (n,).

    dF/dw_i = integral over u <= h of S(u-) dM1_i(u) / r(u) - (F(h) - F(u)) dM_i(u) / ((1 - d(u)/r(u)) r(u)), M_i = N_i - integral of Y_i d/r.

    Args:
        time: f64 (n,), > 0.
        event: i64 (n,), 0 censored, 1 the cause of interest, 2..C competing.
        horizon: > 0.
        entry: f64 (n,), left truncation; <= 0: from the start.
        weight: f64 (n,), > 0 in some row.

    Returns:
        F(h); dF/dw. The sum of squares of ``weight * dF/dw`` is the robust variance of F(h).

    Source: Therneau and Grambsch (2000), section 7.2, for the infinitesimal jackknife; Aalen and Johansen (1978).
    """
    t, e = np.asarray(time, dtype=np.float64), np.asarray(event)
    w = weights_of(weight, t.size)
    since = np.full(t.size, -np.inf) if entry is None else np.where(np.asarray(entry) > 0, entry, -np.inf)
    u = np.unique(t[(e != 0) & (t <= horizon)])
    if not u.size:
        return 0.0, np.zeros(t.size)
    place = np.minimum(np.searchsorted(u, t), u.size - 1)
    came = (e != 0) & (t <= horizon)
    d, d1 = (np.bincount(place[rows], w[rows], u.size) for rows in (came, came & (e == 1)))
    r = weight_before(since, w, u) - weight_before(t, w, u)
    some = r > 1e-12 * w.sum()
    inverse = np.divide(1.0, r, out=np.zeros_like(r), where=some)
    hazard = np.minimum(d * inverse, 1.0)
    free = np.concatenate([[1.0], np.cumprod(1 - hazard)[:-1]])
    curve = aalen_johansen(t, e, 1, entry, w).at(u)
    total = float(curve[-1])
    # Where all at risk had an event nobody is left whose later incidence could change.
    spared = np.divide(total - curve, 1 - hazard, out=np.zeros_like(r), where=hazard < 1 - 1e-12) * inverse
    direct = free * inverse
    drift = np.concatenate([[0.0], np.cumsum(spared * hazard - direct * d1 * inverse)])
    jump = np.where(e == 1, direct[place], 0.0) - spared[place]
    return total, np.where(came, jump, 0.0) + drift[np.searchsorted(u, t, side="right")] - drift[np.searchsorted(u, since, side="right")]


def pseudo_values(time: np.ndarray, event: np.ndarray, horizon: float, weight: np.ndarray | None = None, stratum: np.ndarray | None = None) -> np.ndarray:
    """F(h) + W dF/dw_i, W the sum of weights: without censoring the row's status, and on average over rows of equal risk that risk.

    Infinitesimal jackknife; leaving rows out one by one differs by the order of 1/n. For rows followed from the start only: with late entries the
    mean over rows of equal risk is not that risk (rows weighted by `observation.status_at` serve then).

    Args:
        time: f64 (n,), event: i64 (n,), horizon: as in `influence`.
        weight: f64 (n,).
        stratum: i64 (n,), within which censoring is independent of the risk; None: all together.

    Returns:
        f64 (n,), not confined to [0, 1].

    Source: Andersen, Klein and Rosthoj (2003); Gerds, Andersen and Kattan (2014) for calibration; Parner, Andersen and Overgaard (2023) for the
    infinitesimal jackknife and why late entries do not fit.

    >>> pseudo_values(np.array([1.0, 2.0, 3.0]), np.array([1, 2, 1]), 2.5).round(6).tolist()
    [1.0, 0.0, 0.0]
    """
    t, e = np.asarray(time, dtype=np.float64), np.asarray(event)
    w = weights_of(weight, t.size)
    codes = np.zeros(t.size, dtype=np.int64) if stratum is None else stratum
    made = np.zeros(t.size)
    for s in np.unique(codes):
        own = np.flatnonzero(codes == s)
        total, slope = influence(t[own], e[own], horizon, weight=w[own])
        made[own] = total + w[own].sum() * slope
    return made

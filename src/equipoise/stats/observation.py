"""Who is known to have had the event by a horizon, weighted for censoring and for late entry, overall or within strata."""

from __future__ import annotations

import numpy as np

from equipoise.stats.ipcw import Known
from equipoise.stats.survival import aalen_johansen, censoring_before, kaplan_meier
from equipoise.stats.weighting import ratio, weights_of


def inverse_observation(
    time: np.ndarray,
    event: np.ndarray,
    at: np.ndarray,
    *,
    entry: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    stratum: np.ndarray | None = None,
) -> np.ndarray:
    """1 / P(under observation just before each row's time a): 1/G(a-); with late entries S(a-) W/R(a), R the weight at risk and W that of all rows.

    Both are one: without late entry R(a) = W S(a-) G(a-). With it, R(a)/(W S(a-)) estimates P(entry < a <= censoring) up to a factor that all rows
    share, whatever the distribution of entries, as long as entry and censoring are independent of event and risk. A row's weight is 0 where it had
    not entered before a. Events weighted so sum to the Aalen-Johansen estimate.

    Args:
        time: f64 (n,), > 0.
        event: i64 (n,), 0 censored, 1..C the cause.
        at: f64 (n,), a of each row.
        entry: f64 (n,); <= 0: from the start.
        weight: f64 (..., n).
        stratum: i64 (n,), 0..s-1; each stratum by itself; None: all together.

    Returns:
        f64 (..., n), not bounded.

    Source: Robins and Rotnitzky (1992); Satten and Datta (2001) for the equality with Aalen-Johansen; the form for late entries is ours, after
    Wang (1991).

    >>> inverse_observation(np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1]), np.array([1.0, 2.0, 3.0])).tolist()
    [1.0, 1.0, 2.0]
    """
    t, e, a = np.asarray(time, dtype=np.float64), np.asarray(event), np.asarray(at, dtype=np.float64)
    w = weights_of(weight, t.size)
    since = None if entry is None or not (np.asarray(entry) > 0).any() else np.asarray(entry, dtype=np.float64)
    if stratum is None or not stratum.size or (stratum == stratum[0]).all():
        return _inverse(t, e, a, since, w)
    made = np.empty(w.shape)
    for s in np.unique(stratum):
        own = np.flatnonzero(stratum == s)
        made[..., own] = _inverse(t[own], e[own], a[own], None if since is None else since[own], w[..., own])
    return made


def status_at(
    time: np.ndarray,
    event: np.ndarray,
    horizon: float,
    *,
    largest_weight: float,
    entry: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    stratum: np.ndarray | None = None,
) -> Known:
    """Status of cause 1 at a horizon, weighted as `inverse_observation` says, each weight cut at ``largest_weight``.

    A competing event by the horizon is a status of 0: who died of something else did not have the event.

    Args:
        time, event, entry, weight, stratum: see `inverse_observation`.
        horizon: > 0, in the unit of ``time``.
        largest_weight: >= 1.

    Source: Graf et al. (1999), eq. 6; Blanche et al. (2013) for competing causes.
    """
    t, e = np.asarray(time, dtype=np.float64), np.asarray(event)
    came = (e != 0) & (t <= horizon)
    inverse = inverse_observation(t, e, np.minimum(t, horizon), entry=entry, weight=weight, stratum=stratum)
    np.minimum(inverse, largest_weight, out=inverse)
    inverse *= came | (t >= horizon)
    inverse *= weights_of(weight, t.size)
    return Known((came & (e == 1)).astype(np.float64), inverse)


def incidence(
    time: np.ndarray,
    event: np.ndarray,
    horizon: float,
    *,
    entry: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    stratum: np.ndarray | None = None,
) -> np.ndarray:
    """Aalen-Johansen's incidence of cause 1 by a horizon, f64 (...,): within each stratum, averaged over strata by their weight.

    Args: see `inverse_observation`.
    """
    w = weights_of(weight, np.asarray(time).size)
    codes = np.zeros(w.shape[-1], dtype=np.int64) if stratum is None else stratum
    total = np.zeros(w.shape[:-1])
    for s in np.unique(codes):
        own = np.flatnonzero(codes == s)
        curve = aalen_johansen(time[own], event[own], 1, None if entry is None else entry[own], w[..., own])
        total = total + w[..., own].sum(-1) * curve.at(np.array([horizon]))[..., 0]
    return ratio(total, w.sum(-1))


def _inverse(t: np.ndarray, e: np.ndarray, a: np.ndarray, entry: np.ndarray | None, w: np.ndarray) -> np.ndarray:
    if entry is None:
        kept = censoring_before(t, e, a, w)
        # Nobody is left at a only where the row itself has no weight in a resample.
        return np.divide(1.0, kept, out=kept, where=kept > 0)
    free = kaplan_meier(t, e, entry, w).before(a)
    since = np.where(entry > 0, entry, -np.inf)
    at_risk = weight_before(since, w, a) - weight_before(t, w, a)
    there = (since < a) & (at_risk > 1e-12 * w.sum(-1, keepdims=True))
    return np.divide(w.sum(-1, keepdims=True) * free, at_risk, out=np.zeros_like(free), where=there)


def weight_before(x: np.ndarray, w: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Weight f64 (..., m) of rows with x < a, for each a (m,)."""
    order = np.argsort(x, kind="stable")
    reached = np.concatenate([np.zeros((*w.shape[:-1], 1)), np.cumsum(w[..., order], axis=-1)], axis=-1)
    return reached[..., np.searchsorted(x[order], a, side="left")]

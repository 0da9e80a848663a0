"""Rows weighted for censoring (IPCW): who is known to have had the event by a horizon, and the Brier score there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.survival import censoring_before
from equipoise.stats.weighting import ratio, weights_of

SMALLEST_G = 0.01
"""P(not censored) is read as at least this, so that no row counts more than a hundredfold."""


@dataclass(frozen=True)
class Known:
    """Status at a horizon.

    Args:
        status: f64 (n,), 1 where cause 1 came by the horizon, else 0 (also where it is not known).
        weight: f64 (..., n), the row's weight over P(not censored before it was known); 0 where the status is not known.
    """

    status: np.ndarray
    weight: np.ndarray


def known_at(time: np.ndarray, event: np.ndarray, horizon: float, weight: np.ndarray | None = None) -> Known:
    """Status of cause 1 at a horizon with inverse-probability-of-censoring weights.

    Known are rows with an event of any cause by the horizon, weight w/G(time-), and rows followed to the horizon, weight w/G(horizon-). A competing
    event by the horizon is a status of 0: who died of something else did not have the event.

    Args:
        time: f64 (n,), >= 0, everybody followed from time zero.
        event: i64 (n,), 0 censored, 1 the cause of interest, 2..C competing.
        horizon: > 0, in the unit of ``time``.
        weight: f64 (..., n).

    Source: Graf et al. (1999), eq. 6; Gerds and Schumacher (2006); Blanche et al. (2013) for competing causes.

    >>> known_at(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1, 0, 1, 0]), 2.5).weight.round(3).tolist()
    [1.0, 0.0, 1.5, 1.5]
    """
    t, e = np.asarray(time, dtype=np.float64), np.asarray(event)
    w = weights_of(weight, t.size)
    came = (e != 0) & (t <= horizon)
    known = came | (t >= horizon)
    kept = censoring_before(t, e, np.minimum(t, horizon), w)
    np.maximum(kept, SMALLEST_G, out=kept)
    np.divide(w, kept, out=kept)
    kept *= known
    return Known((came & (e == 1)).astype(np.float64), kept)


def ipcw_brier(risk: np.ndarray, time: np.ndarray, event: np.ndarray, horizon: float, weight: np.ndarray | None = None) -> np.ndarray:
    """Brier score at a horizon, weighted for censoring: sum_i W_i (risk_i - status_i)^2 / sum_i w_i.

    Args:
        risk: f64 (n,), risk of cause 1 by the horizon.
        time: f64 (n,); event: i64 (n,); horizon: > 0; weight: f64 (..., n): see `known_at`.

    Returns:
        f64 (...,).

    Source: Graf et al. (1999), eq. 7.
    """
    w = weights_of(weight, np.asarray(time).size)
    return brier_of_known(risk, known_at(time, event, horizon, w), w)


def brier_of_known(risk: np.ndarray, known: Known, weight: np.ndarray) -> np.ndarray:
    """`ipcw_brier` from a status already known, f64 (...,); ``weight`` f64 (..., n) are the rows' own weights."""
    return ratio(known.weight @ ((np.asarray(risk, dtype=np.float64) - known.status) ** 2), weight.sum(-1))

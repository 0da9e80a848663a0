"""Antolini's concordance: of predicted incidences that may cross, compared at the time of each event."""

from __future__ import annotations

import numpy as np

from equipoise.stats.concordance import harrell_c
from equipoise.stats.weighting import ratio, weights_of


def antolini_c(
    risk: np.ndarray,
    horizons: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    entry: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """P(F_i(T_i) > F_j(T_i) | i had cause 1 at T_i, j was then free of it), over comparable pairs, ties of risk counting 1/2.

    F is given at horizons only; at T it is read as a step, the risk by the first horizon at or after T. Events after the last horizon are no cases:
    the model said nothing about them. With many horizons this is Antolini's C; with one it is Harrell's C of that risk for events by it.
    Which pairs are comparable is said in `concordance.harrell_c`: a competing event before T makes a comparable row.

    Args:
        risk: f64 (n, L), of cause 1 by each horizon.
        horizons: f64 (L,), increasing, > 0, in the unit of ``time``.
        time: f64 (n,), > 0.
        event: i64 (n,), 0 censored, 1 the cause of interest, 2..C competing.
        entry: f64 (n,), left truncation; <= 0: from the start.
        weight: f64 (..., n).

    Returns:
        f64 (...,); NaN where no pair is comparable. Its value depends on the censoring, as Harrell's does.

    Source: Antolini, Boracchi and Biganzoli (2005), section 3; Wolbers et al. (2009) for competing causes; the step between horizons is ours.

    >>> crossing = np.array([[0.3, 0.4], [0.1, 0.9], [0.0, 0.1]])
    >>> float(antolini_c(crossing, np.array([1.0, 2.0]), np.array([1.0, 2.0, 3.0]), np.array([1, 1, 0])))
    1.0
    """
    t, e = np.asarray(time, dtype=np.float64), np.asarray(event)
    since = np.zeros(t.size) if entry is None else np.asarray(entry, dtype=np.float64)
    w = weights_of(weight, t.size)
    won, pairs = np.zeros(w.shape[:-1]), np.zeros(w.shape[:-1])
    first = -np.inf
    for column, last in zip(np.asarray(risk, dtype=np.float64).T, np.asarray(horizons, dtype=np.float64), strict=True):
        # Who was censored, or had the event, before this interval is in none of its pairs; its own later events count as being free of it.
        rows = np.flatnonzero((t > first) | (e > 1))
        role = np.where((e == 1) & ~((t > first) & (t <= last)), 0, e)[rows]
        comparable = _comparable(t[rows], role, since[rows], w[..., rows])
        share = harrell_c(column[rows], t[rows], role, since[rows], w[..., rows])
        won, pairs = won + np.where(comparable > 0, share * comparable, 0.0), pairs + comparable
        first = last
    return ratio(won, pairs)


def _comparable(t: np.ndarray, e: np.ndarray, entry: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Weight of the pairs that `harrell_c` compares, f64 (...,)."""
    cases = np.flatnonzero(e == 1)
    at = t[cases]
    of_case = _reached(t, e == 0, at, w, "right") - _reached(t, e == 0, at, w, "left")  # censored at T: after the event
    of_case += w.sum(-1, keepdims=True) - _reached(t, np.ones(t.size, dtype=bool), at, w, "right")
    of_case -= w[..., entry > 0].sum(-1, keepdims=True) - _reached(entry, entry > 0, at, w, "left")
    of_case += _reached(t, (e > 1) & (entry <= 0), at, w, "right")
    return np.asarray((w[..., cases] * of_case).sum(-1))


def _reached(x: np.ndarray, which: np.ndarray, at: np.ndarray, w: np.ndarray, side: str) -> np.ndarray:
    """Weight f64 (..., m) of the rows ``which`` with x < at (side "left") or x <= at ("right")."""
    rows = np.flatnonzero(which)
    rows = rows[np.argsort(x[rows], kind="stable")]
    summed = np.concatenate([np.zeros((*w.shape[:-1], 1)), np.cumsum(w[..., rows], axis=-1)], axis=-1)
    return np.asarray(summed[..., np.searchsorted(x[rows], at, side="right" if side == "right" else "left")])

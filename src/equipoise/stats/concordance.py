"""Concordance of a risk with times to event: Harrell's C, and Uno's C cut at a horizon."""

from __future__ import annotations

import numpy as np

from equipoise.stats.pairs import weigh_pairs
from equipoise.stats.survival import censoring_before
from equipoise.stats.weighting import ratio, weights_of


def harrell_c(risk: np.ndarray, time: np.ndarray, event: np.ndarray, entry: np.ndarray | None = None, weight: np.ndarray | None = None) -> np.ndarray:
    """P(higher risk | earlier event of cause 1) over comparable pairs, ties of risk counting 1/2.

    A pair is comparable when one had the event of cause 1 at T and the other was then under observation and free of it, still uncensored, or (with
    competing causes) had a competing event before: who died of something else never has the event. Its value depends on the censoring.

    Args:
        risk: f64 (n,), higher = earlier.
        time: f64 (n,), > 0.
        event: i64 (n,), 0 censored, 1 the cause of interest, 2..C competing.
        entry: f64 (n,), left truncation; <= 0: from the start. A pair counts only if the other had entered before T.
        weight: f64 (..., n).

    Returns:
        f64 (...,); NaN where no pair is comparable.

    Source: Harrell et al. (1982); Wolbers et al. (2009) for competing causes; Therneau and Atkinson (2020) for entry and ties.

    >>> float(harrell_c(np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]), np.array([1, 1, 0])))  # doctest: +ELLIPSIS
    0.666...
    """
    r, t, e = np.asarray(risk, dtype=np.float64), np.asarray(time, dtype=np.float64), np.asarray(event)
    w = weights_of(weight, t.size)
    cases = np.flatnonzero(e == 1)
    if not cases.size:
        return np.full(w.shape[:-1], np.nan)
    case_weight = w.take(cases, axis=-1)
    won, pairs = _later(r, t, e, cases, w, case_weight)
    if entry is not None and (np.asarray(entry) > 0).any():
        # Not yet entered at T means entry >= T, and hence time > T: counted above, taken off here.
        since = np.asarray(entry, dtype=np.float64)
        gone, not_there = weigh_pairs(r, since, np.ones(t.size, dtype=bool), w, r[cases], t[cases], case_weight)
        won, pairs = won - gone, pairs - not_there
    if (e > 1).any():
        more, before = _competing_before(r, t, e, cases, w, entry, case_weight)
        won, pairs = won + more, pairs + before
    return ratio(won, pairs)


def uno_c(risk: np.ndarray, time: np.ndarray, event: np.ndarray, horizon: float, weight: np.ndarray | None = None) -> np.ndarray:
    """Concordance for events of cause 1 before a horizon, pairs weighted by 1/G(T-)^2, so that its limit does not depend on the censoring.

    With competing causes a pair of a case at T and a row with a competing event at U <= T has weight 1/(G(T-) G(U-)).

    Args:
        risk: f64 (n,), higher = earlier.
        time: f64 (n,), > 0, everybody followed from time zero.
        event: i64 (n,), 0 censored, 1 the cause of interest, 2..C competing.
        horizon: > 0; events at or after it are not cases.
        weight: f64 (..., n).

    Returns:
        f64 (...,); NaN where no pair is comparable.

    Source: Uno et al. (2011), eq. 6; Wolbers et al. (2014), eq. 3.
    """
    r, t, e = np.asarray(risk, dtype=np.float64), np.asarray(time, dtype=np.float64), np.asarray(event)
    w = weights_of(weight, t.size)
    cases = np.flatnonzero((e == 1) & (t < horizon))
    if not cases.size:
        return np.full(w.shape[:-1], np.nan)
    competing = np.flatnonzero((e > 1) & (t < horizon))
    kept = censoring_before(t, e, t[np.append(cases, competing)], w)
    # A row without weight in a resample may stand where nobody is left; it must not make 0/0.
    inverse = np.divide(1.0, kept, out=np.zeros_like(kept), where=kept > 0)
    of_case, of_competing = inverse[..., : cases.size], inverse[..., cases.size :]
    once = w.take(cases, axis=-1) * of_case
    won, pairs = _later(r, t, e, cases, w, once * of_case)
    if competing.size:
        held = np.zeros_like(w)
        held[..., competing] = w[..., competing] * of_competing
        more, before = _competing_before(r, t, e, cases, held, None, once)
        won, pairs = won + more, pairs + before
    return ratio(won, pairs)


Pairs = tuple[np.ndarray, np.ndarray]


def _later(risk: np.ndarray, t: np.ndarray, e: np.ndarray, cases: np.ndarray, w: np.ndarray, case_weight: np.ndarray) -> Pairs:
    """Pairs of a case with rows of a later time, or censored at the same time: a censoring at T comes after an event at T."""
    return weigh_pairs(risk, t, e == 0, w, risk[cases], t[cases], case_weight)


def _competing_before(
    risk: np.ndarray, t: np.ndarray, e: np.ndarray, cases: np.ndarray, w: np.ndarray, entry: np.ndarray | None, case_weight: np.ndarray
) -> Pairs:
    """Pairs of a case with rows that had a competing event at or before its time."""
    rows = np.flatnonzero(e > 1)
    if entry is not None:
        # Who entered late and died of something else was seen only because of that entry; such pairs are not comparable.
        rows = rows[np.asarray(entry)[rows] <= 0]
    # Time runs backwards: "at or before" becomes "at or after".
    return weigh_pairs(risk[rows], -t[rows], np.ones(rows.size, dtype=bool), w.take(rows, axis=-1), risk[cases], -t[cases], case_weight)

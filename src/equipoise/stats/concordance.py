"""Concordance of a risk with times to event: Harrell's C, and Uno's C cut at a horizon."""

from __future__ import annotations

import numpy as np

from equipoise.stats.survival import censoring_survival
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
    t, e = np.asarray(time, dtype=np.float64), np.asarray(event)
    w = weights_of(weight, t.size)
    cases = np.flatnonzero(e == 1)
    if not cases.size:
        return np.full(w.shape[:-1], np.nan)
    above, comparable = _later(risk, t, e, cases, w)
    if entry is not None and (np.asarray(entry) > 0).any():
        # Not yet entered at T means entry >= T, and hence time > T: counted above, taken off here.
        gone, not_there = _ranked(np.asarray(risk, dtype=np.float64), np.asarray(entry, dtype=np.float64), t[cases], cases, w, np.ones(t.size), 0.5)
        above, comparable = above - gone, comparable - not_there
    if (e > 1).any():
        more, pairs = _competing_before(risk, t, e, cases, w, entry)
        above, comparable = above + more, comparable + pairs
    return ratio((w[..., cases] * above).sum(-1), (w[..., cases] * comparable).sum(-1))


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
    t, e = np.asarray(time, dtype=np.float64), np.asarray(event)
    w = weights_of(weight, t.size)
    cases = np.flatnonzero((e == 1) & (t < horizon))
    if not cases.size:
        return np.full(w.shape[:-1], np.nan)
    kept = censoring_survival(t, e, weight=w).before(t)
    # A row without weight in a resample may stand where nobody is left; it must not make 0/0.
    inverse = np.divide(1.0, kept, out=np.zeros_like(kept), where=kept > 0)
    above, comparable = _later(risk, t, e, cases, w)
    above, comparable = above * inverse[..., cases], comparable * inverse[..., cases]
    if (e > 1).any():
        more, pairs = _competing_before(risk, t, e, cases, w * inverse, None)
        above, comparable = above + more, comparable + pairs
    case_weight = w[..., cases] * inverse[..., cases]
    return ratio((case_weight * above).sum(-1), (case_weight * comparable).sum(-1))


def _later(risk: np.ndarray, t: np.ndarray, e: np.ndarray, cases: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per case: weight of rows with a later time, or censored at the same time, and lower risk (ties half); and of all such rows."""
    # A censoring at T comes after an event at T, so it stays comparable: rank 1 at its time, events rank 0.
    return _ranked(np.asarray(risk, dtype=np.float64), t, t[cases], cases, w, (e == 0).astype(np.float64), 0.5)


def _competing_before(
    risk: np.ndarray, t: np.ndarray, e: np.ndarray, cases: np.ndarray, w: np.ndarray, entry: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Per case: weight of rows with a competing event at or before its time and lower risk (ties half); and of all such rows."""
    rows = np.flatnonzero(e > 1)
    if entry is not None:
        # Who entered late and died of something else was seen only because of that entry; such pairs are not comparable.
        rows = rows[np.asarray(entry)[rows] <= 0]
    points = np.concatenate([cases, rows])
    held = np.concatenate([np.zeros((*w.shape[:-1], cases.size)), w[..., rows]], axis=-1)
    r = np.asarray(risk, dtype=np.float64)[points]
    # Time runs backwards: "at or before" becomes "at or after".
    return _ranked(r, -t[points], -t[cases], np.arange(cases.size), held, np.ones(points.size), 0.5)


def _ranked(
    risk: np.ndarray, time: np.ndarray, case_time: np.ndarray, cases: np.ndarray, w: np.ndarray, tie: np.ndarray, case_tie: float
) -> tuple[np.ndarray, np.ndarray]:
    """For each case: the weight of rows after it (time, then tie) with a lower risk, ties of risk half; and of all rows after it.

    Rows and cases are sorted by (time, tie) and pairs counted by halving: at each of log2 steps the rows of a right half are ranked among the risks
    of its left half by one sort and one cumulative sum, for all weightings at once. O(n log^2 n).
    """
    n, m = time.size, cases.size
    key_time, key_tie = np.concatenate([time, case_time]), np.concatenate([tie, np.full(m, case_tie)])
    # At equal time and tie a case stands behind the rows, which are then not after it.
    order = np.lexsort((np.repeat([0, 1], [n, m]), key_tie, key_time))
    rank = np.unique(np.concatenate([risk, risk[cases]]), return_inverse=True)[1][order]
    is_case = (order >= n).nonzero()[0]
    source = np.where(order < n, order, 0)
    held = np.where(order < n, w[..., source], 0.0)
    after = held.sum(-1, keepdims=True) - np.cumsum(held, axis=-1)
    below = np.zeros((*w.shape[:-1], n + m))
    position, size, levels = np.arange(n + m), 1, int(rank.max()) + 1
    is_row = order < n
    while size < n + m:
        key, right = position // (2 * size) * levels + rank, (position // size) % 2 == 1
        rows = position[right & is_row]
        rows = rows[np.argsort(key[rows], kind="stable")]
        reached = np.zeros((*w.shape[:-1], rows.size + 1))
        np.cumsum(held[..., rows], axis=-1, out=reached[..., 1:])
        left = is_case[~right[is_case]]
        first, lower = np.searchsorted(key[rows], key[left] - rank[left]), np.searchsorted(key[rows], key[left])
        upper = np.searchsorted(key[rows], key[left], side="right")
        below[..., left] += (reached[..., lower] + reached[..., upper]) / 2 - reached[..., first]
        size *= 2
    place = np.empty(m, dtype=np.int64)
    place[order[is_case] - n] = is_case
    return below[..., place], after[..., place]

"""Counting pairs of cases and later rows, for many weightings at once: what every concordance needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.once import once

_BLOCK = 192  # rows compared pair by pair in one matrix product: more make the products longer, fewer make more sums between them
_TOGETHER = 128  # weightings at a time, so that the running sums stay in a processor's cache
_EXACT = 2.0**24  # up to here float32 counts whole numbers exactly, and its products take half the time


def weigh_pairs(
    risk: np.ndarray, time: np.ndarray, also_at: np.ndarray, weight: np.ndarray, case_risk: np.ndarray, case_time: np.ndarray, case_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the pairs (case i, row j) in which j comes after i; and of those among them in which j has the lower risk, ties counting 1/2.

    sum_i v_i sum_j w_j [j after i] (r_j < r_i) + (r_j = r_i) / 2, and the same sum without the bracket of risks.

    Rows are cut into blocks by time and into blocks by risk. Rows of another block of time and of risk count as a whole block, by running sums;
    those of the case's own block of time, and of its own block of risk, are compared one by one, as a product of a matrix of 0 and 1 with the
    weights. About n (2 b m/n + n/b^2) operations a weighting, with blocks of b rows and m cases.

    Args:
        risk: f64 (n,); time: f64 (n,).
        also_at: bool (n,), whether a row comes after a case at the very same time.
        weight: f64 (..., n), >= 0, of the rows.
        case_risk: f64 (m,); case_time: f64 (m,).
        case_weight: f64 (..., m), v, of the cases.

    Returns:
        Of the pairs with a lower risk, and of all: f64 (...,) each.

    Source: ours; dominance counting by square-root decomposition.

    >>> r, t = np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    >>> won, pairs = weigh_pairs(r, t, t < 0, np.ones(3), r[:2], t[:2], np.ones(2))
    >>> float(won), float(pairs)
    (2.0, 3.0)
    """
    shape, m = weight.shape[:-1], case_risk.size
    won, pairs = np.zeros((2, int(np.prod(shape))))
    if m and time.size:
        plan = _planned(risk, time, also_at, case_risk, case_time)
        rows, cases = weight.reshape(-1, time.size), case_weight.reshape(-1, m)
        for first in range(0, rows.shape[0], _TOGETHER):
            some = slice(first, first + _TOGETHER)
            won[some], pairs[some] = plan.weigh(rows[some], cases[some])
    return won.reshape(shape), pairs.reshape(shape)


@dataclass(frozen=True)
class _Plan:
    """Places of rows and queries; a query (a, q) asks for rows at place >= a in time and < q in risk. Ties of risk are two queries of half weight.

    Args:
        in_time: i64 (n,), rows in order of time; in_risk: i64 (n,), and of risk, as places in time.
        place: i64 (n,), the rows' places in risk, in order of time.
        case: i64 (k,), of each query, in order of time; share: f64 (k, 1), 1 or 1/2.
        after: i64 (k,), a; below: i64 (k,), q.
    """

    in_time: np.ndarray
    in_risk: np.ndarray
    place: np.ndarray
    case: np.ndarray
    share: np.ndarray
    after: np.ndarray
    below: np.ndarray

    def weigh(self, rows: np.ndarray, cases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both sums, f64 (b,) each, for weights of the rows f64 (b, n) and of the cases f64 (b, m)."""
        exact = all(w.sum() < _EXACT and (w == np.rint(w)).all() for w in rows)
        w = np.ascontiguousarray(rows.T, dtype=np.float32 if exact else np.float64).take(self.in_time, axis=0)
        v = np.ascontiguousarray(cases.T).take(self.case, axis=0) * self.share
        within, pairs = self._by_time(w, v)
        return within + self._within_blocks_of_risk(w.take(self.in_risk, axis=0), v), pairs

    def _by_time(self, w: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs won within the case's block of time, and against later blocks of time and lower blocks of risk; and all pairs."""
        n, b = w.shape
        blocks = -(-n // _BLOCK)
        mine, bound = _by_block(self.after, blocks)
        lower = self.below // _BLOCK
        later, step = np.zeros((blocks + 1, b), dtype=w.dtype), np.empty((blocks + 1, b), dtype=w.dtype)  # weight of later blocks below each block of risk
        reached = np.zeros((_BLOCK + 1, b), dtype=w.dtype)
        won, pairs = np.zeros((2, b))
        for t in range(blocks - 1, -1, -1):
            at, k = slice(t * _BLOCK, min(n, (t + 1) * _BLOCK)), slice(bound[t], bound[t + 1])
            held, order = w[at], np.argsort(self.place[at])
            place = self.place[at][order]
            rank = np.empty(place.size, dtype=np.int16)
            rank[order] = np.arange(place.size)
            if bound[t] < bound[t + 1]:
                after = np.arange(place.size, dtype=np.int16) >= mine[k, None]
                below = rank < np.searchsorted(place, self.below[k]).astype(np.int16)[:, None]
                won += _sum(v[k], (after & below).astype(w.dtype) @ held + later.take(lower[k], axis=0))
                pairs += _sum(v[k], after.astype(w.dtype) @ held + later[-1])
            np.cumsum(held.take(order, axis=0), axis=0, out=reached[1 : place.size + 1])
            np.take(reached, np.searchsorted(place, np.arange(blocks + 1) * _BLOCK), axis=0, out=step, mode="clip")
            later += step
        return won, pairs

    def _within_blocks_of_risk(self, w: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Pairs won against rows of the case's block of risk in later blocks of time; ``w`` in order of risk."""
        n, b = w.shape
        blocks, order = -(-n // _BLOCK), np.argsort(self.below, kind="stable")
        mine, bound = _by_block(self.below[order], blocks)
        block_of_row, block_of_case = ((x // _BLOCK).astype(np.int32) for x in (self.in_risk, self.after[order]))
        v, won = v.take(order, axis=0), np.zeros(b)
        for r in range(blocks):
            at, k = slice(r * _BLOCK, min(n, (r + 1) * _BLOCK)), slice(bound[r], bound[r + 1])
            if bound[r] < bound[r + 1]:
                below = np.arange(at.stop - at.start, dtype=np.int16) < mine[k, None]
                won += _sum(v[k], (below & (block_of_row[at] > block_of_case[k, None])).astype(w.dtype) @ w[at])
        return won


@once
def _planned(risk: np.ndarray, time: np.ndarray, also_at: np.ndarray, case_risk: np.ndarray, case_time: np.ndarray) -> _Plan:
    in_time = np.lexsort((also_at, time))
    in_risk = np.argsort(risk[in_time], kind="stable")
    place = np.empty(time.size, dtype=np.int64)
    place[in_risk] = np.arange(time.size)
    ordered = risk[in_time][in_risk]
    lower, upper = (np.searchsorted(ordered, case_risk, side=side) for side in ("left", "right"))
    at_once = np.sort(time[~also_at])
    after = np.searchsorted(time[in_time], case_time, side="left")
    after += np.searchsorted(at_once, case_time, side="right") - np.searchsorted(at_once, case_time, side="left")
    # A case whose equals in risk all come before it needs no second query; most often its only equal is itself.
    group = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    latest = np.maximum.reduceat(in_risk, group)[np.searchsorted(group, lower, side="right") - 1]
    tied = np.flatnonzero((upper > lower) & (latest >= after))
    case = np.concatenate([np.arange(case_risk.size), tied])
    share = np.ones(case.size)
    share[tied] = share[case_risk.size :] = 0.5
    below = np.concatenate([lower, upper[tied]])
    order = np.argsort(after[case], kind="stable")
    return _Plan(in_time, in_risk, place, case[order], share[order, None], after[case][order], below[order])


def _by_block(place: np.ndarray, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Places within their block i16 (k,), and where each block begins among these increasing places i64 (blocks + 1,)."""
    return (place % _BLOCK).astype(np.int16), np.searchsorted(place, np.arange(blocks + 1) * _BLOCK)


def _sum(v: np.ndarray, counted: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("kb,kb->b", v, counted))

"""Kaplan-Meier, its censoring twin, and Aalen-Johansen, with left truncation and weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.once import once
from equipoise.stats.weighting import in_cache, weights_of


@dataclass(frozen=True)
class Step:
    """A right-continuous step function.

    Args:
        time: f64 (k,), increasing, where it may jump.
        value: f64 (..., k), from each time on.
        start: the value before the first time.
    """

    time: np.ndarray
    value: np.ndarray
    start: float

    def at(self, time: np.ndarray) -> np.ndarray:
        """Values f64 (..., m) at times (m,)."""
        return self._read(np.searchsorted(self.time, np.asarray(time, dtype=np.float64), side="right"))

    def before(self, time: np.ndarray) -> np.ndarray:
        """Left limits f64 (..., m) at times (m,)."""
        return self._read(np.searchsorted(self.time, np.asarray(time, dtype=np.float64), side="left"))

    def _read(self, place: np.ndarray) -> np.ndarray:
        padded = np.concatenate([np.full((*self.value.shape[:-1], 1), self.start), self.value], axis=-1)
        return padded[..., place]


def kaplan_meier(time: np.ndarray, event: np.ndarray, entry: np.ndarray | None = None, weight: np.ndarray | None = None) -> Step:
    """S(t) = product over event times u <= t of 1 - d(u)/r(u), r(u) the weight with entry < u <= time.

    Args:
        time: f64 (n,), > 0.
        event: (n,), whether it ended in an event (any cause).
        entry: f64 (n,), when each came under observation (left truncation); <= 0: from the start.
        weight: f64 (..., n).

    Source: Kaplan and Meier (1958); Tsai, Jewell and Wang (1987) for left truncation.

    >>> kaplan_meier(np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1])).value.round(4).tolist()
    [0.6667, 0.0]
    """
    t, happened = np.asarray(time, dtype=np.float64), np.asarray(event) != 0
    counter = _counter(t, ~happened, np.unique(t[happened]), (0, 1), entry)

    def survival(w: np.ndarray) -> np.ndarray:
        (before, after), entered = counter.read(w)
        return np.cumprod(1 - _share(after - before, entered - before), axis=-1)

    return Step(counter.time, in_cache(survival, weights_of(weight, t.size)), 1.0)


def censoring_survival(time: np.ndarray, event: np.ndarray, entry: np.ndarray | None = None, weight: np.ndarray | None = None) -> Step:
    """G(t) = P(not censored by t): Kaplan-Meier with the roles exchanged; an event comes before a censoring at the same time.

    Args as in `kaplan_meier`, ``event`` 0 = censored.

    Source: Graf et al. (1999), section 3.
    """
    t, censored = np.asarray(time, dtype=np.float64), np.asarray(event) == 0
    counter = _counter(t, censored, np.unique(t[censored]), (1, 2), entry)
    return Step(counter.time, in_cache(lambda w: _uncensored(counter, w)[..., 1:], weights_of(weight, t.size)), 1.0)


def censoring_before(time: np.ndarray, event: np.ndarray, at: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """G(at-), P(not censored before each of the times ``at`` f64 (m,)): f64 (..., m); as `censoring_survival(...).before(at)`, in less memory."""
    t, censored = np.asarray(time, dtype=np.float64), np.asarray(event) == 0
    counter = _counter(t, censored, np.unique(t[censored & (t < at.max(initial=-np.inf))]), (1, 2), None)
    place = np.searchsorted(counter.time, at, side="left")
    return in_cache(lambda w: _uncensored(counter, w).take(place, axis=-1), weights_of(weight, t.size))


def _uncensored(counter: _Counter, w: np.ndarray) -> np.ndarray:
    """1, and G from each time on, f64 (..., 1 + k)."""
    (events, after), entered = counter.read(w)
    made = np.ones((*w.shape[:-1], counter.time.size + 1))
    np.cumprod(1 - _share(after - events, entered - events), axis=-1, out=made[..., 1:])
    return made


def aalen_johansen(time: np.ndarray, event: np.ndarray, cause: int, entry: np.ndarray | None = None, weight: np.ndarray | None = None) -> Step:
    """Cumulative incidence F_c(t) = sum over event times u <= t of S(u-) d_c(u)/r(u), other causes competing.

    Args:
        time: f64 (n,), > 0.
        event: i64 (n,), 0 censored, 1..C the cause.
        cause: whose incidence.
        entry: f64 (n,); see `kaplan_meier`.
        weight: f64 (..., n).

    Source: Aalen and Johansen (1978).

    >>> aalen_johansen(np.array([1.0, 2.0, 3.0]), np.array([1, 2, 1]), 1).value.round(4).tolist()
    [0.3333, 0.3333, 0.6667]
    """
    t, e = np.asarray(time, dtype=np.float64), np.asarray(event)
    counter = _counter(t, np.where(e == cause, 0, np.where(e != 0, 1, 2)), np.unique(t[e != 0]), (0, 1, 2), entry)

    def incidence(w: np.ndarray) -> np.ndarray:
        (before, after_cause, after), entered = counter.read(w)
        survival = np.cumprod(1 - _share(after - before, entered - before), axis=-1)
        earlier = np.concatenate([np.ones((*survival.shape[:-1], 1)), survival[..., :-1]], axis=-1)
        return np.cumsum(earlier * _share(after_cause - before, entered - before), axis=-1)

    return Step(counter.time, in_cache(incidence, weights_of(weight, t.size)), 0.0)


@dataclass(frozen=True)
class _Counter:
    """Reads off, at given times, how much weight came before: rows are sorted once for all weightings.

    Args:
        time: f64 (k,), u, increasing.
        rows: i64 (n,), rows by time, and by kind at equal times.
        places: for each kind asked for i64 (k,): how many rows in that order came before u, or at u and are of a lower kind.
        entries: rows by entry i64 (n,), and how many of them entered before u i64 (k,); None: all were there from the start.
    """

    time: np.ndarray
    rows: np.ndarray
    places: tuple[np.ndarray, ...]
    entries: tuple[np.ndarray, np.ndarray] | None

    def read(self, w: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The weight at each of the places, and the weight that had entered before u: f64 (..., k) or (..., 1)."""
        reached = _cumulated(w, self.rows)
        sums = [reached.take(place, axis=-1) for place in self.places]
        if self.entries is None:
            return sums, reached[..., -1:]
        return sums, _cumulated(w, self.entries[0]).take(self.entries[1], axis=-1)


@once
def _counter(time: np.ndarray, kind: np.ndarray, u: np.ndarray, kinds: tuple[int, ...], entry: np.ndarray | None) -> _Counter:
    rows = np.lexsort((kind, time))
    times, earlier = time[rows], np.searchsorted(time[rows], u, side="left")
    lower = [times[kind[rows] < k] for k in kinds]
    places = tuple(earlier + np.searchsorted(of, u, side="right") - np.searchsorted(of, u, side="left") for of in lower)
    if entry is None or not (np.asarray(entry) > 0).any():
        return _Counter(u, rows, places, None)
    since = np.where(np.asarray(entry) > 0, entry, -np.inf)
    order = np.argsort(since, kind="stable")
    return _Counter(u, rows, places, (order, np.searchsorted(since[order], u, side="left")))


def _cumulated(w: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """0 and the running sums of the weights in this order, f64 (..., 1 + n)."""
    made = np.zeros((*w.shape[:-1], rows.size + 1))
    np.cumsum(w.take(rows, axis=-1), axis=-1, out=made[..., 1:])
    return made


def _share(d: np.ndarray, r: np.ndarray) -> np.ndarray:
    """d / r, 0 where nobody is at risk (rounding of sums of fractional weights must not make a share above 1)."""
    return np.minimum(np.divide(d, r, out=np.zeros_like(d), where=(r > 0) & (d > 0)), 1.0)

"""Kaplan-Meier, its censoring twin, and Aalen-Johansen, with left truncation and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from equipoise.stats.weighting import weights_of


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
    happened = np.asarray(event) != 0
    u, d, r = _counts(np.asarray(time, dtype=np.float64), happened, entry, weight)
    return Step(u, np.cumprod(1 - _share(d, r), axis=-1), 1.0)


def censoring_survival(time: np.ndarray, event: np.ndarray, entry: np.ndarray | None = None, weight: np.ndarray | None = None) -> Step:
    """G(t) = P(not censored by t): Kaplan-Meier with the roles exchanged; an event comes before a censoring at the same time.

    Args as in `kaplan_meier`, ``event`` 0 = censored.

    Source: Graf et al. (1999), section 3.
    """
    t, happened = np.asarray(time, dtype=np.float64), np.asarray(event) != 0
    u, c, r = _counts(t, ~happened, entry, weight)
    return Step(u, np.cumprod(1 - _share(c, r - _exactly_at(t, happened, u, weight)), axis=-1), 1.0)


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
    u, d, r = _counts(t, e != 0, entry, weight)
    survival = np.cumprod(1 - _share(d, r), axis=-1)
    earlier = np.concatenate([np.ones((*survival.shape[:-1], 1)), survival[..., :-1]], axis=-1)
    return Step(u, np.cumsum(earlier * _share(_exactly_at(t, e == cause, u, weight), r), axis=-1), 0.0)


def _counts(time: np.ndarray, happened: np.ndarray, entry: np.ndarray | None, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times u (k,) at which it happened, the weight d (..., k) to which it did, and the weight r (..., k) at risk."""
    w = weights_of(weight, time.size)
    u = np.unique(time[happened])
    d = _exactly_at(time, happened, u, weight)
    r = w.sum(-1, keepdims=True) - _until(time, w, u, "left")
    if entry is not None:
        late = np.asarray(entry, dtype=np.float64)
        late = np.where(late > 0, late, -np.inf)
        r = r - (w.sum(-1, keepdims=True) - _until(late, w, u, "left"))
    return u, d, r


def _exactly_at(time: np.ndarray, happened: np.ndarray, u: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Weight (..., k) of the rows to which it happened at u."""
    t, w = time[happened], weights_of(weight, time.size)[..., happened]
    return _until(t, w, u, "right") - _until(t, w, u, "left")


def _until(time: np.ndarray, w: np.ndarray, u: np.ndarray, side: Literal["left", "right"]) -> np.ndarray:
    """Weight (..., k) of rows with time < u (side "left") or <= u ("right")."""
    order = np.argsort(time, kind="stable")
    reached = np.concatenate([np.zeros((*w.shape[:-1], 1)), np.cumsum(w[..., order], axis=-1)], axis=-1)
    return reached[..., np.searchsorted(time[order], u, side=side)]


def _share(d: np.ndarray, r: np.ndarray) -> np.ndarray:
    """d / r, 0 where nobody is at risk (rounding of sums of fractional weights must not make a share above 1)."""
    return np.minimum(np.divide(d, r, out=np.zeros_like(d), where=(r > 0) & (d > 0)), 1.0)

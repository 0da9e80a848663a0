"""Ridge-penalised Cox regression on a standardised design, with Efron's ties, late entry and weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_STEPS, _TOLERANCE = 50, 1e-9


@dataclass(frozen=True)
class Course:
    """Follow-up of some rows for one cause.

    Args:
        time: f64 (n,), days to event or censoring.
        happened: bool (n,), whether it ended in the event of this cause.
        entry: f64 (n,), days when each came under observation; <= 0: from the start.
        weight: f64 (n,), > 0.
    """

    time: np.ndarray
    happened: np.ndarray
    entry: np.ndarray
    weight: np.ndarray

    def part(self, keep: np.ndarray) -> Course:
        """Of these places, or of those where a mask is true."""
        return Course(self.time[keep], self.happened[keep], self.entry[keep], self.weight[keep])


@dataclass(frozen=True)
class RiskSets:
    """For every event, by time: who was at risk, less Efron's share of those who have the event at the same time.

    Args:
        events: i64 (e,), the rows that have the event, by time.
        tie: i64 (e,), the event's time among the distinct ones.
        times: f64 (k,), distinct event times.
        share: f64 (e,), of the tied events that has already left the risk set: r / d for the r-th of d.
        weight: f64 (e,), mean weight of the tied events.
    """

    course: Course
    events: np.ndarray
    tie: np.ndarray
    times: np.ndarray
    share: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, course: Course) -> RiskSets:
        events = np.flatnonzero(course.happened)
        events = events[np.argsort(course.time[events], kind="stable")]
        times, tie, tied = np.unique(course.time[events], return_inverse=True, return_counts=True)
        rank = np.arange(events.size) - np.concatenate([[0], np.cumsum(tied)[:-1]]).astype(np.int64)[tie]
        weight = (np.bincount(tie, course.weight[events], minlength=times.size) / tied)[tie]
        return cls(course, events, tie, times, rank / tied[tie], weight)

    def sums(self, x: np.ndarray) -> np.ndarray:
        """Sum of x over each event's risk set, (e, ...), of x (n, ...)."""
        late = self.course.entry > 0
        at_risk = _sum_from(self.course.time, x, self.times)
        if late.any():
            at_risk = at_risk - _sum_from(self.course.entry[late], x[late], self.times)
        tied = np.zeros((self.times.size, *x.shape[1:]))
        np.add.at(tied, self.tie, x[self.events])
        return at_risk[self.tie] - _column(self.share, x) * tied[self.tie]

    def spread(self, each: np.ndarray) -> np.ndarray:
        """The transpose of `sums`: for every row the sum of each (e,) over the risk sets that it is in, f64 (n,)."""
        by_time = np.bincount(self.tie, each, minlength=self.times.size)
        reached = np.concatenate([[0.0], np.cumsum(by_time)])
        found = reached[np.searchsorted(self.times, self.course.time, side="right")]
        late = self.course.entry > 0
        found[late] -= reached[np.searchsorted(self.times, self.course.entry[late], side="right")]
        found[self.events] -= np.bincount(self.tie, each * self.share, minlength=self.times.size)[self.tie]
        return found


def negative_log_likelihood(lp: np.ndarray, sets: RiskSets) -> float:
    """Minus the log partial likelihood of log hazards lp (n,), nats; 0 without events.

    Source: Efron (1977).
    """
    if not sets.events.size:
        return 0.0
    top = lp.max()
    mass = sets.sums(sets.course.weight * np.exp(lp - top))
    return float(sets.weight @ (np.log(mass) + top) - sets.course.weight[sets.events] @ lp[sets.events])


class RidgeCox:
    """Minimises ``(minus log partial likelihood) / (sum of weights) + penalty / 2 |b|^2`` by Newton's method, steps halved while they do not descend.

    With more columns than rows b lies in the rows' span, so the same problem is solved there.

    Source: Cox (1972); Verweij and van Houwelingen (1994) for the penalty.
    """

    def __init__(self, z: np.ndarray, course: Course) -> None:
        self._sets, self._total = RiskSets.of(course), float(course.weight.sum())
        self._mean = np.average(z, axis=0, weights=course.weight)
        x = z - self._mean
        self._basis = None
        if x.shape[1] > x.shape[0]:
            left, size, self._basis = np.linalg.svd(x, full_matrices=False)
            x = left * size
        self._x, self._c = x, np.zeros(x.shape[1])

    def fit(self, penalty: float) -> RidgeCox:
        """Started from the last penalty's solution."""
        value = self._value(self._c, penalty)
        for _ in range(_STEPS):
            gradient, hessian = self._derivatives(penalty)
            step = np.linalg.solve(hessian, gradient)
            size = 1.0
            while (found := self._value(self._c - size * step, penalty)) > value and size > 1e-8:
                size /= 2
            if not found <= value:
                break
            self._c, gained, value = self._c - size * step, value - found, found
            if gained < _TOLERANCE:
                break
        mass = self._sets.sums(self._sets.course.weight * np.exp(self._x @ self._c))
        increments = np.bincount(self._sets.tie, self._sets.weight / mass, minlength=self._sets.times.size)
        self.baseline = self._sets.times, increments
        return self

    @property
    def coefficients(self) -> np.ndarray:
        """b, f64 (F,)."""
        return self._c if self._basis is None else self._c @ self._basis

    def log_hazard(self, z: np.ndarray) -> np.ndarray:
        """Relative to a row at the train mean, f64 (m,)."""
        return (z - self._mean) @ self.coefficients

    def _value(self, c: np.ndarray, penalty: float) -> float:
        return negative_log_likelihood(self._x @ c, self._sets) / self._total + penalty / 2 * float(c @ c)

    def _derivatives(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        sets, x = self._sets, self._x
        relative = sets.course.weight * np.exp(x @ self._c)
        mass = sets.sums(relative)
        centre = sets.sums(relative[:, None] * x) / mass[:, None]
        each = relative * sets.spread(sets.weight / mass)
        gradient = sets.weight @ centre - sets.course.weight[sets.events] @ x[sets.events]
        hessian = x.T @ (each[:, None] * x) - centre.T @ (sets.weight[:, None] * centre)
        return gradient / self._total + penalty * self._c, hessian / self._total + penalty * np.eye(x.shape[1])


def _sum_from(time: np.ndarray, x: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Sum of x over the rows whose time is at least each of these, (k, ...)."""
    order = np.argsort(-time, kind="stable")
    reached = np.concatenate([np.zeros((1, *x.shape[1:])), np.cumsum(x[order], axis=0)])
    return reached[time.size - np.searchsorted(np.sort(time), times, side="left")]


def _column(share: np.ndarray, x: np.ndarray) -> np.ndarray:
    return share.reshape(-1, *[1] * (x.ndim - 1))

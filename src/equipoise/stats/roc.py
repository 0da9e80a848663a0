"""Discrimination of a binary outcome: area under the ROC curve, the curve, average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.once import once
from equipoise.stats.weighting import in_cache, ratio, weights_of


@dataclass(frozen=True)
class RocCurve:
    """False and true positive rates, each f64 (k,), from (0, 0) to (1, 1), and the threshold at which each point is reached (first: infinity)."""

    fpr: np.ndarray
    tpr: np.ndarray
    threshold: np.ndarray


def auroc(risk: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """P(risk of an event > risk of a non-event) + P(equal) / 2, by midranks in O(n log n).

    Args:
        risk: f64 (n,), any scale.
        outcome: (n,), 0 or 1; or in [0, 1], the part of a row's weight that counts as event.
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (...,), in [0, 1]; NaN where one class has no weight.

    Source: Hanley and McNeil (1982); Mann and Whitney (1947).

    >>> float(auroc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1])))
    0.875
    """
    r, y = np.asarray(risk, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    case, control, lower, upper = _ranked(r, y)
    tied = np.flatnonzero(lower < upper)

    def area(w: np.ndarray) -> np.ndarray:
        positive = w.take(case, axis=-1) * y[case]
        below = np.zeros((w.shape[0], control.size + 1))
        np.cumsum(w.take(control, axis=-1) * (1 - y[control]), axis=-1, out=below[:, 1:])
        won = below.take(lower, axis=-1)
        won[:, tied] += (below.take(upper[tied], axis=-1) - won[:, tied]) / 2
        return ratio(np.einsum("bi,bi->b", positive, won), positive.sum(-1) * below[:, -1])

    return in_cache(area, weights_of(weight, r.size))


def average_precision(risk: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Area under the precision-recall curve as a step function: sum_k (recall_k - recall_{k-1}) precision_k over distinct thresholds.

    Args:
        risk: f64 (n,), any scale.
        outcome: (n,), 0 or 1.
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (...,), in [0, 1]; NaN where there is no event.

    Source: Davis and Goadrich (2006); Boyd, Eng and Page (2013), "average precision".

    >>> float(average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])))  # doctest: +ELLIPSIS
    0.8333...
    """
    y = np.asarray(outcome, dtype=np.float64)
    order, last = _falling(np.asarray(risk, dtype=np.float64))

    def area(w: np.ndarray) -> np.ndarray:
        reached = np.cumsum(w.take(order, axis=-1), axis=-1).take(last, axis=-1)
        true = np.cumsum(w.take(order, axis=-1) * y[order], axis=-1).take(last, axis=-1)
        precision = np.divide(true, reached, out=np.zeros_like(true), where=reached > 0)
        return ratio((np.diff(true, axis=-1, prepend=0.0) * precision).sum(-1), true[..., -1])

    return in_cache(area, weights_of(weight, y.size))


def roc_curve(risk: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> RocCurve:
    """The ROC curve over all distinct risks.

    Args:
        risk: f64 (n,).
        outcome: (n,), 0 or 1.
        weight: f64 (n,), >= 0.

    >>> roc_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])).tpr.tolist()
    [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    r, y = np.asarray(risk, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    order, last = _falling(r)
    w = weights_of(weight, r.size)[order]
    tpr, fpr = (np.append(0.0, ratio(x[last], x[-1:])) for x in (np.cumsum(w * y[order]), np.cumsum(w * (1 - y[order]))))
    return RocCurve(fpr, tpr, np.append(np.inf, r[order][last]))


@once
def _ranked(risk: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Events and non-events by rising risk, and for each event how many non-events have a lower risk, and at most its own."""
    case, control = (rows[np.argsort(risk[rows], kind="stable")] for rows in (np.flatnonzero(y > 0), np.flatnonzero(y < 1)))
    return case, control, np.searchsorted(risk[control], risk[case], side="left"), np.searchsorted(risk[control], risk[case], side="right")


@once
def _falling(risk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows by falling risk, i64 (n,), and the place of the last of each distinct risk there, i64 (k,)."""
    order = np.argsort(-risk, kind="stable")
    ordered = risk[order]
    return order, np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))

"""Discrimination of a binary outcome: area under the ROC curve, the curve, average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.weighting import ratio, weights_of


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
    positive, negative = _by_rising_risk(risk, outcome, weight)
    below = np.cumsum(negative, axis=-1) - negative / 2
    return ratio((positive * below).sum(-1), positive.sum(-1) * negative.sum(-1))


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
    positive, negative = (x[..., ::-1] for x in _by_rising_risk(risk, outcome, weight))
    true = np.cumsum(positive, axis=-1)
    precision = np.nan_to_num(ratio(true, true + np.cumsum(negative, axis=-1)))
    return ratio((positive * precision).sum(-1), true[..., -1])


def roc_curve(risk: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> RocCurve:
    """The ROC curve over all distinct risks.

    Args:
        risk: f64 (n,).
        outcome: (n,), 0 or 1.
        weight: f64 (n,), >= 0.

    >>> roc_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])).tpr.tolist()
    [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    positive, negative = (np.cumsum(x[..., ::-1], axis=-1) for x in _by_rising_risk(risk, outcome, weight))
    tpr, fpr = (np.append(0.0, ratio(x, x[..., -1:])) for x in (positive, negative))
    return RocCurve(fpr, tpr, np.append(np.inf, np.unique(risk)[::-1]))


def _by_rising_risk(risk: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Weight of events and of non-events at each distinct risk, rising: f64 (..., k) each."""
    risk, y = np.asarray(risk, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    order = np.argsort(risk, kind="stable")
    ordered, y = risk[order], y[order]
    w = weights_of(weight, risk.shape[0])[..., order]
    positive = w * y
    negative = w - positive
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    if first.size < ordered.size:
        positive, negative = (np.add.reduceat(x, first, axis=-1) for x in (positive, negative))
    return positive, negative

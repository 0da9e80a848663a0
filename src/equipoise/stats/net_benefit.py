"""Net benefit of acting on a risk, and the decision curve."""

from __future__ import annotations

import numpy as np

from equipoise.stats.weighting import weighted_mean


def net_benefit_of_rows(risk: np.ndarray, outcome: np.ndarray, threshold: np.ndarray | float) -> np.ndarray:
    """What each row adds to the net benefit of treating where risk >= threshold: 1 for a treated event, -t/(1-t) for a treated non-event, else 0.

    Args:
        risk: f64 (n,), in [0, 1].
        outcome: (n,), 0 or 1.
        threshold: in (0, 1), a number or f64 (k,).

    Returns:
        f64 (n,), or (n, k).
    """
    t = np.asarray(threshold, dtype=np.float64)
    r, y = np.asarray(risk, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    if t.ndim:
        r, y = r[:, None], y[:, None]
    return (r >= t) * (y - (1 - y) * t / (1 - t))


def net_benefit(risk: np.ndarray, outcome: np.ndarray, threshold: np.ndarray | float, weight: np.ndarray | None = None) -> np.ndarray:
    """TP/n - FP/n * t/(1-t), in true positives a row, treating where risk >= t.

    Args:
        risk: f64 (n,), in [0, 1].
        outcome: (n,), 0 or 1.
        threshold: in (0, 1), a number or f64 (k,).
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (...,) or (..., k).

    Source: Vickers and Elkin (2006), eq. 1.

    >>> float(net_benefit(np.array([0.1, 0.6, 0.7]), np.array([0, 0, 1]), 0.5))
    0.0
    """
    return weighted_mean(net_benefit_of_rows(risk, outcome, threshold), weight)


def treat_all(outcome: np.ndarray, threshold: np.ndarray | float, weight: np.ndarray | None = None) -> np.ndarray:
    """Net benefit of treating everybody: prevalence - (1 - prevalence) t/(1-t); treating nobody has 0. Shapes as in `net_benefit`."""
    return net_benefit(np.ones(np.asarray(outcome).shape[0]), outcome, threshold, weight)

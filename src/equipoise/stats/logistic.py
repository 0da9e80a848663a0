"""Logistic regression by Newton's method: what a probability of being present is estimated with."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

_STEPS = 100
_CLOSE = 1e-10


def logistic_fit(x: np.ndarray, y: np.ndarray, *, ridge: float = 1e-6) -> np.ndarray:
    """Coefficients that maximise ``sum_i y_i log p_i + (1 - y_i) log(1 - p_i) - ridge / 2 sum_{j > 0} b_j^2`` with ``logit p_i = b_0 + x_i b``.

    The tiny ridge keeps coefficients finite where a column separates the classes.

    Args:
        x: f64 (n, k), finite, best of about unit spread.
        y: (n,), 0 or 1, or between; their mean in (0, 1).
        ridge: > 0; the intercept has none.

    Returns:
        f64 (1 + k,): intercept first.

    Source: McCullagh and Nelder (1989), section 4.4 (iteratively reweighted least squares, which is Newton's method here).

    >>> b = logistic_fit(np.array([[0.0], [0.0], [1.0], [1.0], [1.0]]), np.array([0, 1, 0, 1, 1]))
    >>> (np.abs(b - [0.0, np.log(2.0)]) < 1e-5).tolist()
    [True, True]
    """
    y = np.asarray(y, dtype=np.float64)
    design = np.column_stack([np.ones(y.size), x])
    penalty = np.diag(np.r_[0.0, np.full(design.shape[1] - 1, ridge)])
    b = np.zeros(design.shape[1])
    b[0] = np.log(y.mean() / (1 - y.mean()))
    value = _objective(design, y, penalty, b)
    for _ in range(_STEPS):
        p = expit(design @ b)
        gradient = design.T @ (y - p) - penalty @ b
        # A column that is constant, or another one's copy, has no curvature but the ridge's; the smallest solution is taken.
        step = np.linalg.lstsq(design.T @ (design * (p * (1 - p))[:, None]) + penalty, gradient, rcond=None)[0]
        size, better = 1.0, _objective(design, y, penalty, b + step)
        while better < value and size > 1e-6:
            size /= 2
            better = _objective(design, y, penalty, b + size * step)
        b, value = b + size * step, better
        if np.abs(size * step).max() < _CLOSE:
            break
    return b


def logistic_risk(x: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """p = expit(b_0 + x b), f64 (n,), for coefficients of `logistic_fit`."""
    return np.asarray(expit(coefficients[0] + x @ coefficients[1:]))


def _objective(design: np.ndarray, y: np.ndarray, penalty: np.ndarray, b: np.ndarray) -> float:
    eta = design @ b
    return float((y * eta - np.logaddexp(0, eta)).sum() - b @ penalty @ b / 2)

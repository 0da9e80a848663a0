"""Conditional logit with a Gaussian prior, by Newton's method: the fit behind logistic and softmax recalibration."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp


def conditional_logit(design: np.ndarray, offset: np.ndarray, outcome: np.ndarray, weight: np.ndarray, centre: np.ndarray, prior_scale: float) -> np.ndarray:
    """Maximises sum_i w_i log softmax(offset_i + X_i theta)_{y_i} - |theta - centre|^2 / (2 prior_scale^2).

    The objective is strictly concave, so there is one solution and halved Newton steps reach it, separated classes included.

    Args:
        design: f64 (n, C, P), X.
        offset: f64 (n, C).
        outcome: i64 (n,), class numbers y.
        weight: f64 (n,), >= 0.
        centre: f64 (P,), where theta starts and the prior is centred.
        prior_scale: > 0.

    Returns:
        theta f64 (P,).

    Source: McFadden (1974); ours for the prior.
    """

    def objective(theta: np.ndarray) -> float:
        eta = offset + design @ theta
        chosen = np.take_along_axis(eta, outcome[:, None], axis=1)[:, 0]
        return float((weight * (chosen - logsumexp(eta, axis=1))).sum() - 0.5 * ((theta - centre) ** 2).sum() / prior_scale**2)

    theta, best = centre.astype(np.float64), objective(centre)
    taken = np.take_along_axis(design, outcome[:, None, None], axis=1)[:, 0]
    for _ in range(100):
        eta = offset + design @ theta
        p = np.exp(eta - logsumexp(eta, axis=1, keepdims=True))
        expected = np.einsum("nc,ncp->np", p, design)
        gradient = weight @ (taken - expected) - (theta - centre) / prior_scale**2
        second = np.einsum("n,nc,ncp,ncq->pq", weight, p, design, design, optimize=True) - (expected * weight[:, None]).T @ expected
        step = np.linalg.solve(second + np.eye(theta.size) / prior_scale**2, gradient)
        size = 1.0
        while (value := objective(theta + size * step)) < best and size > 1e-10:
            size /= 2
        theta, gain, best = theta + size * step, value - best, value
        if np.abs(size * step).max() < 1e-10 or gain <= 0:
            break
    return theta

"""Exact likelihood of linear measurements x_j = offset_j + lambda_j . z + noise_j, some of them below a detection limit, on a grid of states."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm


def gaussian_log_likelihood(x: np.ndarray, observed: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """sum_j log N(x_ij; mean_jk, sd_j^2) over the observed items, up to a constant in k.

    Args:
        x: f64 (n, J), whatever where not observed.
        observed: bool (n, J).
        mean: f64 (J, K), the item's mean at each grid point.
        sd: f64 (J,) > 0.

    Returns:
        f64 (n, K).
    """
    seen = observed / sd**2
    return np.where(observed, x, 0.0) * seen @ mean - 0.5 * seen @ mean**2


def below_log_likelihood(below: np.ndarray, limit: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """sum_j log P(x_j <= limit_j) over the items that are below their limit.

    Args:
        below: bool (n, J).
        limit: f64 (J,).
        mean: f64 (J, K).
        sd: f64 (J,) > 0.

    Returns:
        f64 (n, K).
    """
    return below.astype(float) @ norm.logcdf((limit[:, None] - mean) / sd[:, None])

"""Holm's correction of several p values."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p values that hold the chance of any false claim: of the sorted ones ``max_{i <= j} min(1, (m - i + 1) p_(i))``.

    Args:
        p: f64 (m,), in [0, 1]; NaN counts as a test that was not made and stays NaN.

    Returns:
        f64 (m,).

    Source: Holm (1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    made = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    made[order] = np.minimum(np.maximum.accumulate((known.size - np.arange(known.size)) * p[order]), 1.0)
    return made

"""Wilson's interval of a proportion."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from equipoise.stats.weighting import ratio


def wilson_interval(events: np.ndarray, n: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    Args:
        events: counts, f64 (k,), 0 <= events <= n.
        n: counts, f64 (k,).
        level: in (0, 1).

    Returns:
        Lower and upper bounds (k,); NaN where n is 0.

    Source: Wilson (1927); Brown, Cai and DasGupta (2001), eq. 4.

    >>> lo, hi = wilson_interval(np.array([0.0]), np.array([10.0]), 0.95)
    >>> float(lo[0]), round(float(hi[0]), 4)
    (0.0, 0.2775)
    """
    events, n = np.asarray(events, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z2 = float(ndtri((1 + level) / 2)) ** 2
    p = ratio(events, n)
    middle = ratio(events + z2 / 2, n + z2)
    half = ratio(np.sqrt(z2) * np.sqrt(n * p * (1 - p) + z2 / 4), n + z2)
    empty = np.isnan(p)
    return np.where(empty, np.nan, np.maximum(middle - half, 0.0)), np.where(empty, np.nan, np.minimum(middle + half, 1.0))

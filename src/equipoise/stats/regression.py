"""Agreement of a predicted mean with a continuous outcome: r, R2, RMSE, and the straight line of calibration."""

from __future__ import annotations

import numpy as np

from equipoise.stats.estimate import Estimate, normal_interval
from equipoise.stats.weighting import ratio, weighted_mean, weights_of


def pearson_r(predicted: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Weighted product-moment correlation, f64 (...,); NaN where one side does not vary.

    Args:
        predicted: f64 (n,).
        outcome: f64 (n,).
        weight: f64 (..., n), >= 0; None: ones.

    >>> round(float(pearson_r(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))), 6)
    0.5
    """
    xx, yy, xy = _moments(predicted, outcome, weight)
    return ratio(xy, np.sqrt(np.maximum(xx * yy, 0.0)))


def pearson_interval(r: float, n: int, level: float) -> Estimate:
    """tanh(atanh r -+ z / sqrt(n - 3)); NaN bounds for n < 4 or |r| = 1.

    Source: Fisher (1921).
    """
    if n < 4 or not abs(r) < 1:
        return Estimate(r, float("nan"), float("nan"), float("nan"), "Fisher z")
    on_z = normal_interval(float(np.arctanh(r)), 1 / np.sqrt(n - 3), level, "Fisher z")
    return Estimate(r, (1 - r * r) / np.sqrt(n - 3), float(np.tanh(on_z.lo)), float(np.tanh(on_z.hi)), "Fisher z")


def r2(predicted: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """1 - sum (y - m)^2 / sum (y - mean y)^2, the mean over the same rows; arguments and shapes as in `pearson_r`."""
    y = np.asarray(outcome, dtype=np.float64)
    _, yy, _ = _moments(predicted, y, weight)
    return 1 - ratio(weighted_mean((y - predicted) ** 2, weight), yy)


def rmse(predicted: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """sqrt of the mean of (y - m)^2, in the outcome's unit; arguments and shapes as in `pearson_r`."""
    return np.sqrt(weighted_mean((np.asarray(outcome, dtype=np.float64) - predicted) ** 2, weight))


def linear_slope(predicted: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Slope of the least-squares line of the outcome on the predicted mean (1 is ideal); arguments and shapes as in `pearson_r`."""
    xx, _, xy = _moments(predicted, outcome, weight)
    return ratio(xy, xx)


def mean_residual(predicted: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean of observed minus predicted, in the outcome's unit (0 is ideal): calibration in the large of a continuous outcome."""
    return weighted_mean(np.asarray(outcome, dtype=np.float64) - predicted, weight)


def varies(x: np.ndarray) -> bool:
    """Whether the values differ by more than rounding: their range exceeds 1e-12 of the largest.

    >>> varies(np.array([0.3, 0.1 + 0.2])), varies(np.array([0.3, 0.301]))
    (False, True)
    """
    x = np.asarray(x, dtype=np.float64)
    return bool(x.size and np.ptp(x) > 1e-12 * np.abs(x).max())


def _moments(predicted: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted variances and covariance, each (...,); exactly 0 for a side that does not vary."""
    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    w = weights_of(weight, x.shape[0])
    # Shifted by the plain means first: weighted means of large numbers with small spread would cancel. A constant becomes exactly 0.
    x, y = (v - v.mean() if varies(v) else np.zeros_like(v) for v in (x, y))
    mx, my, mxx, myy, mxy = (weighted_mean(v, w) for v in (x, y, x * x, y * y, x * y))
    return np.maximum(mxx - mx * mx, 0.0), np.maximum(myy - my * my, 0.0), mxy - mx * my

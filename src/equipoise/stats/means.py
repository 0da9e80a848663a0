"""Means of a few independent values, such as one for each seed, and the difference of two, with Student's t."""

from __future__ import annotations

import numpy as np

from equipoise.stats.estimate import Estimate, normal_interval


def mean_interval(values: np.ndarray, level: float) -> Estimate:
    """mean -+ t_{k-1} s / sqrt(k), s^2 the sample variance.

    Args:
        values: f64 (k,), independent; NaN is left out.
        level: in (0, 1).

    Returns:
        NaN bounds for fewer than two values.

    Source: Student (1908).

    >>> e = mean_interval(np.array([1.0, 2.0, 3.0]), 0.95)
    >>> round(e.value, 3), round(e.lo, 3)
    (2.0, -0.484)
    """
    found = _known(values)
    method = f"Student's t over {found.size} values"
    if found.size < 2:
        return _bare(float(found[0]) if found.size else float("nan"), method)
    return normal_interval(float(found.mean()), float(np.sqrt(found.var(ddof=1) / found.size)), level, method, df=found.size - 1)


def welch_interval(a: np.ndarray, b: np.ndarray, level: float) -> Estimate:
    """mean(a) - mean(b) -+ t_v sqrt(s_a^2/k_a + s_b^2/k_b), v by Welch and Satterthwaite; the variances may differ.

    Args:
        a: f64 (k_a,), independent; NaN is left out.
        b: f64 (k_b,), independent of each other and of ``a``; NaN is left out.
        level: in (0, 1).

    Returns:
        NaN bounds for fewer than two values on either side.

    Source: Welch (1947); as R's ``t.test``.

    >>> round(welch_interval(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.5, 0.4]), 0.95).p, 4)
    0.09
    """
    one, other = _known(a), _known(b)
    method = f"Welch's t over {one.size} and {other.size} values"
    difference = float(one.mean() - other.mean()) if one.size and other.size else float("nan")
    if min(one.size, other.size) < 2:
        return _bare(difference, method)
    parts = np.array([one.var(ddof=1) / one.size, other.var(ddof=1) / other.size])
    total = float(parts.sum())
    df = total**2 / float(parts[0] ** 2 / (one.size - 1) + parts[1] ** 2 / (other.size - 1)) if total > 0 else float(one.size + other.size - 2)
    return normal_interval(difference, float(np.sqrt(total)), level, method, df=df)


def _known(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return values[np.isfinite(values)]


def _bare(value: float, method: str) -> Estimate:
    return Estimate(value, float("nan"), float("nan"), float("nan"), method)

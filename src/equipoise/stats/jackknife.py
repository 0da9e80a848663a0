"""The delete-one-cluster jackknife, for few clusters."""

from __future__ import annotations

import numpy as np

from equipoise.stats.estimate import Estimate, normal_interval


def without_each(cluster: np.ndarray) -> np.ndarray:
    """Weights that leave out one cluster after the other.

    Args:
        cluster: i64 (n,), any numbers.

    Returns:
        f64 (C, n), 0 for the rows of the cluster that is left out, else 1; one line a cluster, in rising order of its number.

    >>> without_each(np.array([7, 7, 3])).tolist()
    [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    found, code = np.unique(cluster, return_inverse=True)
    return (code[None, :] != np.arange(found.size)[:, None]).astype(np.float64)


def jackknife_interval(value: float, without: np.ndarray, level: float, *, floor: float = -np.inf, ceiling: float = np.inf) -> Estimate:
    """``value -+ t_{C-1} se`` with se^2 = (C-1)/C sum_c (theta_(c) - theta_(.))^2, theta_(c) the value without cluster c.

    With few clusters the bootstrap's tails rest on few distinct resamples, and its standard error is too small; this one is, if anything, too large.
    For a mean difference it is the clustered sandwich variance of kind CR3, up to the factor (C-1)/C.

    Args:
        value: the estimate on all clusters.
        without: f64 (C,), values with one cluster left out; NaN where there is none.
        level: in (0, 1), two-sided.
        floor: smallest value that the quantity can have.
        ceiling: largest.

    Returns:
        NaN bounds where the value, or one without some cluster, is not estimated.

    Source: Efron and Tibshirani (1993), section 11.5; MacKinnon, Nielsen and Webb (2023), section 3, for Student's t with C - 1 degrees of freedom.

    >>> e = jackknife_interval(2.0, np.array([1.5, 2.0, 2.5]), 0.95)
    >>> round(e.se, 4), round(e.lo, 3)
    (0.5774, -0.484)
    """
    method = f"leave one cluster out, Student's t ({without.size} clusters)"
    if without.size < 2 or not np.isfinite(value) or not np.isfinite(without).all():
        return Estimate(value, float("nan"), float("nan"), float("nan"), method)
    c = without.size
    se = float(np.sqrt((c - 1) / c * ((without - without.mean()) ** 2).sum()))
    return normal_interval(value, se, level, method, floor=floor, ceiling=ceiling, df=c - 1)

"""The delete-one-cluster jackknife: intervals for few clusters, and standard errors of statistics that have no simple influence function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from equipoise.contract.counter import numpy_stream
from equipoise.stats.estimate import Estimate, normal_interval
from equipoise.stats.weighting import weights_of

MOST_GROUPS = 500
"""With more clusters, random groups of them are left out together; the error's own relative error is then about 1 / sqrt(2 x 500) = 3 %."""


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


def jackknife_error(
    statistic: Callable[[np.ndarray], np.ndarray], n: int, cluster: np.ndarray | None = None, weight: np.ndarray | None = None
) -> tuple[float, float]:
    """sqrt((G-1)/G sum_g (t_(g) - mean t)^2), t_(g) the statistic without cluster (or group of clusters) g; and its degrees of freedom, G - 1.

    Args:
        statistic: of weights f64 (b, n), f64 (b,).
        n: rows, >= 1.
        cluster: (n,), or None: every row its own.
        weight: f64 (n,), >= 0.

    Returns:
        NaN where there is one cluster only, or the statistic does not exist without some.

    Source: Efron and Stein (1981): in the mean it is not too small; the division into groups is ours.

    >>> x = np.array([1.0, 2.0, 3.0])
    >>> se, df = jackknife_error(lambda w: w @ x / w.sum(-1), 3)
    >>> round(se, 4), df
    (0.5774, 2.0)
    """
    codes = np.arange(n) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    count = int(codes.max()) + 1
    groups = min(count, MOST_GROUPS)
    if groups < 2:
        return float("nan"), 1.0
    if count > groups:
        codes = (numpy_stream("jackknife", count).permutation(count) % groups)[codes]
    w, size = weights_of(weight, n), int(np.clip(400_000 // n, 8, 250))
    parts = (np.arange(first, min(first + size, groups)) for first in range(0, groups, size))
    without = np.concatenate([statistic(np.where(codes == part[:, None], 0.0, w)) for part in parts])
    return float(np.sqrt((groups - 1) / groups * ((without - without.mean()) ** 2).sum())), groups - 1.0

"""Do estimates of several groups differ by more than chance? Wald's test with the groups' joint covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, fdtrc


@dataclass(frozen=True)
class Heterogeneity:
    """Test that k groups have the same value.

    Args:
        q: Wald's statistic.
        df: k - 1.
        p: NaN where it could not be tested.
    """

    q: float
    df: int
    p: float


NOTHING = Heterogeneity(float("nan"), 0, float("nan"))


def heterogeneity(value: np.ndarray, covariance: np.ndarray, n_clusters: np.ndarray | None = None) -> Heterogeneity:
    """Q = (C x)' (C V C')^-1 (C x), C the contrasts of each group with the first; for independent groups Cochran's Q.

    Q is compared with chi-squared of k - 1 degrees of freedom. Where the variances were estimated from few clusters that rejects too often; with
    ``n_clusters`` Q is referred to F with Welch's correction: L = 3 / (k^2 - 1) sum_g (1 - w_g / W)^2 / (m_g - 1), w_g = 1 / V_gg,
    F = Q / (k - 1) / (1 + 2 (k - 2) L / 3), on (k - 1, 1 / L) degrees of freedom.

    Args:
        value: f64 (k,), an estimate of each group.
        covariance: f64 (k, k), of the estimates.
        n_clusters: (k,), m_g: independent clusters behind each variance; None: variances taken as known.

    Returns:
        NaN p for fewer than two groups, a value that is not estimated, or contrasts without variance.

    Source: Wald (1943); Cochran (1954); Welch (1951), eqs. 26 to 28, for the correction, exact in its order for independent groups; its use for
        groups that share clusters is ours (docs/statistics.md has the simulation).

    >>> found = heterogeneity(np.array([0.0, 2.0]), np.diag([1.0, 1.0]))
    >>> found.q, found.df, round(found.p, 4)
    (2.0, 1, 0.1573)
    """
    x, v = np.asarray(value, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    k = x.size
    if k < 2 or not np.isfinite(x).all() or not np.isfinite(v).all():
        return NOTHING
    contrast = np.column_stack([-np.ones(k - 1), np.eye(k - 1)])
    between = contrast @ v @ contrast.T
    if np.linalg.cond(between) > 1e12:
        return NOTHING
    d = contrast @ x
    q = float(d @ np.linalg.solve(between, d))
    if n_clusters is None:
        return Heterogeneity(q, k - 1, float(chdtrc(k - 1, q)))
    w = 1 / np.diag(v)
    lack = 3 / (k * k - 1) * float(((1 - w / w.sum()) ** 2 / (np.asarray(n_clusters) - 1)).sum())
    return Heterogeneity(q, k - 1, float(fdtrc(k - 1, 1 / lack, q / (k - 1) / (1 + 2 * (k - 2) * lack / 3))))

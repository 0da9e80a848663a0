"""Variance and paired covariance of AUROCs: DeLong's for independent rows, Obuchowski's for clustered ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from equipoise.stats.estimate import Estimate, normal_interval


@dataclass(frozen=True)
class RocAreas:
    """AUROCs of k risks on the same rows, f64 (k,), and their covariance, f64 (k, k); NaN where one class is lacking or has one unit only.

    ``df``: infinite for independent rows, clusters - 1 for clustered ones.
    """

    area: np.ndarray
    covariance: np.ndarray
    df: float

    @property
    def clustered(self) -> bool:
        return bool(np.isfinite(self.df))

    @property
    def method(self) -> str:
        return "Obuchowski (clustered DeLong)" if self.clustered else "DeLong"

    def interval(self, i: int, level: float) -> Estimate:
        """Interval of AUROC i, cut to [0, 1]; Student's for clustered rows."""
        return normal_interval(float(self.area[i]), _root(self.covariance[i, i]), level, self.method, floor=0.0, ceiling=1.0, df=self.df)

    def difference(self, i: int, j: int, level: float) -> Estimate:
        """Interval of AUROC i minus AUROC j, paired; Student's for clustered rows."""
        c = self.covariance
        return normal_interval(float(self.area[i] - self.area[j]), _root(c[i, i] + c[j, j] - 2 * c[i, j]), level, f"paired {self.method}", df=self.df)


def roc_areas(risk: np.ndarray, outcome: np.ndarray, cluster: np.ndarray | None = None) -> RocAreas:
    """AUROCs with their covariance.

    With placements V10_i = P(risk_i > a non-event's) + P(equal)/2 of each event, V01_j likewise of each non-event, and sums over the rows of a
    cluster, the covariance is S10/m + S01/n + (S11 + S11')/(m n), where S10 = I10 / ((I10-1) m) sum_c (V10_c - m_c A)(V10_c - m_c A)'
    over the I10 clusters with an event, S01 alike, S11 = I/(I-1) sum_c (V10_c - m_c A)(V01_c - n_c A)'. With one row a cluster S11 is 0 and
    this is DeLong's.

    Args:
        risk: f64 (k, n), any scale.
        outcome: (n,), 0 or 1.
        cluster: i64 (n,) cluster numbers; None: every row its own.

    Source: DeLong et al. (1988); Sun and Xu (2014) for the midranks; Obuchowski (1997), eqs. 2 to 6.

    >>> a = roc_areas(np.array([[0.1, 0.3, 0.2, 0.8]]), np.array([0, 0, 1, 1]))
    >>> float(a.area[0]), float(a.covariance[0, 0])
    (0.75, 0.125)
    """
    risk, event = np.atleast_2d(np.asarray(risk, dtype=np.float64)), np.asarray(outcome) == 1
    k, n = risk.shape
    m = int(event.sum())
    codes = np.arange(n) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    units = int(codes.max(initial=-1)) + 1
    df = max(units - 1.0, 1.0) if units < n else np.inf
    if m == 0 or m == n:
        return RocAreas(np.full(k, np.nan), np.full((k, k), np.nan), df)
    v10, v01 = _placements(risk, event)
    area = v10.mean(1)
    s10, i10 = _deviations(v10, area, codes[event], n)
    s01, i01 = _deviations(v01, area, codes[~event], n)
    if min(i10, i01) < 2:
        return RocAreas(area, np.full((k, k), np.nan), df)
    covariance = i10 / (i10 - 1) * s10 @ s10.T / m**2 + i01 / (i01 - 1) * s01 @ s01.T / (n - m) ** 2
    if units < n:
        cross = units / (units - 1) * s10 @ s01.T / (m * (n - m))
        covariance = covariance + cross + cross.T
    return RocAreas(area, covariance, df)


def _placements(risk: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V10 (k, m) and V01 (k, n - m) from ranks among all and within the own class."""
    m, total = int(event.sum()), event.size
    every, own, other = rankdata(risk, axis=1), rankdata(risk[:, event], axis=1), rankdata(risk[:, ~event], axis=1)
    return (every[:, event] - own) / (total - m), 1 - (every[:, ~event] - other) / m


def _deviations(v: np.ndarray, area: np.ndarray, codes: np.ndarray, n: int) -> tuple[np.ndarray, int]:
    """Per cluster the sum of placements minus its expectation, (k, clusters), and how many clusters have a row of this class."""
    size = np.bincount(codes, minlength=n)
    sums = np.stack([np.bincount(codes, row, minlength=n) for row in v])
    return sums - size * area[:, None], int((size > 0).sum())


def _root(variance: float) -> float:
    # Two equal risks differ by exactly 0; rounding may leave a variance just below it.
    return float(np.sqrt(max(variance, 0.0))) if np.isfinite(variance) else float("nan")

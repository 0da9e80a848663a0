"""The cluster bootstrap: resamples of whole clusters as weights, shared by everything that is to be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from equipoise.contract.counter import numpy_stream
from equipoise.stats.estimate import Estimate

ENOUGH = 0.9
"""At least this share of the resamples must give a value, or there is no interval."""


@dataclass(frozen=True)
class ClusterBootstrap:
    """Resamples clusters with replacement; resample r is a pure function of (seed, r, number of clusters).

    Args:
        cluster: i64 (n,), cluster numbers 0..C-1.
        n_resamples: how many.
        seed: of the counter.

    >>> w = next(ClusterBootstrap(np.array([0, 0, 1]), 2, 0).blocks())
    >>> w.shape, bool((w[:, 0] == w[:, 1]).all()), (w[:, 1] + w[:, 2]).tolist()
    ((2, 3), True, [2.0, 2.0])
    """

    cluster: np.ndarray
    n_resamples: int
    seed: int

    def blocks(self) -> Iterator[np.ndarray]:
        """Multiplicities f64 (b, n), block by block, each small enough for a processor's cache; the resamples do not depend on the blocks."""
        n_clusters = int(self.cluster.max(initial=-1)) + 1
        size = int(np.clip(400_000 // max(self.cluster.size, 1), 8, 250))
        for first in range(0, self.n_resamples, size):
            each = range(first, min(first + size, self.n_resamples))
            yield np.stack([self._times_drawn(r, n_clusters) for r in each])[:, self.cluster].astype(np.float64)

    def _times_drawn(self, resample: int, n_clusters: int) -> np.ndarray:
        drawn = numpy_stream("bootstrap", self.seed, resample).integers(0, n_clusters, n_clusters)
        return np.bincount(drawn, minlength=n_clusters)


def percentile_interval(value: float, draws: np.ndarray, level: float) -> Estimate:
    """Equal-tailed quantiles of the resampled values.

    Args:
        value: the estimate on the sample itself.
        draws: f64 (R,), NaN where a resample gave none.
        level: in (0, 1).

    Returns:
        NaN bounds where fewer than `ENOUGH` of the resamples gave a value, or the estimate itself is NaN.

    Source: Efron and Tibshirani (1993), section 13.3; Davison and Hinkley (1997), section 3.8 for resampling clusters.
    """
    found = draws[np.isfinite(draws)]
    method = f"percentile cluster bootstrap ({draws.size} resamples)"
    if not np.isfinite(value) or found.size < max(ENOUGH * draws.size, 2):
        return Estimate(value, float("nan"), float("nan"), float("nan"), method)
    lo, hi = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], method="median_unbiased")
    return Estimate(value, float(found.std(ddof=1)), float(lo), float(hi), method, two_sided_p(found))


def two_sided_p(draws: np.ndarray) -> float:
    """Twice the smaller share of resampled differences on one side of 0, counting the sample itself once; NaN without draws.

    Source: Davison and Hinkley (1997), section 4.4, for the added one.
    """
    found = draws[np.isfinite(draws)]
    if not found.size:
        return float("nan")
    return float(min(1.0, 2 * (min((found <= 0).sum(), (found >= 0).sum()) + 1) / (found.size + 1)))

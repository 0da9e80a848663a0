"""The cluster bootstrap: resamples of whole clusters as weights, shared by everything that is to be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from equipoise.contract.counter import numpy_stream
from equipoise.stats.estimate import Estimate

ENOUGH = 0.9
"""At least this share of the resamples must give a value, or there is no interval."""

FEWEST_CLUSTERS = 5
"""With fewer clusters the tails that an interval needs lie beyond a thousand resamples."""


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
        """Multiplicities f64 (b, n), block by block; the resamples do not depend on the blocks."""
        return (self.block(each) for each in self.ranges())

    def ranges(self) -> list[range]:
        """The resamples of each block: so many that sorting the rows once a block costs little, so few that a block fits into 51 MB."""
        size = int(np.clip(6_400_000 // max(self.cluster.size, 1), 8, 250))
        return [range(first, min(first + size, self.n_resamples)) for first in range(0, self.n_resamples, size)]

    def block(self, resamples: range) -> np.ndarray:
        """Multiplicities of these resamples, f64 (b, n)."""
        n_clusters, made = int(self.cluster.max(initial=-1)) + 1, np.empty((len(resamples), self.cluster.size))
        each_its_own = np.array_equal(self.cluster, np.arange(self.cluster.size))
        for row, resample in zip(made, resamples, strict=True):
            times = self._times_drawn(resample, n_clusters)
            row[:] = times if each_its_own else times[self.cluster]
        return made

    def _times_drawn(self, resample: int, n_clusters: int) -> np.ndarray:
        drawn = numpy_stream("bootstrap", self.seed, resample).integers(0, n_clusters, n_clusters)
        return np.bincount(drawn, minlength=n_clusters)


def percentile_interval(value: float, draws: np.ndarray, level: float, n_clusters: int) -> Estimate:
    """Equal-tailed quantiles of the resampled values, expanded for few clusters.

    Plain percentiles are too narrow by the factor sqrt((C-1)/C) and use the normal where Student's t belongs; so the tail's share a is replaced by
    a' = Phi(t_{C-1}^{-1}(a) sqrt(C/(C-1))). With many clusters nothing changes; with 20 the tail of 2.5 % becomes 1.6 %.

    Args:
        value: the estimate on the sample itself.
        draws: f64 (R,), NaN where a resample gave none.
        level: in (0, 1).
        n_clusters: C, how many clusters were resampled.

    Returns:
        With the two-sided p of 0 that fits the interval. NaN bounds where fewer than `ENOUGH` of the resamples gave a value, where the estimate
        itself is NaN, where there are fewer than `FEWEST_CLUSTERS`, or where the interval does not hold the estimate: then resampling shifts the
        statistic by more than it spreads it, and its percentiles are not an interval of anything.

    Source: Efron and Tibshirani (1993), section 13.3; Davison and Hinkley (1997), section 3.8 for clusters; Hesterberg (2015), section 4.3.
    """
    found = draws[np.isfinite(draws)]
    method = f"percentile cluster bootstrap ({draws.size} resamples)"
    if not np.isfinite(value) or found.size < max(ENOUGH * draws.size, 2) or n_clusters < FEWEST_CLUSTERS:
        return Estimate(value, float("nan"), float("nan"), float("nan"), method)
    widening = np.sqrt(n_clusters / (n_clusters - 1))
    tail = float(ndtr(stdtrit(n_clusters - 1, (1 - level) / 2) * widening))
    lo, hi = (float(x) for x in np.quantile(found, [tail, 1 - tail], method="median_unbiased"))
    rounding = 1e-9 * max(abs(value), float(np.abs(found).max()))
    if not lo - rounding <= value <= hi + rounding:
        return Estimate(value, float("nan"), float("nan"), float("nan"), f"{method}, biased beyond its spread: no interval")
    lo, hi = min(lo, value), max(hi, value)
    # The share beyond 0, counting the sample itself once (Davison and Hinkley, section 4.4), brought back by the same map.
    beyond = (min((found <= 0).sum(), (found >= 0).sum()) + 1) / (found.size + 1)
    p = min(1.0, 2 * float(stdtr(n_clusters - 1, ndtri(min(beyond, 0.5)) / widening)))
    return Estimate(value, float(found.std(ddof=1) * widening), lo, hi, method, p)


def ball_interval(value: float, distances: np.ndarray, level: float, n_clusters: int, *, floor: float = -np.inf) -> Estimate:
    """``value -+ r`` for the size of a curve's gap, r the level's quantile of how far resampled curves lie from the curve itself.

    The mean distance |g - p| of an estimated curve g from the ideal p is no smooth function of g: near a perfect curve noise alone makes it large,
    and resampling adds the noise a second time, so percentiles lie too high. But by the triangle inequality it differs from that of the true curve
    by no more than the mean of |g - g_true|, and that distance is what |g_resampled - g| imitates. The interval therefore holds the truth at least as often as
    its level says, near a perfect curve too, where it reaches 0; far from it, it is wider than need be.

    Args:
        value: the estimate on the sample itself; or a difference of two.
        distances: f64 (R,), >= 0, of the resampled curves; of a difference the sums of both; NaN where a resample gave none.
        level: in (0, 1).
        n_clusters: how many clusters were resampled.
        floor: the smallest value that the quantity can have.

    Returns:
        NaN bounds as in `percentile_interval`, and where there are fewer resamples than 1/(1 - level). The standard error is not estimated.

    Source: ours; `docs/statistics.md` has the simulation.
    """
    found = distances[np.isfinite(distances)]
    method = f"distance of resampled curves, conservative (cluster bootstrap, {distances.size} resamples)"
    nothing = Estimate(value, float("nan"), float("nan"), float("nan"), method)
    if not np.isfinite(value) or found.size < max(ENOUGH * distances.size, 1 / (1 - level) - 1e-9) or n_clusters < FEWEST_CLUSTERS:
        return nothing
    q = (1 + level) / 2
    # As for percentiles: Student's tail and the factor that resampling leaves out.
    wider = found * np.sqrt(n_clusters / (n_clusters - 1)) * stdtrit(n_clusters - 1, q) / ndtri(q)
    radius = float(np.quantile(wider, level, method="median_unbiased"))
    p = float(((wider >= abs(value)).sum() + 1) / (wider.size + 1))
    return Estimate(value, float("nan"), max(value - radius, floor), value + radius, method, p)


def pointwise_band(draws: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Equal-tailed quantiles of resampled curves, point by point; NaN where fewer than `ENOUGH` of them have a value.

    Args:
        draws: f64 (R, k), NaN where a resample gave none.
        level: in (0, 1).

    Returns:
        Lower and upper bounds, each f64 (k,).
    """
    known = np.isfinite(draws).mean(0) >= ENOUGH
    lo, hi = np.full((2, draws.shape[1]), np.nan)
    if known.any():
        lo[known], hi[known] = np.nanquantile(draws[:, known], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return lo, hi

"""What an endpoint is: a name, which way is better, how it is pooled, and a function of rows and weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from equipoise.stats.estimate import Estimate
from equipoise.stats.resampled_t import nadeau_bengio
from equipoise.trial.sample import Pooling, Sample

Better = Literal["higher", "lower", "zero", "one", ""]


@dataclass(frozen=True)
class Endpoint:
    """One endpoint.

    Args:
        name: its key in results.json.
        better: "higher", "lower", "zero" or "one" is best; "" for an estimate that is neither.
        of: the value from a sample and weights f64 (..., n): f64 (...,), NaN where it cannot be estimated.
        pooling: rank metrics are computed within each fold of a cross-validation and averaged, because risks of different models do not rank
            against each other; everything else is pooled within each repeat, then averaged over repeats.
        interval: an interval from theory for one table of rows, where there is one; else the bootstrap's.
        smoothed: it needs a smoothed curve or groups, so fewer resamples serve.
        floor: the smallest value that it can have.
        ceiling: the largest.
        note: what should be said beside it, "" nothing.
        distance: for the size of a curve's gap: how far the curve of resampled weights f64 (..., n) lies from the sample's own, f64 (...,); its
            interval is `bootstrap.ball_interval`.
        no_interval: why resampling gives none, "" it does; then neither the value nor a difference has an interval.
        paired: the interval of a paired difference from theory, for one table of independent or clustered rows; else the bootstrap's.
    """

    name: str
    better: Better
    of: Callable[[Sample, np.ndarray], np.ndarray]
    pooling: Pooling = "pooled"
    interval: Callable[[Sample, float], Estimate | None] | None = None
    smoothed: bool = False
    floor: float = -np.inf
    ceiling: float = np.inf
    note: Callable[[Sample], str] | None = None
    distance: Callable[[Sample, np.ndarray], np.ndarray] | None = None
    no_interval: str = ""
    paired: Callable[[Sample, Sample, float], Estimate] | None = None

    @property
    def sign(self) -> float:
        """+1 where higher is better, -1 where lower is; 0 where differences favour nobody."""
        return {"higher": 1.0, "lower": -1.0}.get(self.better, 0.0)

    def value(self, sample: Sample, weight: np.ndarray | None = None) -> np.ndarray:
        """The value pooled as declared, f64 (...,), for weights f64 (..., n) (None: the analysis weights). Folds without a value are left out."""
        return self._pooled(self.of, sample, sample.weight if weight is None else weight)

    def draws(self, sample: Sample, weight: np.ndarray) -> np.ndarray:
        """What each row of resampled weights gives for the interval: the value, or the curve's distance; f64 (...,)."""
        return self._pooled(self.distance or self.of, sample, weight)

    def _pooled(self, of: Callable[[Sample, np.ndarray], np.ndarray], sample: Sample, weight: np.ndarray) -> np.ndarray:
        return _mean([of(part, weight[..., at] if len(at) < sample.size else weight) for at, part in sample.parts(self.pooling)])

    def by_fold(self, sample: Sample) -> np.ndarray:
        """Values of each fold of each repeat, f64 (J,)."""
        return np.array([float(self.of(part, part.weight)) for _, part in sample.parts("within_fold")])

    def resampled(self, sample: Sample) -> bool:
        """Whether its interval comes from the bootstrap; folds of a rank metric give their own."""
        return not self.no_interval and not self._by_folds(sample)

    def _by_folds(self, sample: Sample) -> bool:
        return self.pooling == "within_fold" and sample.crossed

    def difference_by_theory(self, a: Sample, b: Sample, level: float) -> Estimate | None:
        """The interval of the paired difference a - b that needs no resamples, or None; ``a`` and ``b`` are the same rows."""
        if self.no_interval:
            return _bare(float(self.value(a) - self.value(b)))
        if self._by_folds(a):
            return nadeau_bengio(self.by_fold(a) - self.by_fold(b), fold_ratio(a), level)
        if self.paired is None or a.weighted or a.crossed:
            return None
        return self.paired(a, b, level)

    def by_theory(self, sample: Sample, level: float) -> Estimate | None:
        """The interval that needs no resamples, or None."""
        if self.no_interval:
            return _bare(float(self.value(sample)))
        if self._by_folds(sample):
            return nadeau_bengio(self.by_fold(sample), fold_ratio(sample), level, floor=self.floor, ceiling=self.ceiling)
        if self.interval is None or sample.weighted or sample.crossed or not np.isfinite(self.value(sample)):
            return None
        return self.interval(sample, level)


def fold_ratio(sample: Sample) -> float:
    """Mean over folds of their rows over the other rows of the same repeat."""
    ratios = []
    for repeat in np.unique(sample.repeat):
        sizes = np.unique(sample.fold[sample.repeat == repeat], return_counts=True)[1].astype(np.float64)
        ratios += (sizes / np.maximum(sizes.sum() - sizes, 1)).tolist()
    return float(np.mean(ratios))


def _bare(value: float) -> Estimate:
    return Estimate(value, float("nan"), float("nan"), float("nan"), "no interval")


def _mean(values: list[np.ndarray]) -> np.ndarray:
    if len(values) == 1:
        return np.asarray(values[0])
    stacked = np.stack(values)
    known = np.isfinite(stacked)
    total = np.where(known, stacked, 0.0).sum(0)
    return np.divide(total, known.sum(0), out=np.full(total.shape, np.nan), where=known.any(0))

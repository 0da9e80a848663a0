"""Every model's endpoints on shared resamples: the same resampled clusters for all models, scenarios and endpoints."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from threadpoolctl import threadpool_limits

from equipoise.stats.bootstrap import FEWEST_CLUSTERS, ClusterBootstrap, ball_interval, percentile_interval
from equipoise.stats.estimate import Estimate
from equipoise.stats.jackknife import jackknife_interval, without_each
from equipoise.stats.resampled_t import nadeau_bengio
from equipoise.trial.endpoint import Endpoint, fold_ratio
from equipoise.trial.protocol import Protocol
from equipoise.trial.rows import Rows
from equipoise.trial.sample import Sample

Arm = tuple[str, str]  # (model, scenario)
Draws = dict[tuple[Arm, bytes], dict[str, np.ndarray]]
MOST_THREADS = 4  # each holds a block of resamples and what is made of it: some 300 MB for 100,000 rows
NOTHING = Estimate(float("nan"), float("nan"), float("nan"), float("nan"), "")


@dataclass
class Judged:
    """Estimates endpoints and paired differences of arms.

    Args:
        rows: all rows.
        protocol: level, resamples, seed.
        endpoints: which ones.
        propensity: f64 (n,); score: f64 (n,) or empty: see `treatment_effect`.
    """

    rows: Rows
    protocol: Protocol
    endpoints: tuple[Endpoint, ...]
    propensity: np.ndarray
    score: np.ndarray
    _samples: dict[tuple[Arm, bytes], tuple[np.ndarray, Sample]] = field(default_factory=dict)
    _draws: Draws = field(default_factory=dict)

    def usable(self, arm: Arm) -> np.ndarray:
        """bool (n,): rows on which the arm can be judged."""
        return self.rows.observed & self.rows.forecasts[arm].given

    def both(self, a: Arm, b: Arm) -> np.ndarray:
        """bool (n,): rows on which both can be."""
        return self.usable(a) & self.usable(b)

    def sample(self, arm: Arm, where: np.ndarray) -> Sample:
        """The arm's answers where ``where``."""
        key = _key(arm, where)
        if key not in self._samples:
            self._samples[key] = (np.flatnonzero(where), Sample.of(self.rows, self.rows.forecasts[arm], where, self.protocol, self.propensity, self.score))
        return self._samples[key][1]

    def resample(self, pairs: list[tuple[Arm, Arm]], alone: list[Arm]) -> None:
        """Draws all resamples that endpoints of these arms and differences of these pairs need, in one pass, on all processors."""
        for arm in alone:
            self.sample(arm, self.usable(arm))
        for a, b in pairs:
            for arm in (a, b):
                self.sample(arm, self.both(a, b))
        new = sorted((k for k, v in self._samples.items() if k not in self._draws and v[1].size), key=lambda k: k[1])
        threads = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST_THREADS)
        # One thread a block and none within a matrix product: they would wait for one another. Numbers do not depend on how many there are.
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
            blocks = list(pool.map(lambda each: self._block(each, new), self.bootstrap().ranges()))
        for key in new:
            self._draws[key] = {e.name: np.concatenate([block[key][e.name] for block in blocks]) for e in self.endpoints}

    def _block(self, resamples: range, new: list[tuple[Arm, bytes]]) -> Draws:
        """What each endpoint gives in these resamples, empty where it needs none of them."""
        block, made = self.bootstrap().block(resamples), Draws()
        for _, group in groupby(new, key=lambda k: k[1]):
            keys = list(group)
            at, first = self._samples[keys[0]]
            # Arms judged on the same rows get the same array, so that weights for censoring are made once.
            weight = block if at.size == self.rows.size else block.take(at, axis=1)
            weight = weight * first.weight if first.weighted else weight
            for key in keys:
                made[key] = {e.name: self._drawn(e, self._samples[key][1], weight, resamples.start) for e in self.endpoints}
        return made

    def _drawn(self, endpoint: Endpoint, sample: Sample, weight: np.ndarray, first: int) -> np.ndarray:
        asked = self._asked(endpoint) - first if endpoint.resampled(sample) else 0
        return endpoint.draws(sample, weight[:asked] if asked < len(weight) else weight) if asked > 0 else np.empty(0)

    def bootstrap(self) -> ClusterBootstrap:
        """The resamples; any part of the evaluation that asks gets the same ones."""
        return ClusterBootstrap(self.rows.cluster, self.protocol.n_bootstrap, self.protocol.seed)

    def draws(self, endpoint: Endpoint, arm: Arm, where: np.ndarray) -> np.ndarray:
        """The endpoint of an arm on these rows in each resample, f64 (R,), after `resample`; empty where the endpoint needs none."""
        return self._draws[_key(arm, where)][endpoint.name]

    def estimate(self, endpoint: Endpoint, arm: Arm) -> Estimate:
        """The endpoint of an arm on all rows where it can be judged."""
        where = self.usable(arm)
        sample = self.sample(arm, where)
        if not sample.size:
            return NOTHING
        by_theory = endpoint.by_theory(sample, self.protocol.level)
        if by_theory is not None:
            return _unless_at_limit(by_theory, endpoint)
        if self._few(endpoint, sample):
            without = endpoint.value(sample, sample.weight * without_each(sample.cluster))
            found = jackknife_interval(float(endpoint.value(sample)), without, self.protocol.level, floor=endpoint.floor, ceiling=endpoint.ceiling)
            return _unless_at_limit(found, endpoint)
        draws = self._draws[_key(arm, where)][endpoint.name]
        if endpoint.distance is not None:
            return ball_interval(float(endpoint.value(sample)), draws, self.protocol.level, sample.n_clusters, floor=endpoint.floor)
        return _unless_at_limit(percentile_interval(float(endpoint.value(sample)), draws, self.protocol.level, sample.n_clusters), endpoint)

    def difference(self, endpoint: Endpoint, a: Arm, b: Arm) -> Estimate:
        """The endpoint of ``a`` minus that of ``b`` on the rows where both can be judged."""
        where = self.both(a, b)
        one, other = self.sample(a, where), self.sample(b, where)
        if not one.size:
            return NOTHING
        by_theory = endpoint.difference_by_theory(one, other, self.protocol.level)
        if by_theory is not None:
            return by_theory
        difference = float(endpoint.value(one) - endpoint.value(other))
        if self._few(endpoint, one):
            each = without_each(one.cluster)
            without = endpoint.value(one, one.weight * each) - endpoint.value(other, other.weight * each)
            return jackknife_interval(difference, without, self.protocol.level)
        draws = [self._draws[_key(arm, where)][endpoint.name] for arm in (a, b)]
        if endpoint.distance is not None:
            return ball_interval(difference, draws[0] + draws[1], self.protocol.level, one.n_clusters)
        found = percentile_interval(difference, draws[0] - draws[1], self.protocol.level, one.n_clusters)
        return Estimate(found.value, found.se, found.lo, found.hi, f"paired {found.method}", found.p)

    def _few(self, endpoint: Endpoint, sample: Sample) -> bool:
        """Whether leaving one cluster out serves better than resampling: fewer clusters than the protocol asks for, and enough for any interval."""
        return endpoint.distance is None and FEWEST_CLUSTERS <= sample.n_clusters < self.protocol.few_clusters

    def contrast(self, endpoint: Endpoint, plus: Sequence[Arm], minus: Sequence[Arm]) -> Estimate:
        """The endpoint's mean over some arms minus its mean over others, all of them judged on the same rows.

        Args:
            endpoint: with resamples of its own, or a rank metric of a cross-validation.
            plus: at least one arm; `resample` has drawn each of them alone.
            minus: likewise.
        """
        where = self.usable(plus[0])
        first = self.sample(plus[0], where)
        if not first.size:
            return NOTHING

        def mean(of: Callable[[Arm], np.ndarray]) -> np.ndarray:
            sides = [np.mean([of(arm) for arm in side], axis=0) for side in (plus, minus)]
            return np.asarray(sides[0] - sides[1])

        if not endpoint.resampled(first):
            return nadeau_bengio(mean(lambda arm: endpoint.by_fold(self.sample(arm, where))), fold_ratio(first), self.protocol.level)
        value = float(mean(lambda arm: endpoint.value(self.sample(arm, where))))
        if self._few(endpoint, first):
            each = first.weight * without_each(first.cluster)
            return jackknife_interval(value, mean(lambda arm: endpoint.value(self.sample(arm, where), each)), self.protocol.level)
        draws = mean(lambda arm: self._draws[_key(arm, where)][endpoint.name])
        found = percentile_interval(value, draws, self.protocol.level, first.n_clusters)
        return Estimate(found.value, found.se, found.lo, found.hi, f"paired {found.method}", found.p)

    def _asked(self, endpoint: Endpoint) -> int:
        return min(self.protocol.loess_bootstrap, self.protocol.n_bootstrap) if endpoint.smoothed else self.protocol.n_bootstrap


def _unless_at_limit(found: Estimate, endpoint: Endpoint) -> Estimate:
    """No interval of no width at the quantity's limit: where a sample is separated perfectly every resample is, whatever the truth."""
    if found.lo == found.hi and found.value in (endpoint.floor, endpoint.ceiling):
        return Estimate(found.value, np.nan, np.nan, np.nan, "")
    return found


def _key(arm: Arm, where: np.ndarray) -> tuple[Arm, bytes]:
    return arm, np.packbits(where).tobytes()

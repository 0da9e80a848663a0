"""Ways of making a model: runs that differ in nothing but their seed are one way, and its endpoint is the mean of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from equipoise.contract.tables import SCENARIO_ALL
from equipoise.stats.estimate import Estimate
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.rows import Forecasts, Rows
from equipoise.trial.sample import Sample


def with_ways(rows: Rows, ways: Mapping[str, Sequence[str]]) -> Rows:
    """The rows with one more model for each way of several runs: their answers beside one another, as further columns of the labels.

    Args:
        rows: with every run as a model.
        ways: name -> its runs; a way of one run has the run's name.
    """
    several = {way: [rows.forecasts[(run, SCENARIO_ALL)] for run in runs] for way, runs in ways.items() if len(runs) > 1}
    return replace(rows, forecasts=rows.forecasts | {(way, SCENARIO_ALL): _beside(found) for way, found in several.items()})


def _beside(runs: Sequence[Forecasts]) -> Forecasts:
    names = ("risk", "total", "lo", "hi", "aleatoric", "epistemic", "set_event", "set_no_event")
    columns = {name: np.concatenate([getattr(f, name) for f in runs], axis=1) for name in names}
    lacking = int((~np.isfinite(columns["risk"]).all(axis=1)).sum())
    return Forecasts(**columns, propensity=np.mean([f.propensity for f in runs], axis=0), n_abstained=max(lacking, *(f.n_abstained for f in runs)))


def averaged(endpoint: Endpoint, *, several: bool) -> Endpoint:
    """The endpoint that answers for a way with the mean over its runs, and for a run as it is.

    The mean of the runs' endpoints on the same resampled rows, so that its interval is about these fitted models together. It is no endpoint of an
    ensemble: the risks are not averaged. A distance of curves is averaged too, and bounds that of the mean (triangle inequality).

    Args:
        endpoint: of one run.
        several: some way has several runs; then paired differences are all resampled, because theory knows single runs only.

    Source: ours.
    """
    if not several:
        return endpoint
    interval, note = endpoint.interval, endpoint.note
    return Endpoint(
        name=endpoint.name,
        better=endpoint.better,
        of=_mean_of(endpoint.of),
        pooling=endpoint.pooling,
        interval=None if interval is None else lambda s, level: _alone(s, interval, level),
        smoothed=endpoint.smoothed,
        floor=endpoint.floor,
        ceiling=endpoint.ceiling,
        note=None if note is None else lambda s: "; ".join(dict.fromkeys(said for run in runs_of(s) if (said := note(run)))),
        distance=None if endpoint.distance is None else _mean_of(endpoint.distance),
        no_interval=endpoint.no_interval,
    )


def runs_of(sample: Sample) -> list[Sample]:
    """The sample of each run of a way."""
    n = len(sample.labels)
    k = sample.risk.shape[1] // n
    if k == 1:
        return [sample]
    return [replace(sample, risk=sample.risk[:, j * n : (j + 1) * n], total=sample.total[:, j * n : (j + 1) * n]) for j in range(k)]


def _mean_of(of: Callable[[Sample, np.ndarray], np.ndarray]) -> Callable[[Sample, np.ndarray], np.ndarray]:
    return lambda s, w: np.asarray(np.mean([of(run, w) for run in runs_of(s)], axis=0))


def _alone(sample: Sample, interval: Callable[[Sample, float], Estimate | None], level: float) -> Estimate | None:
    runs = runs_of(sample)
    return interval(sample, level) if len(runs) == 1 else None

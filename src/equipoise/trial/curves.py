"""The curves behind the figures: aggregates only, never a row; small cells are suppressed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from equipoise.stats.bootstrap import pointwise_band
from equipoise.stats.calibration_curve import Bins, bins, smooth
from equipoise.stats.net_benefit import net_benefit_of_rows, treat_all
from equipoise.stats.roc import roc_curve
from equipoise.stats.weighting import weighted_mean
from equipoise.trial.calibration_at_horizon import groups_at, observed_at
from equipoise.trial.censoring import known_of
from equipoise.trial.compare import numbers
from equipoise.trial.judged import Arm, Judged
from equipoise.trial.sample import Sample

GRID = 101  # points of a ROC curve: fewer than rows, so that no row can be read off it
PLACES = 60  # points of a calibration curve
THRESHOLDS = 50
EDGES = 40


def curves_of(judged: Judged, arm: Arm, *, horizon_days: float | None, banded: bool) -> dict[str, Any]:
    """Curves of one arm: roc, calibration, decision, risk_distribution for an event; calibration and scatter for a continuous outcome.

    Args:
        judged: the samples and their resamples.
        arm: whose curves.
        horizon_days: of a time to event.
        banded: with bootstrap bands (calibration, decision).
    """
    sample = _one_table(judged.sample(arm, judged.usable(arm)))
    if sample.size < 2 * judged.protocol.min_cell:
        return {}
    match sample.kind:
        case "binary":
            calibration = _calibration(judged, sample, sample.p, sample.y, sample.weight, banded, probability=True)
            return _event_curves(judged, sample, sample.p, sample.y, sample.weight, banded) | {"calibration": calibration}
        case "time_to_event" if horizon_days is not None:
            whole, known = known_of(sample, horizon_days)
            at = judged.rows.horizons_days.index(horizon_days)
            seen = known.weight > 0
            risk, status, weight = whole.risk[seen, at], known.status[seen], known.weight[seen]
            made = _event_curves(judged, whole.take(np.flatnonzero(seen)), risk, status, weight, banded)
            return made | {"calibration": _calibration_at(judged, sample, horizon_days, at, banded)}
        case "continuous":
            calibration = _calibration(judged, sample, sample.p, sample.y, sample.weight, banded, probability=False)
            return {"calibration": calibration, "scatter": _scatter(sample, judged.protocol.min_cell)}
        case "multiclass":
            return {"roc": _class_rocs(sample, judged.protocol.min_cell)}
        case _:
            return {}


def _one_table(sample: Sample) -> Sample:
    """The first repeat: there every row stands once."""
    return sample.take(np.flatnonzero(sample.repeat == sample.repeat.min())) if sample.size else sample


def _event_curves(judged: Judged, s: Sample, risk: np.ndarray, y: np.ndarray, weight: np.ndarray, banded: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    cell = judged.protocol.min_cell
    if min((y == 1).sum(), (y == 0).sum()) >= cell:
        made["roc"] = _roc(risk, y, weight)
    made["decision"] = _decision(judged, s, risk, y, weight, banded)
    edges = np.linspace(0, 1, EDGES + 1)
    counts = [np.histogram(risk[y == outcome], edges)[0] for outcome in (1, 0)]
    made["risk_distribution"] = {"edges": edges.tolist(), "event": _suppressed(counts[0], cell), "no_event": _suppressed(counts[1], cell)}
    return made


def _roc(risk: np.ndarray, y: np.ndarray, weight: np.ndarray) -> dict[str, Any]:
    curve, grid = roc_curve(risk, y, weight), np.linspace(0, 1, GRID)
    # The highest sensitivity at each false positive rate: within a vertical step interpolation would pick any of them.
    fpr, first = np.unique(curve.fpr[::-1], return_index=True)
    tpr = np.interp(grid, fpr, curve.tpr[::-1][first])
    return {"fpr": [0.0, *grid.tolist()], "tpr": [0.0, *tpr.tolist()]}


def _class_rocs(s: Sample, cell: int) -> dict[str, Any]:
    shown = [c for c in range(len(s.labels)) if cell <= s.outcome[:, c].sum() <= s.size - cell]
    return {s.labels[c]: _roc(s.risk[:, c], s.outcome[:, c], s.weight) for c in shown}


def _calibration(judged: Judged, s: Sample, predicted: np.ndarray, y: np.ndarray, weight: np.ndarray, banded: bool, *, probability: bool) -> dict[str, Any]:
    groups = bins(predicted, y, judged.protocol.level, weight=weight, fewest=judged.protocol.min_cell, probability=probability)
    curve, method = _smoothed(judged, s, predicted, y, weight, banded, probability=probability)
    return curve | {"method": method, "bins": _groups(groups)}


def _calibration_at(judged: Judged, s: Sample, horizon: float, i: int, banded: bool) -> dict[str, Any]:
    """At a horizon: a curve of pseudo-values (or of the weighted status), groups by Aalen-Johansen."""
    o = observed_at(s, horizon)
    curve, method = _smoothed(judged, o.sample, o.sample.risk[:, i], o.outcome, o.weight, banded, probability=True)
    return curve | {"method": f"{method}, {o.method}; groups: Aalen-Johansen", "bins": _groups(groups_at(s, horizon, i))}


def _smoothed(
    judged: Judged, s: Sample, predicted: np.ndarray, y: np.ndarray, weight: np.ndarray, banded: bool, *, probability: bool
) -> tuple[dict[str, Any], str]:
    # Between the 1st and 99th percentile: the ends of a smooth curve hang on single rows.
    places = np.unique(np.quantile(predicted, np.linspace(0.01, 0.99, PLACES)))
    curve = smooth(predicted, y, places, weight, probability=probability)
    lo = hi = np.full(places.size, np.nan)
    if banded and judged.protocol.loess_bootstrap >= 40:
        blocks = _resamples(judged, s, judged.protocol.loess_bootstrap)
        draws = np.stack([smooth(predicted, y, places, weight * w, probability=probability).observed for block in blocks for w in block])
        lo, hi = pointwise_band(draws, judged.protocol.level)
    method = curve.method + (f", band from {judged.protocol.loess_bootstrap} resamples" if np.isfinite(lo).any() else "")
    return {"predicted": places.tolist(), "observed": numbers(curve.observed), "lo": numbers(lo), "hi": numbers(hi)}, method


def _decision(judged: Judged, s: Sample, risk: np.ndarray, y: np.ndarray, weight: np.ndarray, banded: bool) -> dict[str, Any]:
    thresholds = np.linspace(*judged.protocol.threshold_range, THRESHOLDS)
    of_rows = net_benefit_of_rows(risk, y, thresholds)
    lo = hi = np.full(THRESHOLDS, np.nan)
    if banded:
        draws = np.concatenate([weighted_mean(of_rows, weight * block) for block in _resamples(judged, s, judged.protocol.n_bootstrap)])
        lo, hi = pointwise_band(draws, judged.protocol.level)
    return {
        "threshold": thresholds.tolist(),
        "net_benefit": numbers(weighted_mean(of_rows, weight)),
        "lo": numbers(lo),
        "hi": numbers(hi),
        "treat_all": numbers(treat_all(y, thresholds, weight)),
        "treat_none": [0.0] * THRESHOLDS,
    }


def _resamples(judged: Judged, s: Sample, n: int) -> Iterator[np.ndarray]:
    """The first n resamples as multiplicities of the sample's rows, block by block f64 (b, rows)."""
    lookup = np.full(int(judged.rows.cluster.max()) + 1, -1)
    lookup[judged.rows.cluster] = np.arange(judged.rows.size)  # any row of the cluster: all have its multiplicity
    at, made = lookup[s.cluster], 0
    for block in judged.bootstrap().blocks():
        yield block[: n - made, at]
        made += block.shape[0]
        if made >= n:
            return


def _scatter(s: Sample, cell: int) -> dict[str, Any]:
    edges = [
        np.histogram_bin_edges(v, bins=24, range=tuple(np.quantile(v, [0.005, 0.995]))) if np.ptp(v) > 0 else np.array([v[0] - 0.5, v[0] + 0.5])
        for v in (s.p, s.y)
    ]
    counts, _, _ = np.histogram2d(np.clip(s.p, edges[0][0], edges[0][-1]), np.clip(s.y, edges[1][0], edges[1][-1]), bins=edges)
    table = [_suppressed(row.astype(np.int64), cell) for row in counts]
    return {"predicted_edges": edges[0].tolist(), "observed_edges": edges[1].tolist(), "n": table}


def _groups(groups: Bins) -> dict[str, Any]:
    made = {name: numbers(getattr(groups, name)) for name in ("predicted", "observed", "lo", "hi")}
    return made | {"n": groups.n.astype(int).tolist()}


def _suppressed(counts: np.ndarray, cell: int) -> list[int | None]:
    return [None if 0 < c < cell else int(c) for c in counts]

"""Endpoints of a binary outcome: the four of the STRATOS guidance, proper scores, and on demand the scores of the 2012 challenge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from equipoise.stats.calibration_curve import CalibrationError, calibration_error, curve_distance, smooth
from equipoise.stats.delong import roc_areas
from equipoise.stats.estimate import Estimate
from equipoise.stats.hosmer_lemeshow import event1, hosmer_lemeshow
from equipoise.stats.net_benefit import net_benefit
from equipoise.stats.recalibration import calibration_in_the_large, calibration_slope, in_the_large_interval, slope_interval
from equipoise.stats.roc import auroc, average_precision
from equipoise.stats.scores import SMALLEST, brier, log_score
from equipoise.stats.weighting import ratio, weighted_mean
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.sample import Sample

_INFLATED = "no interval: noise alone makes it large, and resampling adds that noise a second time"


def _brier(s: Sample, w: np.ndarray) -> np.ndarray:
    return weighted_mean(brier(s.p, s.y), w)


def _scaled_brier(s: Sample, w: np.ndarray) -> np.ndarray:
    share = weighted_mean(s.y, w)
    return 1 - ratio(_brier(s, w), share * (1 - share))


def _event1(s: Sample, w: np.ndarray) -> np.ndarray:
    threshold = s.protocol.threshold if s.protocol.event1_threshold is None else s.protocol.event1_threshold
    return event1(s.p, s.y, threshold, w)


def _event2(s: Sample, w: np.ndarray) -> np.ndarray:
    # Groups are made of whole rows, so weights can only be multiplicities; analysis weights are not used here.
    times = np.rint(w / np.where(s.weight > 0, s.weight, 1.0)).astype(np.int64)
    return _each(times, lambda t: hosmer_lemeshow(np.repeat(s.p, t), np.repeat(s.y, t)).event2)


def _error(s: Sample, w: np.ndarray, part: str) -> np.ndarray:
    def one(weight: np.ndarray) -> float:
        made: CalibrationError = calibration_error(s.p, s.y, weight)
        return float(getattr(made, part))

    return _each(w, one)


def _curve_distance(s: Sample, w: np.ndarray) -> np.ndarray:
    own = smooth(s.p, s.y, s.p, s.weight).observed
    return _each(w, lambda weight: curve_distance(s.p, s.y, weight, own))


def _each(weight: np.ndarray, f: Callable[[np.ndarray], float]) -> np.ndarray:
    flat = weight.reshape(-1, weight.shape[-1])
    return np.array([f(row) for row in flat]).reshape(weight.shape[:-1])


def _area_interval(s: Sample, level: float) -> Estimate:
    return roc_areas(s.p, s.y, s.cluster).interval(0, level)


def _one_class(s: Sample) -> str:
    return "" if 0 < s.y.sum() < s.size else "one class only"


def _lacking_folds(s: Sample) -> str:
    if not s.crossed:
        return _one_class(s)
    lacking = sum(bool(_one_class(part)) for _, part in s.parts("within_fold"))
    return f"{lacking} folds with one class only were left out" if lacking else ""


def _certain(s: Sample) -> str:
    n = int(((s.p < SMALLEST) | (s.p > 1 - SMALLEST)).sum())
    return f"{n} risks of 0 or 1 were read as {SMALLEST:g} from it" if n else ""


def _slope_note(s: Sample) -> str:
    return _one_class(s) or ("all risks are equal" if np.ptp(s.p) == 0 else _certain(s))


def _area_difference(a: Sample, b: Sample, level: float) -> Estimate:
    return roc_areas(np.stack([a.p, b.p]), a.y, a.cluster).difference(0, 1, level)


BINARY = (
    Endpoint(
        "auroc",
        "higher",
        lambda s, w: auroc(s.p, s.y, w),
        "within_fold",
        _area_interval,
        floor=0.0,
        ceiling=1.0,
        note=_lacking_folds,
        paired=_area_difference,
    ),
    Endpoint("auprc", "higher", lambda s, w: average_precision(s.p, s.y, w), "within_fold", floor=0.0, ceiling=1.0, note=_lacking_folds),
    Endpoint("log_score", "lower", lambda s, w: weighted_mean(log_score(s.p, s.y), w), note=_certain),
    Endpoint("brier", "lower", _brier),
    Endpoint("scaled_brier", "higher", _scaled_brier, note=_one_class),
    Endpoint(
        "calibration_in_the_large",
        "zero",
        lambda s, w: calibration_in_the_large(s.p, s.y, w),
        interval=lambda s, level: in_the_large_interval(s.p, s.y, level, s.cluster),
        note=lambda s: _one_class(s) or _certain(s),
    ),
    Endpoint(
        "calibration_slope",
        "one",
        lambda s, w: calibration_slope(s.p, s.y, w),
        interval=lambda s, level: slope_interval(s.p, s.y, level, s.cluster),
        note=_slope_note,
    ),
    Endpoint("ici", "lower", lambda s, w: _error(s, w, "ici"), smoothed=True, floor=0.0, distance=_curve_distance),
    Endpoint("net_benefit", "higher", lambda s, w: net_benefit(s.p, s.y, s.protocol.threshold, w)),
)

BINARY_EXTRA = (
    Endpoint("e50", "lower", lambda s, w: _error(s, w, "e50"), floor=0.0, no_interval=_INFLATED),
    Endpoint("e90", "lower", lambda s, w: _error(s, w, "e90"), floor=0.0, no_interval=_INFLATED),
    Endpoint("event1", "higher", _event1, note=_one_class),
    Endpoint("event2", "lower", _event2, floor=0.0, note=lambda s: "fewer than 10 rows" if s.size < 10 else "", no_interval=_INFLATED),
)

"""Endpoints of a continuous outcome."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from equipoise.stats.estimate import Estimate
from equipoise.stats.regression import linear_slope, mean_residual, pearson_interval, pearson_r, r2, rmse, varies
from equipoise.stats.scores import crps_normal, interval_score
from equipoise.stats.weighting import weighted_mean
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.sample import Sample


def _crps(s: Sample, w: np.ndarray) -> np.ndarray:
    """NaN where the model states no spread: a point taken for a certainty would not be its forecast."""
    if not np.isfinite(s.total).all():
        return np.full(w.shape[:-1], np.nan)
    return weighted_mean(crps_normal(s.p, s.sd, s.y), w)


def _interval_score(s: Sample, w: np.ndarray) -> np.ndarray:
    """Of the central interval of a normal distribution with the stated mean and variance, at the protocol's level."""
    if not np.isfinite(s.total).all():
        return np.full(w.shape[:-1], np.nan)
    half = float(ndtri((1 + s.protocol.level) / 2)) * s.sd
    return weighted_mean(interval_score(s.p - half, s.p + half, s.y, s.protocol.level), w)


def _no_spread(s: Sample) -> str:
    lacking = int((~np.isfinite(s.total)).sum())
    return f"no predictive variance (column total) in {lacking} rows" if lacking else "of a normal distribution with the stated mean and variance"


def _r_interval(s: Sample, level: float) -> Estimate | None:
    return None if s.clustered else pearson_interval(float(pearson_r(s.p, s.y)), s.size, level)


def _no_variation(s: Sample) -> str:
    return "all predictions are equal" if s.size and not varies(s.p) else "all outcomes are equal" if s.size and not varies(s.y) else ""


CONTINUOUS = (
    Endpoint("pearson_r", "higher", lambda s, w: pearson_r(s.p, s.y, w), interval=_r_interval, floor=-1.0, ceiling=1.0, note=_no_variation),
    Endpoint("r2", "higher", lambda s, w: r2(s.p, s.y, w), ceiling=1.0),
    Endpoint("rmse", "lower", lambda s, w: rmse(s.p, s.y, w)),
    Endpoint("crps", "lower", _crps, note=_no_spread),
    Endpoint("calibration_slope", "one", lambda s, w: linear_slope(s.p, s.y, w), note=_no_variation),
    Endpoint("calibration_in_the_large", "zero", lambda s, w: mean_residual(s.p, s.y, w)),
)

CONTINUOUS_EXTRA = (
    Endpoint("mae", "lower", lambda s, w: weighted_mean(np.abs(s.y - s.p), w)),
    Endpoint("interval_score", "lower", _interval_score, note=_no_spread),
)

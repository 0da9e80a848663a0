"""The recalibration ladder of an external validation: the model as it is, recalibrated in the large, and with intercept and slope, on the external rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import expit

from equipoise.contract.counter import numpy_stream
from equipoise.stats.recalibration import calibration_in_the_large, calibration_slope, log_odds
from equipoise.stats.regression import linear_slope, mean_residual
from equipoise.trial.censoring import known_of
from equipoise.trial.compare import endpoint_table
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.judged import Judged
from equipoise.trial.protocol import Protocol
from equipoise.trial.rows import Forecasts, Rows
from equipoise.trial.sample import Sample

FOLDS = 5
RUNGS = {"in_the_large": "in the large (intercept only)", "intercept_and_slope": "intercept and slope"}
Line = tuple[float, float]
"""Intercept and slope on the scale where the risk is linear."""
Fit = Callable[[Rows, Forecasts, np.ndarray, int, bool, Protocol], Line]


def ladder(rows: Rows, protocol: Protocol, endpoints: tuple[Endpoint, ...], model: str, scenario: str) -> dict[str, Any]:
    """Endpoints of a model after local recalibration, cross-fitted: no row is recalibrated by its own outcome.

    ==================  ==========================  ===============================================================================
    kind                in_the_large                intercept_and_slope
    binary              logit p' = a + logit p      logit p' = a + b logit p, both by maximum likelihood, no penalty
    time_to_event       the same at each horizon    the same, rows weighted for censoring; a risk never falls with the horizon
    continuous          m' = a + m                  m' = a + b m by least squares; the predictive variance is scaled by the share of
                                                    the mean squared error that is left
    ==================  ==========================  ===============================================================================

    Clusters are divided into folds at random (protocol's seed); each fold's rows are recalibrated by the rows of the others. Intervals resample
    the judged clusters, not the recalibration. Lines fitted without a fold scatter against it, so the calibration slope afterwards lies a little below 1
    (0.97 for 1,000 rows in a simulation where the lines are right, `tests/trial/test_recalibration_ladder.py`).

    Args:
        rows: the judged rows.
        protocol: its seed, level, resamples.
        endpoints: which ones.
        model: whose answers.
        scenario: under which they stand in ``rows.forecasts``.

    Returns:
        "rungs": rung -> {"endpoints", "lines": [intercept, slope] of each fold and label}, "folds", "note"; a rung that could not be fitted in some
        fold has neither and says why in "note".

    Source: ours; the steps after Steyerberg (2009), chapter 20, methods 1 to 3; Vergouwe et al. (2017) Stat Med 36:4529.
    """
    if rows.kind not in ("binary", "continuous", "time_to_event"):
        return {"rungs": {}, "folds": 0, "note": f"not made for a {rows.kind.replace('_', ' ')} outcome"}
    own = rows.forecasts[(model, scenario)]
    used = rows.observed & own.given
    if np.unique(rows.cluster[used]).size < FOLDS:
        return {"rungs": {}, "folds": 0, "note": f"not made: fewer than {FOLDS} clusters"}
    fold = _folds(rows.cluster, protocol.seed)
    made: dict[str, Any] = {}
    arms = {rung: _recalibrated(rows, own, used, fold, protocol, slope=rung == "intercept_and_slope") for rung in RUNGS}
    fitted = {rung: forecasts for rung, (forecasts, _, why) in arms.items() if not why}
    judged = Judged(replace(rows, forecasts={(model, rung): f for rung, f in fitted.items()}), protocol, endpoints, np.empty(rows.size), np.empty(0))
    judged.resample([], [(model, rung) for rung in fitted])
    for rung, (_, lines, why) in arms.items():
        made[rung] = {"note": why} if why else {"endpoints": endpoint_table(judged, (model, rung)), "lines": lines}
    return {"rungs": made, "folds": FOLDS, "note": ""}


def _folds(cluster: np.ndarray, seed: int) -> np.ndarray:
    """A fold for each row, i64 (n,); clusters stay together and folds differ by one cluster at most."""
    n = int(cluster.max()) + 1
    return (numpy_stream("recalibration ladder", seed).permutation(n) % FOLDS)[cluster]


def _recalibrated(
    rows: Rows, own: Forecasts, used: np.ndarray, fold: np.ndarray, protocol: Protocol, *, slope: bool
) -> tuple[Forecasts, list[list[list[float]]], str]:
    """Recalibrated answers; the line of each fold and label; and why there is none."""
    fit: dict[str, Fit] = {"binary": _binary, "time_to_event": _at_horizon, "continuous": _continuous}
    risk, total, lines = own.risk.copy(), own.total.copy(), []
    for k in range(FOLDS):
        teaching, taught = used & (fold != k), fold == k
        by_label = [fit[rows.kind](rows, own, teaching, label, slope, protocol) for label in range(len(rows.labels))]
        if not np.isfinite(by_label).all():
            return own, [], "it could not be fitted in every fold: too few events, or risks that do not vary"
        for label, (a, b) in enumerate(by_label):
            x = own.risk[taught, label]
            risk[taught, label] = a + b * x if rows.kind == "continuous" else expit(a + b * log_odds(x))
        if rows.kind == "continuous":
            total[taught] *= _share_left(rows, own, teaching, *by_label[0], n_fitted=2 if slope else 1)
        lines.append([list(line) for line in by_label])
    if rows.kind == "time_to_event":
        # Recalibrated one by one, horizons may cross; the later risk is then raised to the earlier.
        risk = np.where(np.isnan(risk), np.nan, np.fmax.accumulate(risk, axis=1))
    nothing = np.full_like(risk, np.nan)
    return replace(own, risk=risk, total=total, lo=nothing, hi=nothing, aleatoric=nothing, epistemic=nothing), lines, ""


def _binary(rows: Rows, own: Forecasts, where: np.ndarray, label: int, slope: bool, protocol: Protocol) -> Line:
    return _logistic(own.risk[where, label], rows.outcome[where, label], rows.weight[where], slope)


def _at_horizon(rows: Rows, own: Forecasts, where: np.ndarray, label: int, slope: bool, protocol: Protocol) -> Line:
    """The status at the horizon, with the protocol's model of censoring and of late entries, as the endpoints have it."""
    nothing = np.full(rows.size, np.nan)
    sample, known = known_of(Sample.of(rows, own, where, protocol, nothing, np.empty(0)), rows.horizons_days[label])
    return _logistic(sample.risk[:, label], known.status, known.weight, slope)


def _logistic(risk: np.ndarray, outcome: np.ndarray, weight: np.ndarray, slope: bool) -> Line:
    """Given the slope, the intercept of the maximum is that of calibration in the large of the sloped risks."""
    b = float(calibration_slope(risk, outcome, weight)) if slope else 1.0
    sloped = expit(b * log_odds(risk)) if slope else risk
    return float(calibration_in_the_large(sloped, outcome, weight)), b


def _continuous(rows: Rows, own: Forecasts, where: np.ndarray, label: int, slope: bool, protocol: Protocol) -> Line:
    m, y, w = own.risk[where, label], rows.outcome[where, label], rows.weight[where]
    b = float(linear_slope(m, y, w)) if slope else 1.0
    return float(mean_residual(b * m, y, w)), b


def _share_left(rows: Rows, own: Forecasts, where: np.ndarray, a: float, b: float, *, n_fitted: int) -> float:
    """Residual variance after over mean squared error before."""
    m, y, w = own.risk[where, 0], rows.outcome[where, 0], rows.weight[where]
    before = float(np.average((y - m) ** 2, weights=w))
    after = float(np.average((y - a - b * m) ** 2, weights=w)) * len(y) / max(len(y) - n_fitted, 1)
    return after / before if before > 0 else 1.0

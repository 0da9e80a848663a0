"""Endpoints of a treatment effect, from doubly robust scores: nobody's effect is observed, but its mean in a group can be estimated."""

from __future__ import annotations

import numpy as np

from equipoise.stats.aipw import average_effect, doubly_robust_scores, effect_slope, top_minus_bottom
from equipoise.stats.estimate import Estimate
from equipoise.stats.regression import varies
from equipoise.stats.scores import log_score, normal_log_score
from equipoise.stats.weighting import weighted_mean
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.protocol import Protocol
from equipoise.trial.rows import Forecasts, Rows
from equipoise.trial.sample import Sample

MU0, MU1, EFFECT = 0, 1, 2


def propensities(rows: Rows, forecasts: Forecasts, protocol: Protocol) -> tuple[np.ndarray, str]:
    """P(treated) for each row, f64 (n,), and what is to be said about it.

    The model's own where it states one for every judged row, else the share treated, which is right only where treatment was randomised.
    """
    known = rows.observed & forecasts.given
    stated = forecasts.propensity
    if known.any() and np.isfinite(stated[known]).all():
        clip = protocol.propensity_clip
        outside = int(((stated[known] < clip) | (stated[known] > 1 - clip)).sum())
        note = "propensity as predicted by the model"
        note += f", {outside} of them read as {clip:g} from 0 or 1" if outside else ""
        return np.clip(np.where(np.isfinite(stated), stated, 0.5), clip, 1 - clip), note
    share = float(np.average(rows.treatment[known] == 1, weights=rows.weight[known])) if known.any() else 0.5
    share = float(np.clip(share, protocol.propensity_clip, 1 - protocol.propensity_clip))
    return np.full(rows.size, share), "no propensity was stated: the share treated serves, which is right only where treatment was randomised"


def scores(rows: Rows, forecasts: Forecasts, propensity: np.ndarray) -> np.ndarray:
    """Doubly robust scores f64 (n,), NaN without outcome or prediction; one set for all models, so that they are judged by one measure."""
    known = np.flatnonzero(rows.observed & forecasts.given)
    made = np.full(rows.size, np.nan)
    risk = forecasts.risk[known]
    made[known] = doubly_robust_scores(rows.outcome[known, 0], rows.treatment[known], risk[:, MU0], risk[:, MU1], propensity[known])
    return made


def _own_scores(s: Sample) -> np.ndarray:
    return doubly_robust_scores(s.y, s.treatment, s.risk[:, MU0], s.risk[:, MU1], s.propensity)


def _average_interval(s: Sample, level: float) -> Estimate:
    return average_effect(_own_scores(s), level, s.cluster)


def _received(s: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Predicted mean and variance in the arm that was received, each f64 (n,)."""
    arm = (np.arange(s.size), np.where(s.treatment == 1, MU1, MU0))
    return s.risk[arm], s.total[arm]


def _is_binary(s: Sample) -> bool:
    return bool(np.isin(s.y, (0.0, 1.0)).all() and ((s.risk[:, :2] >= 0) & (s.risk[:, :2] <= 1)).all())


def _log_score(s: Sample, w: np.ndarray) -> np.ndarray:
    mean, variance = _received(s)
    if _is_binary(s):
        return weighted_mean(log_score(mean, s.y), w)
    if not (np.isfinite(variance) & (variance > 0)).all():
        return np.full(w.shape[:-1], np.nan)
    return weighted_mean(normal_log_score(mean, np.sqrt(variance), s.y), w)


def _log_score_note(s: Sample) -> str:
    if _is_binary(s):
        return "of the outcome in the arm that was received"
    lacking = int((~(_received(s)[1] > 0)).sum())
    return f"no predictive variance (column total) in {lacking} rows" if lacking else "of a normal distribution, in the arm that was received"


def _rmse(s: Sample, w: np.ndarray) -> np.ndarray:
    return np.sqrt(weighted_mean((s.y - _received(s)[0]) ** 2, w))


def _no_variation(s: Sample) -> str:
    return "the predicted effect does not vary" if s.size and not varies(s.risk[:, EFFECT]) else "from doubly robust scores"


TREATMENT_EFFECT = (
    Endpoint("average_effect", "", lambda s, w: weighted_mean(_own_scores(s), w), interval=_average_interval),
    Endpoint("effect_slope", "one", lambda s, w: effect_slope(s.score, s.risk[:, EFFECT], w), note=_no_variation),
    Endpoint("top_minus_bottom", "higher", lambda s, w: top_minus_bottom(s.score, s.risk[:, EFFECT], w), note=_no_variation),
    Endpoint(
        "effect_loss",
        "lower",
        lambda s, w: weighted_mean((s.score - s.risk[:, EFFECT]) ** 2, w),
        note=lambda s: "mean squared distance of the predicted effect from the doubly robust score; only differences between models mean something",
    ),
    Endpoint("log_score", "lower", _log_score, note=_log_score_note),
    Endpoint("received_rmse", "lower", _rmse),
)

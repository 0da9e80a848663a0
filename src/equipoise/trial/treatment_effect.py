"""Endpoints of a treatment effect, from doubly robust scores: nobody's effect is observed, but its mean in a group can be estimated.

Rankings, slopes and rules are judged within each fold of a cross-validation and averaged, with Nadeau and Bengio's interval: predictions of different
folds do not rank against each other, and folds that trained on each other's rows are not independent (pooled, an interval that takes them for
independent excludes 0 in 14 to 19 % of trials without heterogeneity, `tests/stats/test_effect_rejections.py`).
"""

from __future__ import annotations

import numpy as np

from equipoise.contract.tables import SCENARIO_ALL
from equipoise.stats.aipw import average_effect, best_linear_predictor, doubly_robust_scores, effect_slope, top_minus_bottom
from equipoise.stats.effect_ranking import area_interval, autoc, qini
from equipoise.stats.estimate import Estimate
from equipoise.stats.policy import gain_over_better_arm, gain_over_better_arm_interval, policy_gain, policy_gain_interval
from equipoise.stats.recalibration import recalibrated
from equipoise.stats.regression import varies
from equipoise.stats.scores import log_score, normal_log_score
from equipoise.stats.weighting import weighted_mean
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.protocol import Protocol
from equipoise.trial.rows import Forecasts, Rows
from equipoise.trial.sample import Sample

MU0, MU1, EFFECT = 0, 1, 2
_FROM = "from doubly robust scores on the mean of all models' outcome regressions"


def propensities(rows: Rows, protocol: Protocol) -> tuple[np.ndarray, str]:
    """P(treated) for each row, f64 (n,), and what is to be said about it.

    What is stated in the table (by several models: their mean), put on the scale of the judged rows by a logistic regression of the treatment on
    it: a statement that knows nothing becomes the share treated, one that is too extreme is drawn in. Where nothing is stated for every row, the
    share treated, which is right only where treatment was randomised.
    """
    known, clip = _known(rows), protocol.propensity_clip
    treated, weight = (rows.treatment[known] == 1).astype(np.float64), rows.weight[known]
    share = float(np.average(treated, weights=weight)) if known.any() else 0.5
    made = np.full(rows.size, float(np.clip(share, clip, 1 - clip)))
    stating = {arm[0]: f.propensity[known] for arm, f in _all(rows).items() if known.any() and np.isfinite(f.propensity[known]).all()}
    if not stating:
        return made, "no propensity was stated: the share treated serves, which is right only where treatment was randomised"
    note = f"propensity as stated ({', '.join(stating)}), recalibrated on the judged rows"
    fitted = recalibrated(np.mean(list(stating.values()), axis=0), treated, weight)
    if not np.isfinite(fitted).all():
        return made, f"{note}: it does not vary, or has no scale there, and the share treated serves"
    outside = int(((fitted < clip) | (fitted > 1 - clip)).sum())
    made[known] = np.clip(fitted, clip, 1 - clip)
    return made, note + (f", {outside} of them read as {clip:g} from 0 or 1" if outside else "")


def scores(rows: Rows, propensity: np.ndarray) -> np.ndarray:
    """Doubly robust scores f64 (n,), NaN without outcome or prediction; one set for all models, so that they are judged by one measure.

    The outcome regressions are the means over all models of the table. Any one model's own would favour it: where the propensity is wrong, the
    scores lean towards the outcome regressions that they are built on.
    """
    known = np.flatnonzero(_known(rows))
    made = np.full(rows.size, np.nan)
    mu = mean_of_given(rows, known)
    made[known] = doubly_robust_scores(rows.outcome[known, 0], rows.treatment[known], mu[:, MU0], mu[:, MU1], propensity[known])
    return made


def _all(rows: Rows) -> dict[tuple[str, str], Forecasts]:
    """Every model with all evidences as observed; scenarios are the same models once more."""
    return {arm: forecasts for arm, forecasts in rows.forecasts.items() if arm[1] == SCENARIO_ALL}


def _known(rows: Rows) -> np.ndarray:
    """bool (n,): rows with an outcome and some model's prediction."""
    return rows.observed & np.logical_or.reduce([f.given for f in _all(rows).values()])


def mean_of_given(rows: Rows, where: np.ndarray) -> np.ndarray:
    """Mean over models of what they predict for these rows, (m, L), models without a prediction of a row left out; NaN where no model has one."""
    stacked = np.stack([f.risk[where] for f in _all(rows).values()])
    given = np.isfinite(stacked).all(axis=2, keepdims=True)
    n = given.sum(0)
    return np.divide(np.where(given, stacked, 0.0).sum(0), n, out=np.full(stacked.shape[1:], np.nan), where=n > 0)


def _own_scores(s: Sample) -> np.ndarray:
    return doubly_robust_scores(s.y, s.treatment, s.risk[:, MU0], s.risk[:, MU1], s.propensity)


def _average_interval(s: Sample, level: float) -> Estimate:
    return average_effect(_own_scores(s), level, s.cluster)


def _received(s: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Predicted mean and variance in the arm that was received, each f64 (n,)."""
    arm = (np.arange(s.size), np.where(s.treatment == 1, MU1, MU0))
    return s.risk[arm], s.total[arm]


def _is_timed(s: Sample) -> bool:
    """Whether the outcome is a status at a horizon, stood for where censoring hides it (`effect_at_horizon`)."""
    return bool((s.event >= 0).any())


def _is_binary(s: Sample) -> bool:
    return bool(np.isin(s.y, (0.0, 1.0)).all() and ((s.risk[:, :2] >= 0) & (s.risk[:, :2] <= 1)).all())


def _log_score(s: Sample, w: np.ndarray) -> np.ndarray:
    mean, variance = _received(s)
    if _is_timed(s):  # the score is linear in the outcome, so what stands for it gives the right mean
        return weighted_mean(s.y * log_score(mean, np.ones(s.size)) + (1 - s.y) * log_score(mean, np.zeros(s.size)), w)
    if _is_binary(s):
        return weighted_mean(log_score(mean, s.y), w)
    if not (np.isfinite(variance) & (variance > 0)).all():
        return np.full(w.shape[:-1], np.nan)
    return weighted_mean(normal_log_score(mean, np.sqrt(variance), s.y), w)


def _log_score_note(s: Sample) -> str:
    if _is_timed(s):
        return "of the status at the horizon in the arm that was received, weighted for censoring"
    if _is_binary(s):
        return "of the outcome in the arm that was received"
    lacking = int((~(_received(s)[1] > 0)).sum())
    return f"no predictive variance (column total) in {lacking} rows" if lacking else "of a normal distribution, in the arm that was received"


def _rmse(s: Sample, w: np.ndarray) -> np.ndarray:
    if _is_timed(s):  # y^2 = y for a status, and then the square is linear in it too
        mean, _ = _received(s)
        return np.sqrt(np.maximum(weighted_mean(s.y * (1 - 2 * mean) + mean**2, w), 0.0))
    return np.sqrt(weighted_mean((s.y - _received(s)[0]) ** 2, w))


def _no_variation(s: Sample) -> str:
    return "the predicted effect does not vary" if s.size and not varies(s.risk[:, EFFECT]) else _FROM


def _clusters(s: Sample) -> np.ndarray | None:
    return s.cluster if s.clustered else None


def _slope_interval(s: Sample, level: float) -> Estimate:
    return best_linear_predictor(s.score, s.risk[:, EFFECT], level, _clusters(s)).heterogeneity


def _gained(s: Sample) -> np.ndarray:
    """Doubly robust scores of what treating gains, f64 (n,): the effect, turned where the protocol says that a lower outcome is better."""
    return s.score if s.protocol.better_outcome == "higher" else -s.score


def _benefit(s: Sample) -> np.ndarray:
    """The predicted effect, turned in the same way, f64 (n,)."""
    return s.risk[:, EFFECT] if s.protocol.better_outcome == "higher" else -s.risk[:, EFFECT]


def _baseline(s: Sample) -> np.ndarray:
    """The ranking by baseline risk alone, f64 (n,): mu0, turned by the sign of the model's mean predicted benefit.

    Were the effect the same on a ratio scale, it would be proportional to mu0, and this order that of the benefit.
    """
    return np.where(_benefit(s).mean() < 0, -1.0, 1.0) * s.risk[:, MU0]


def _over_baseline(s: Sample, w: np.ndarray) -> np.ndarray:
    return autoc(_gained(s), _benefit(s), w) - autoc(_gained(s), _baseline(s), w)


def _treats(s: Sample) -> np.ndarray:
    """The model's rule, bool (n,): treat where the predicted effect is a benefit."""
    return _benefit(s) > 0


def _rule_note(s: Sample) -> str:
    share = float(np.average(_treats(s), weights=s.weight)) if s.size and s.weight.sum() > 0 else 0.0
    better = s.protocol.better_outcome
    return f"in the outcome's unit, {better} is better; the rule treats the {share:.1%} with a predicted effect {'above' if better == 'higher' else 'below'} 0"


TREATMENT_EFFECT = (
    Endpoint("average_effect", "", lambda s, w: weighted_mean(_own_scores(s), w), interval=_average_interval),
    Endpoint(
        "effect_slope", "one", lambda s, w: effect_slope(s.score, s.risk[:, EFFECT], w), pooling="within_fold", interval=_slope_interval, note=_no_variation
    ),
    Endpoint("top_minus_bottom", "higher", lambda s, w: top_minus_bottom(s.score, s.risk[:, EFFECT], w), pooling="within_fold", note=_no_variation),
    Endpoint(
        "autoc",
        "higher",
        lambda s, w: autoc(_gained(s), _benefit(s), w),
        pooling="within_fold",
        interval=lambda s, level: area_interval(_gained(s), _benefit(s), "autoc", level, _clusters(s)),
        note=_no_variation,
    ),
    Endpoint(
        "qini",
        "higher",
        lambda s, w: qini(_gained(s), _benefit(s), w),
        pooling="within_fold",
        interval=lambda s, level: area_interval(_gained(s), _benefit(s), "qini", level, _clusters(s)),
        note=_no_variation,
    ),
    Endpoint(
        "autoc_baseline_risk",
        "",
        lambda s, w: autoc(_gained(s), _baseline(s), w),
        pooling="within_fold",
        interval=lambda s, level: area_interval(_gained(s), _baseline(s), "autoc", level, _clusters(s)),
        note=lambda s: "of the ranking by the model's outcome without treatment, in the direction of its mean predicted benefit",
    ),
    Endpoint(
        "autoc_over_baseline_risk",
        "higher",
        _over_baseline,
        pooling="within_fold",
        note=lambda s: "autoc minus autoc_baseline_risk: what the predicted effect ranks better than the outcome without treatment alone",
    ),
    Endpoint(
        "policy_value_gain",
        "higher",
        lambda s, w: gain_over_better_arm(_gained(s), _treats(s), w),
        pooling="within_fold",
        interval=lambda s, level: gain_over_better_arm_interval(_gained(s), _treats(s), level, _clusters(s)),
        note=lambda s: f"over the better of treating all and treating nobody, {_rule_note(s)}",
    ),
    Endpoint(
        "policy_value_gain@treat_all",
        "higher",
        lambda s, w: policy_gain(_gained(s), _treats(s), 1.0, w),
        pooling="within_fold",
        interval=lambda s, level: policy_gain_interval(_gained(s), _treats(s), 1.0, level, _clusters(s)),
        note=_rule_note,
    ),
    Endpoint(
        "policy_value_gain@treat_none",
        "higher",
        lambda s, w: policy_gain(_gained(s), _treats(s), 0.0, w),
        pooling="within_fold",
        interval=lambda s, level: policy_gain_interval(_gained(s), _treats(s), 0.0, level, _clusters(s)),
        note=_rule_note,
    ),
    Endpoint(
        "effect_loss",
        "lower",
        lambda s, w: weighted_mean((s.score - s.risk[:, EFFECT]) ** 2, w),
        note=lambda s: f"mean squared distance of the predicted effect, {_FROM}; only differences between models mean something",
    ),
    Endpoint("log_score", "lower", _log_score, note=_log_score_note),
    Endpoint("received_rmse", "lower", _rmse),
)

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from statsmodels.api import GLM, add_constant
from statsmodels.genmod.families import Binomial

from equipoise.calibration.logistic import LogisticCalibration
from equipoise.contract.counter import numpy_stream
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.testing.calibration_laws import QUESTIONS, sample_risks


def logistic(*, min_events: int = 10, prior_scale: float = 2.5) -> LogisticCalibration:
    return LogisticCalibration(min_events=min_events, prior_scale=prior_scale)


def fitted(question: Question, risk: np.ndarray, outcome: np.ndarray, **settings: float) -> LogisticCalibration:
    calibration = logistic(**settings)  # type: ignore[arg-type]
    calibration.fit(question, risk, outcome, np.ones(len(risk), dtype=bool))
    return calibration


def test_without_a_prior_binary_recalibration_is_logistic_regression() -> None:
    risk, outcome, _ = sample_risks(QUESTIONS["binary"])
    found = fitted(QUESTIONS["binary"], risk, outcome, prior_scale=1e6)
    expected = GLM(outcome, add_constant(logit(risk[:, 0])), family=Binomial()).fit(tol=1e-12).params
    assert np.r_[found.intercept, found.slope] == pytest.approx(expected, abs=1e-6)


def test_a_known_miscalibration_is_undone() -> None:
    risk, outcome, _ = sample_risks(QUESTIONS["binary"], n=20_000)  # raw logit 2 x + 1, true logit x
    found = fitted(QUESTIONS["binary"], risk, outcome)
    assert found.slope.item() == pytest.approx(0.5, abs=0.02)
    assert found.intercept.item() == pytest.approx(-0.5, abs=0.04)
    assert np.abs(found.apply(risk)[:, 0] - expit((logit(risk[:, 0]) - 1) / 2)).max() < 0.01


def test_the_prior_holds_separated_classes_finite() -> None:
    risk = np.r_[np.full(20, 0.2), np.full(20, 0.8)][:, None]
    found = fitted(QUESTIONS["binary"], risk, np.repeat([0.0, 1.0], 20))
    assert 1 < found.slope.item() < 10
    assert found.note == ""


def test_risks_that_fall_with_the_outcome_keep_their_order_and_are_only_shifted() -> None:
    risk, outcome, _ = sample_risks(QUESTIONS["binary"])
    found = fitted(QUESTIONS["binary"], 1 - risk, outcome)
    assert found.slope.item() == 1
    assert "only the intercept" in found.note
    assert found.apply(1 - risk).mean() == pytest.approx(outcome.mean(), abs=0.005)


def test_too_few_of_either_class_are_refused_with_both_counts() -> None:
    risk, outcome, _ = sample_risks(QUESTIONS["binary"])
    outcome = np.zeros(len(outcome))
    outcome[:9] = 1
    with pytest.raises(UserError, match=r"'died' has too few .* at least 10 rows of each class.*0: 491, 1: 9"):
        fitted(QUESTIONS["binary"], risk, outcome)
    assert fitted(QUESTIONS["binary"], risk, outcome, min_events=9).slope.item() > 0


def test_multiclass_temperature_and_intercepts_are_recovered() -> None:
    risk, outcome, _ = sample_risks(QUESTIONS["multiclass"], n=20_000)  # log raw = 2 eta + (0, .5, -.5) + const
    found = fitted(QUESTIONS["multiclass"], risk, outcome)
    assert found.slope.item() == pytest.approx(0.5, abs=0.02)
    assert found.intercept - found.intercept[0] == pytest.approx([0, -0.25, 0.25], abs=0.06)
    after = found.apply(risk)
    share = np.bincount(outcome.astype(int)) / len(outcome)
    assert after.mean(0) == pytest.approx(share, abs=0.002)


def test_a_rare_class_keeps_intercept_zero_and_one_common_class_is_refused() -> None:
    risk, outcome, _ = sample_risks(QUESTIONS["multiclass"])
    kept = np.r_[np.flatnonzero(outcome != 2), np.flatnonzero(outcome == 2)[:3]]
    found = fitted(QUESTIONS["multiclass"], risk[kept], outcome[kept])
    assert found.intercept[2] == 0
    assert "1 classes with fewer than 10 rows" in found.note
    few = np.r_[np.flatnonzero(outcome == 0), np.flatnonzero(outcome == 1)[:3]]
    with pytest.raises(UserError, match=r"a: \d+, b: 3, c: 0"):
        fitted(QUESTIONS["multiclass"], risk[few], outcome[few])


def test_classes_whose_probabilities_mislead_are_only_shifted() -> None:
    risk, outcome, _ = sample_risks(QUESTIONS["multiclass"])
    wrong = (1 / risk) / (1 / risk).sum(1, keepdims=True)
    found = fitted(QUESTIONS["multiclass"], wrong, outcome)
    assert found.slope.item() == 1
    assert "only the intercepts" in found.note


def test_a_continuous_prediction_is_recalibrated_by_least_squares() -> None:
    mean, y, _ = sample_risks(QUESTIONS["continuous"])
    found = fitted(QUESTIONS["continuous"], mean, y)
    slope, intercept = np.polyfit(mean[:, 0], y, 1)
    assert np.r_[found.intercept, found.slope] == pytest.approx([intercept, slope])
    residual = y - intercept - slope * mean[:, 0]
    assert found.variance_factor == pytest.approx((residual**2).sum() / (len(y) - 2) / ((y - mean[:, 0]) ** 2).mean())
    assert found.variance_factor < 0.3
    constant = fitted(QUESTIONS["continuous"], np.full_like(mean, 7.0), y)
    assert constant.apply(np.array([[7.0]])).item() == pytest.approx(y.mean())
    with pytest.raises(UserError, match=r"at least 10 rows.* 9 rows"):
        fitted(QUESTIONS["continuous"], mean[:9], y[:9])


def survivors(n: int, rate: float = 1 / 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True risks of cause 1 by 200 and 500 days, their overconfident version, and outcomes censored by up to half at 500 days."""
    rng = numpy_stream("survivors", n)
    x = rng.standard_normal(n)
    cause, other = rate * np.exp(x), np.full(n, 1 / 1500)
    latent = np.stack([rng.exponential(500, n), rng.exponential(1 / cause), rng.exponential(1 / other)])
    horizons = np.array(QUESTIONS["time_to_event"].horizons_days)
    truth = (cause / (cause + other))[:, None] * -np.expm1(-(cause + other)[:, None] * horizons)
    return truth, expit(1.6 * logit(truth) + 0.7), np.column_stack([latent.min(0), latent.argmin(0), np.zeros(n)])


def test_risks_by_a_horizon_are_recovered_although_half_are_censored() -> None:
    truth, raw, outcome = survivors(30_000)
    assert ((outcome[:, 1] == 0) & (outcome[:, 0] < 500)).mean() > 0.3
    found = fitted(QUESTIONS["time_to_event"], raw, outcome)
    assert found.slope == pytest.approx([1 / 1.6] * 2, abs=0.03)
    assert np.abs(found.apply(raw) - truth).max() < 0.04
    # Without the weights the early events of the censored would be counted and their survival forgotten.
    known = (outcome[:, 1] > 0) | (outcome[:, 0] >= 500)
    naive = ((outcome[:, 1] == 1) & (outcome[:, 0] <= 500))[known].mean()
    assert abs(found.apply(raw)[:, 1].mean() - truth[:, 1].mean()) < 0.01
    assert abs(naive - truth[:, 1].mean()) > 0.03


def test_crossing_horizons_are_raised_to_the_earlier_one() -> None:
    _, raw, outcome = survivors(2000)
    found = fitted(QUESTIONS["time_to_event"], raw, outcome)
    found.intercept[1] -= 5
    after = found.apply(raw)
    assert np.array_equal(after[:, 0], after[:, 1])


def test_rows_that_entered_late_are_left_out_and_said_so() -> None:
    _, raw, outcome = survivors(2000)
    late = np.arange(2000) < 500
    mixed = outcome.copy()
    mixed[late, 2] = 0.5 * mixed[late, 0]
    found, expected = fitted(QUESTIONS["time_to_event"], raw, mixed), fitted(QUESTIONS["time_to_event"], raw[~late], outcome[~late])
    assert np.array_equal(found.apply(raw), expected.apply(raw))
    assert "500 rows with a late entry" in found.note


def test_a_horizon_that_nobody_reached_is_refused_with_the_counts() -> None:
    _, raw, outcome = survivors(300)
    short = outcome.copy()
    short[short[:, 0] > 450] = [450, 0, 0]
    with pytest.raises(UserError, match="without the event by 500 days: "):
        fitted(QUESTIONS["time_to_event"], raw, short, min_events=60)


def test_a_treatments_effect_is_left_as_it_is() -> None:
    risk, outcome, _ = sample_risks(QUESTIONS["treatment_effect"])
    found = fitted(QUESTIONS["treatment_effect"], risk, outcome)
    assert np.array_equal(found.apply(risk), risk)
    assert "not recalibrated" in found.note


def test_fitting_again_forgets_the_first_fit() -> None:
    risk, outcome, _ = sample_risks(QUESTIONS["binary"])
    twice = fitted(QUESTIONS["binary"], 1 - risk, outcome)
    twice.fit(QUESTIONS["binary"], risk, outcome, np.ones(len(risk), dtype=bool))
    assert twice.state() == fitted(QUESTIONS["binary"], risk, outcome).state()
    assert math.isfinite(twice.slope.item())

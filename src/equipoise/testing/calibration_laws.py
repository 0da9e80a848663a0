"""Laws of calibrations. A package with one of its own inherits `CalibrationLaws` and overrides the fixture ``node``."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from equipoise.calibration import Calibration
from equipoise.contract.counter import numpy_stream
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.testing.discovery import options

QUESTIONS = {
    "binary": Question("t", "died", "binary", ()),
    "multiclass": Question("t", "severity", "multiclass", (), classes=("a", "b", "c")),
    "continuous": Question("t", "weight", "continuous", ()),
    "time_to_event": Question("t", "survival", "time_to_event", (), horizons_days=(200.0, 500.0)),
    "treatment_effect": Question("t", "response", "treatment_effect", ()),
}


class CalibrationLaws:
    """Raw risks -> risks, for every kind of question: increasing, NaN stays NaN, classes sum to one, too few rows are refused by count."""

    @pytest.fixture(params=sorted(options("calibration")))
    def node(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        """The config node of one calibration."""
        return options("calibration")[request.param]

    @pytest.fixture(params=sorted(QUESTIONS))
    def question(self, request: pytest.FixtureRequest) -> Question:
        return QUESTIONS[request.param]

    @pytest.fixture
    def fitted(self, node: dict[str, Any], question: Question) -> Calibration:
        return fit(node, question, *sample_risks(question))

    def test_risks_keep_their_shape_and_support_and_the_input_is_left_alone(self, fitted: Calibration, question: Question) -> None:
        risk, _, _ = sample_risks(question)
        before = risk.copy()
        after = fitted.apply(risk)
        assert np.array_equal(before, risk)
        assert after.shape == risk.shape
        assert after.dtype == np.float64
        assert np.isfinite(after).all()
        if question.kind in ("binary", "multiclass", "time_to_event"):
            assert ((after >= 0) & (after <= 1)).all()
        if question.kind == "multiclass":
            assert np.allclose(after.sum(1), 1)
        if question.kind == "time_to_event":
            assert (np.diff(after, axis=1) >= 0).all()

    def test_a_risk_of_zero_or_one_stays_a_probability(self, fitted: Calibration, question: Question) -> None:
        if question.kind in ("binary", "time_to_event"):
            after = fitted.apply(np.tile([[0.0], [1.0]], (1, len(question.labels))))
            assert np.isfinite(after).all()
        if question.kind == "multiclass":
            assert np.allclose(fitted.apply(np.eye(3)).sum(1), 1)

    def test_a_higher_raw_risk_never_gives_a_lower_risk(self, fitted: Calibration, question: Question) -> None:
        base = sample_risks(question)[0][0]
        for column in range(len(base)):
            grid = np.linspace(0.001, 0.999, 101)
            if question.kind == "multiclass":
                rest = np.delete(base, column) / np.delete(base, column).sum()
                risk = np.insert(rest * (1 - grid[:, None]), column, grid, axis=1)
            else:
                risk = np.tile(base, (101, 1))
                risk[:, column] = grid
            assert (np.diff(fitted.apply(risk)[:, column]) >= 0).all()

    def test_rows_that_abstain_stay_nan_and_leave_the_others_alone(self, fitted: Calibration, question: Question) -> None:
        risk, _, _ = sample_risks(question)
        hidden = risk.copy()
        hidden[::3] = math.nan
        after = fitted.apply(hidden)
        assert np.isnan(after[::3]).all()
        kept = np.arange(len(risk)) % 3 != 0
        assert np.array_equal(after[kept], fitted.apply(risk)[kept])

    def test_rows_without_outcome_or_risk_change_nothing(self, node: dict[str, Any], question: Question, fitted: Calibration) -> None:
        risk, outcome, observed = sample_risks(question)
        gap = math.nan
        risk_more = np.concatenate([risk, risk[:50], np.full_like(risk[:50], gap)])
        outcome_more = np.concatenate([outcome, np.full_like(outcome[:50], gap), outcome[:50]])
        observed_more = np.concatenate([observed, np.zeros(50, dtype=bool), np.ones(50, dtype=bool)])
        again = fit(node, question, risk_more, outcome_more, observed_more)
        assert np.allclose(again.apply(risk), fitted.apply(risk), rtol=0, atol=1e-12)

    def test_a_loaded_calibration_is_the_saved_one(self, node: dict[str, Any], question: Question, fitted: Calibration) -> None:
        fresh = make(node)
        fresh.load_state(json.loads(json.dumps(fitted.state())))
        risk, _, _ = sample_risks(question)
        assert np.array_equal(fresh.apply(risk), fitted.apply(risk))
        assert fresh.note == fitted.note

    def test_too_few_rows_are_refused_with_the_count_or_change_nothing(self, node: dict[str, Any], question: Question) -> None:
        risk, outcome, observed = sample_risks(question)
        found, few = "", None
        try:
            few = fit(node, question, risk[:1], outcome[:1], observed[:1])
        except UserError as e:
            found = f"{e.thing}; {e.found}"
        if few is not None:
            assert np.array_equal(few.apply(risk), risk)
        else:
            assert question.target in found
            assert any(c.isdigit() for c in found)


def fit(node: dict[str, Any], question: Question, risk: np.ndarray, outcome: np.ndarray, observed: np.ndarray) -> Calibration:
    """A calibration from its config node, fitted."""
    made = make(node)
    assert isinstance(made, Calibration)
    made.fit(question, risk, outcome, observed)
    return made


def sample_risks(question: Question, *, n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overconfident raw risks (n, L), outcomes as `Calibration.fit` takes them, all observed."""
    rng = numpy_stream("sample-risks", seed)
    x = rng.standard_normal(n)
    observed = np.ones(n, dtype=bool)
    match question.kind:
        case "binary":
            return _expit(2 * x + 1)[:, None], (rng.random(n) < _expit(x)).astype(float), observed
        case "multiclass":
            eta = np.stack([np.zeros(n), x, rng.standard_normal(n)], axis=1)
            outcome = (eta + rng.gumbel(size=eta.shape)).argmax(1).astype(float)
            wrong = np.exp(2 * eta + [0.0, 0.5, -0.5])
            return wrong / wrong.sum(1, keepdims=True), outcome, observed
        case "continuous":
            return (2 * x + 1)[:, None], x + 0.5 * rng.standard_normal(n), observed
        case "time_to_event":
            latent = np.stack([rng.uniform(100, 1200, n), rng.exponential(600 * np.exp(-x)), rng.exponential(2000, n)])
            risk = np.sort(np.stack([_expit(2 * x - 1), _expit(2 * x)], axis=1), axis=1)
            return risk, np.stack([latent.min(0), latent.argmin(0).astype(float), np.zeros(n)], axis=1), observed
        case "treatment_effect":
            arms = _expit(np.stack([x, x + 1], axis=1))
            return np.column_stack([arms, arms[:, 1] - arms[:, 0]]), (rng.random(n) < arms[:, 0]).astype(float), observed


def _expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))

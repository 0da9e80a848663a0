"""Logistic recalibration: an intercept and a slope on the scale where the risk is linear, for every kind of outcome."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from scipy.special import expit, softmax

from equipoise.calibration import Calibration, too_few
from equipoise.calibration.censoring import status_at
from equipoise.calibration.log_scale import logits, logs
from equipoise.calibration.newton import conditional_logit
from equipoise.contract.question import Question, TargetKind

_METHOD = "logistic recalibration"


@final
class LogisticCalibration(Calibration):
    """Recalibrates with few parameters, by penalised maximum likelihood.

    ==================  =====================================================================================================
    binary              logit p' = a + b logit p (Platt)
    multiclass          log p'_c = a_c + b log p_c, renormalised: a temperature 1/b and an intercept for each class
    continuous          m' = a + b m by least squares; ``variance_factor`` = residual variance after / mean squared error before
    time to event       logit p'_h = a_h + b_h logit p_h for each horizon, rows weighted for censoring; a risk never falls with the horizon
    treatment effect    unchanged: nobody's two outcomes are observed together
    ==================  =====================================================================================================

    Increasing in the raw risk: where the fitted slope is not above zero, the slope is 1 and only the intercept is fitted, and `note` says so.
    Prior: intercepts ~ N(0, prior_scale^2), slope ~ N(1, prior_scale^2).

    Args:
        min_events: rows needed of either class (each horizon's, for time to event), or in all for a continuous outcome. A class of a multiclass
            outcome with fewer keeps intercept 0; two classes must have enough.
        prior_scale: > 0.

    Source: Cox (1958); Platt (2000), eq. 1; Guo et al. (2017), section 4.2; Graf et al. (1999) for the weights.
    """

    def __init__(self, *, min_events: int, prior_scale: float) -> None:
        self.min_events, self.prior_scale = min_events, float(prior_scale)
        self.kind: TargetKind | None = None
        self.intercept, self.slope = np.zeros(1), np.ones(1)
        self.variance_factor = 1.0

    def fit(self, question: Question, risk_raw: np.ndarray, outcome: np.ndarray, observed: np.ndarray) -> None:
        """Fits on the rows with an observed outcome and a risk (see the class and `Calibration.fit`)."""
        used = observed & ~np.isnan(risk_raw).any(axis=1)
        risk, y = np.asarray(risk_raw, dtype=np.float64)[used], np.asarray(outcome, dtype=np.float64)[used]
        self.kind, self.note, self.variance_factor = question.kind, "", 1.0
        match question.kind:
            case "binary":
                self._refuse(question.target, {"0": int((y == 0).sum()), "1": int((y == 1).sum())})
                fitted = [self._column(risk[:, 0], y.astype(np.int64), np.ones(len(y)), "the risk")]
                self.intercept, self.slope = (np.array(x) for x in zip(*fitted, strict=True))
            case "multiclass":
                self._fit_multiclass(question, risk, y.astype(np.int64))
            case "continuous":
                self._fit_continuous(question, risk[:, 0], y)
            case "time_to_event":
                self._fit_time_to_event(question, risk, y)
            case "treatment_effect":
                self.note = "not recalibrated: nobody's two potential outcomes are observed together"

    def apply(self, risk_raw: np.ndarray) -> np.ndarray:
        """Recalibrated risks, f64 (n, L); NaN where the raw risk is (any class's, for multiclass)."""
        risk = np.array(risk_raw, dtype=np.float64)
        match self.kind:
            case "binary":
                return expit(self.intercept + self.slope * logits(risk))
            case "multiclass":
                return softmax(self.intercept + self.slope * logs(risk), axis=1)
            case "continuous":
                return self.intercept + self.slope * risk
            case "time_to_event":
                # Recalibrated one by one, horizons may cross; the later risk is then raised to the earlier.
                each = expit(self.intercept + self.slope * logits(risk))
                return np.where(np.isnan(risk), np.nan, np.fmax.accumulate(each, axis=1))
            case _:
                return risk

    def state(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "intercept": self.intercept.tolist(),
            "slope": self.slope.tolist(),
            "variance_factor": self.variance_factor,
            "note": self.note,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.kind, self.note, self.variance_factor = state["kind"], state["note"], float(state["variance_factor"])
        self.intercept, self.slope = np.array(state["intercept"]), np.array(state["slope"])

    def _column(self, risk: np.ndarray, status: np.ndarray, weight: np.ndarray, which: str) -> tuple[float, float]:
        """Intercept and slope of one column of probabilities."""
        x = logits(risk)
        zero, one = np.zeros_like(x), np.ones_like(x)
        design = np.stack([np.stack([zero, zero], -1), np.stack([one, x], -1)], axis=1)
        a, b = conditional_logit(design, np.zeros((len(x), 2)), status, weight, np.array([0.0, 1.0]), self.prior_scale)
        if b > 0:
            return float(a), float(b)
        self._say(f"{which} did not rise with the outcome (slope {b:.2f}): only the intercept was recalibrated")
        (a,) = conditional_logit(design[..., :1], np.stack([zero, x], -1), status, weight, np.zeros(1), self.prior_scale)
        return float(a), 1.0

    def _fit_multiclass(self, question: Question, risk: np.ndarray, y: np.ndarray) -> None:
        n_classes = len(question.classes)
        counts = np.bincount(y, minlength=n_classes)
        enough = np.flatnonzero(counts >= self.min_events)
        if enough.size < 2:
            self._refuse(question.target, dict(zip(question.classes, counts.tolist(), strict=True)))
        if enough.size < n_classes:
            self._say(f"{n_classes - enough.size} classes with fewer than {self.min_events} rows kept intercept 0")
        log_p = logs(risk)
        intercepts = np.broadcast_to(np.eye(n_classes)[:, enough], (len(y), n_classes, enough.size))
        design, centre = np.concatenate([log_p[..., None], intercepts], axis=-1), np.r_[1.0, np.zeros(enough.size)]
        theta = conditional_logit(design, np.zeros_like(log_p), y, np.ones(len(y)), centre, self.prior_scale)
        if theta[0] <= 0:
            self._say(f"the classes' probabilities did not rise with their frequency (slope {theta[0]:.2f}): only the intercepts were recalibrated")
            theta = np.r_[1.0, conditional_logit(intercepts, log_p, y, np.ones(len(y)), np.zeros(enough.size), self.prior_scale)]
        self.slope, self.intercept = theta[:1], np.zeros(n_classes)
        self.intercept[enough] = theta[1:]

    def _fit_continuous(self, question: Question, mean: np.ndarray, y: np.ndarray) -> None:
        needed = max(self.min_events, 3)
        if len(y) < needed:
            raise too_few(question.target, _METHOD, f"at least {needed} rows", f"{len(y)} rows")
        centred = mean - mean.mean()
        slope = float(centred @ y / (centred @ centred)) if np.ptp(mean) > 0 else 0.0
        if slope <= 0:
            self._say(f"the prediction did not rise with the outcome (slope {slope:.2f}): only the intercept was recalibrated")
        slope, n_fitted = (slope, 2) if slope > 0 else (1.0, 1)
        intercept = float(y.mean() - slope * mean.mean())
        before, after = float(((y - mean) ** 2).mean()), float(((y - intercept - slope * mean) ** 2).sum() / (len(y) - n_fitted))
        self.intercept, self.slope = np.array([intercept]), np.array([slope])
        self.variance_factor = after / before if before > 0 else 1.0

    def _fit_time_to_event(self, question: Question, risk: np.ndarray, y: np.ndarray) -> None:
        if late := int((y[:, 2] > 0).sum()):
            self._say(f"{late} rows with a late entry were left out")
        fitted = []
        for column, horizon in enumerate(question.horizons_days):
            rows, status, weight = status_at(y, horizon)
            self._refuse(question.target, {f"without the event by {horizon:g} days": int((status == 0).sum()), "with it": int((status == 1).sum())})
            fitted.append(self._column(risk[rows, column], status, weight, f"the risk by {horizon:g} days"))
        self.intercept, self.slope = (np.array(x) for x in zip(*fitted, strict=True))

    def _refuse(self, target: str, counts: dict[str, int]) -> None:
        if min(counts.values()) < self.min_events:
            raise too_few(target, _METHOD, f"at least {self.min_events} rows of each class", ", ".join(f"{name}: {n}" for name, n in counts.items()))

    def _say(self, sentence: str) -> None:
        self.note = f"{self.note}; {sentence}" if self.note else sentence

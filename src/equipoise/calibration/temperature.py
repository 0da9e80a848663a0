"""Temperature scaling: one number that makes probabilities more or less extreme and moves no order."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from equipoise.calibration import Calibration, too_few
from equipoise.calibration.censoring import status_at
from equipoise.calibration.log_scale import logits, logs
from equipoise.contract.question import Question, TargetKind

_COLDEST, _HOTTEST = 0.02, 50.0


@final
class TemperatureCalibration(Calibration):
    """p' is proportional to p^(1/T), with T by maximum likelihood; a risk at a horizon has a T of its own, from rows weighted for censoring.

    Continuous outcomes and treatment effects have no probabilities and stay as they are.

    Args:
        min_events: rows needed of either class (each horizon's, for time to event); of two classes, for a multiclass outcome.

    Source: Guo et al. (2017), section 4.2; Graf et al. (1999) for the weights.
    """

    def __init__(self, *, min_events: int) -> None:
        self.min_events = min_events
        self.kind: TargetKind | None = None
        self.temperature = np.ones(1)

    def fit(self, question: Question, risk_raw: np.ndarray, outcome: np.ndarray, observed: np.ndarray) -> None:
        """Fits on the rows with an observed outcome and a risk."""
        used = observed & ~np.isnan(risk_raw).any(axis=1)
        risk, y = np.asarray(risk_raw, dtype=np.float64)[used], np.asarray(outcome, dtype=np.float64)[used]
        self.kind, self.note, self.temperature = question.kind, "", np.ones(1)
        match question.kind:
            case "binary":
                self._refuse(question.target, [(y == 0).sum(), (y == 1).sum()])
                self.temperature = np.array([_best(_two(risk[:, 0]), y.astype(np.int64), np.ones(y.size))])
            case "multiclass":
                counts = np.sort(np.bincount(y.astype(np.int64), minlength=len(question.classes)))[::-1]
                self._refuse(question.target, list(counts[:2]))
                self.temperature = np.array([_best(logs(risk), y.astype(np.int64), np.ones(y.size))])
            case "time_to_event":
                self.temperature = np.array([self._at(question, risk, y, i) for i in range(len(question.horizons_days))])
            case _:
                self.note = "not recalibrated: a temperature is for probabilities"

    def apply(self, risk_raw: np.ndarray) -> np.ndarray:
        risk = np.array(risk_raw, dtype=np.float64)
        match self.kind:
            case "binary":
                return expit(logits(risk) / self.temperature)
            case "multiclass":
                return softmax(logs(risk) / self.temperature, axis=1)
            case "time_to_event":
                # Each horizon has its own temperature, so they may cross; the later risk is then raised to the earlier.
                return np.where(np.isnan(risk), np.nan, np.fmax.accumulate(expit(logits(risk) / self.temperature), axis=1))
            case _:
                return risk

    def state(self) -> dict[str, Any]:
        return {"kind": self.kind, "temperature": self.temperature.tolist(), "note": self.note}

    def load_state(self, state: dict[str, Any]) -> None:
        self.kind, self.temperature, self.note = state["kind"], np.array(state["temperature"]), state["note"]

    def _at(self, question: Question, risk: np.ndarray, y: np.ndarray, column: int) -> float:
        rows, status, weight = status_at(y, question.horizons_days[column])
        self._refuse(question.target, [(status == s).sum() for s in (0, 1)])
        return _best(_two(risk[rows, column]), status, weight)

    def _refuse(self, target: str, counts: list[Any]) -> None:
        if min(counts) < self.min_events:
            raise too_few(target, "temperature scaling", f"at least {self.min_events} rows of each class", ", ".join(str(int(c)) for c in counts))


def _two(p: np.ndarray) -> np.ndarray:
    """Scores of no event and event whose softmax is the risk, f64 (n, 2)."""
    return np.column_stack([np.zeros(p.size), logits(p)])


def _best(score: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """The T with the best log likelihood of classes y under softmax(score / T)."""

    def loss(log_t: float) -> float:
        log_p = log_softmax(score / np.exp(log_t), axis=1)[np.arange(y.size), y]
        return -float(weight @ log_p)

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded", options={"xatol": 1e-8}).x))

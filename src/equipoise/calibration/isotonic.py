"""Isotonic recalibration: the best rising step function, by pooling adjacent violators."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from sklearn.isotonic import IsotonicRegression

from equipoise.calibration import Calibration, too_few
from equipoise.calibration.censoring import status_at
from equipoise.contract.question import Question, TargetKind


@final
class IsotonicCalibration(Calibration):
    """p' = f(p), f rising and found by weighted least squares; between the fitted risks f is a straight line, beyond them it is flat.

    It needs many rows: with few it follows their noise, and its ties cost discrimination. Classes are fitted one against the rest and divided by
    their sum, so that a class's probability rises in its own raw one only where the others stand still. A risk at a horizon has an f of its own,
    from rows weighted for censoring. The ends are drawn in to (events + 1/2) / (rows + 1) of their step, so that no risk is 0 or 1.

    Args:
        min_events: rows needed of either class (each class's, each horizon's), or in all for a continuous outcome.

    Source: Zadrozny and Elkan (2002); Barlow et al. (1972). The half event is Jeffreys' (1946).
    """

    def __init__(self, *, min_events: int) -> None:
        self.min_events = min_events
        self.kind: TargetKind | None = None
        self.steps: list[tuple[np.ndarray, np.ndarray]] = []

    def fit(self, question: Question, risk_raw: np.ndarray, outcome: np.ndarray, observed: np.ndarray) -> None:
        """Fits on the rows with an observed outcome and a risk."""
        used = observed & ~np.isnan(risk_raw).any(axis=1)
        risk, y = np.asarray(risk_raw, dtype=np.float64)[used], np.asarray(outcome, dtype=np.float64)[used]
        self.kind, self.note, self.steps = question.kind, "", []
        match question.kind:
            case "binary":
                self.steps = [self._column(question.target, risk[:, 0], y, np.ones(y.size))]
            case "multiclass":
                each = [(y == c).astype(np.float64) for c in range(len(question.classes))]
                self.steps = [self._column(question.target, risk[:, c], own, np.ones(y.size)) for c, own in enumerate(each)]
            case "continuous":
                if y.size < self.min_events:
                    raise too_few(question.target, "isotonic recalibration", f"at least {self.min_events} rows", f"{y.size} rows")
                self.steps = [_fitted(risk[:, 0], y, np.ones(y.size))]
            case "time_to_event":
                self.steps = [self._at(question, risk, y, i) for i in range(len(question.horizons_days))]
            case _:
                self.note = "not recalibrated: nobody's two potential outcomes are observed together"

    def apply(self, risk_raw: np.ndarray) -> np.ndarray:
        risk = np.array(risk_raw, dtype=np.float64)
        if not self.steps:
            return risk
        each = np.column_stack([np.where(np.isnan(p), np.nan, np.interp(p, *step)) for p, step in zip(risk.T, self.steps, strict=True)])
        if self.kind == "multiclass":
            return each / each.sum(axis=1, keepdims=True)
        return np.where(np.isnan(risk), np.nan, np.fmax.accumulate(each, axis=1)) if self.kind == "time_to_event" else each

    def state(self) -> dict[str, Any]:
        return {"kind": self.kind, "steps": [[x.tolist(), f.tolist()] for x, f in self.steps], "note": self.note}

    def load_state(self, state: dict[str, Any]) -> None:
        self.kind, self.note = state["kind"], state["note"]
        self.steps = [(np.array(x, dtype=np.float64), np.array(f, dtype=np.float64)) for x, f in state["steps"]]

    def _at(self, question: Question, risk: np.ndarray, y: np.ndarray, column: int) -> tuple[np.ndarray, np.ndarray]:
        rows, status, weight = status_at(y, question.horizons_days[column])
        return self._column(question.target, risk[rows, column], status.astype(np.float64), weight)

    def _column(self, target: str, risk: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = [int((y == 0).sum()), int((y == 1).sum())]
        if min(counts) < self.min_events:
            raise too_few(target, "isotonic recalibration", f"at least {self.min_events} rows of each class", f"0: {counts[0]}, 1: {counts[1]}")
        x, f = _fitted(risk, y, weight)
        step = np.interp(risk, x, f)
        ends = [(float((y * (step == end)).sum()) + 0.5) / (float((step == end).sum()) + 1) for end in (step.min(), step.max())]
        return x, np.clip(f, ends[0], max(ends))


def _fitted(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and heights between which the function is a straight line."""
    made = IsotonicRegression(out_of_bounds="clip").fit(x, y, sample_weight=weight)
    return np.asarray(made.X_thresholds_, dtype=np.float64), np.asarray(made.y_thresholds_, dtype=np.float64)

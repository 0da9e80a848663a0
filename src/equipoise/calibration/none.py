"""No recalibration: the risks are left as they are."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from equipoise.calibration import Calibration
from equipoise.contract.question import Question


@final
class NoCalibration(Calibration):
    """The identity, for any kind of outcome."""

    def fit(self, question: Question, risk_raw: np.ndarray, outcome: np.ndarray, observed: np.ndarray) -> None:
        """Does nothing."""

    def apply(self, risk_raw: np.ndarray) -> np.ndarray:
        """A copy of the raw risks, f64 (n, L)."""
        return np.array(risk_raw, dtype=np.float64)

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing to load."""

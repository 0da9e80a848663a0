"""No conformal intervals or sets: all calibrate rows serve recalibration."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from equipoise.conformal import Conformal, Held, Stated
from equipoise.contract.question import Question


@final
class NoConformal(Conformal):
    """Nothing, for any kind of outcome."""

    kinds = ()
    level, by = 0.9, ""

    def fit(self, question: Question, stated: Stated, outcome: np.ndarray, observed: np.ndarray, cluster: np.ndarray, group: np.ndarray) -> None:
        """Does nothing."""

    def apply(self, stated: Stated, group: np.ndarray) -> Held:
        """Nothing stated."""
        return Held.nothing(stated.risk.shape)

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing to load."""

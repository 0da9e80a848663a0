"""Recalibration and intervals: plain numpy, plain arrays in the bundle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from equipoise.contract.errors import UserError
from equipoise.contract.question import Question


class Calibration(ABC):
    """Maps raw risks to recalibrated ones; fitted on calibrate rows, for Equipoise and every comparator alike.

    ``risk_raw`` is (n, L) in the question's label order: probabilities, or predicted means of a continuous outcome.

    Attributes:
        note: what the report should say about the fit, "" nothing; kept in the state.
    """

    note: str = ""

    @abstractmethod
    def fit(self, question: Question, risk_raw: np.ndarray, outcome: np.ndarray, observed: np.ndarray) -> None:
        """Fits.

        Args:
            question: what the risks answer.
            risk_raw: f64 (n, L).
            outcome: f64 (n,): 0/1, class index, value; for time to event an (n, 3) array of time_days, event, entry_days.
            observed: bool (n,).

        Raises:
            UserError: too few rows or events, naming the count.
        """

    @abstractmethod
    def apply(self, risk_raw: np.ndarray) -> np.ndarray:
        """Recalibrated risks, f64 (n, L). Monotone in each column where the method says so."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""


def too_few(target: str, method: str, expected: str, found: str) -> UserError:
    """The refusal of a fit on too few rows."""
    return UserError(
        f"Target {target!r} has too few calibrate rows for {method}",
        expected=expected,
        found=found,
        mend="give more rows the role calibrate, or choose calibration=none",
    )

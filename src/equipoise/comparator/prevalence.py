"""The floor: everybody gets the train rows' base rate, class shares, mean, cumulative incidence, or average effect."""

from __future__ import annotations

import numpy as np

from equipoise.cohort.frozen import Cohort
from equipoise.comparator import Comparator, Forecast
from equipoise.comparator.reduction import join, pieces
from equipoise.contract.question import Question


class Prevalence(Comparator):
    """Predicts the same for all; any model that is worth its inputs beats it. Each class counts half a case more, so that no share is 0.

    Args:
        name: as written into the predictions table.
        required: whether the verdict asks for a gain over it.
        seed: not used.

    Source: ours.
    """

    def __init__(self, *, name: str, required: bool, seed: int) -> None:
        super().__init__(name=name, required=required, seed=seed)
        self._risk = np.zeros(0)
        self._total: float | None = None

    def applies(self, cohort: Cohort, question: Question) -> str | None:
        return None

    def fit(self, cohort: Cohort, rows: np.ndarray, question: Question) -> None:
        parts = pieces(question, cohort.target(question.target), rows)
        self._risk = join(question, tuple(piece.base()[None, :] for piece in parts))[0]
        variance = float(np.average((parts[0].outcome - self._risk[0]) ** 2, weights=parts[0].weight))
        self._total = variance if question.kind == "continuous" else None

    def predict(self, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str] = frozenset()) -> Forecast:
        risk = np.tile(self._risk, (len(rows), 1))
        return Forecast(risk, None if self._total is None else np.full_like(risk, self._total))

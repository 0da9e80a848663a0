"""A published score as it stands, turned into a risk by a recalibration of one variable."""

from __future__ import annotations

import numpy as np

from equipoise.cohort.frozen import Cohort
from equipoise.comparator import Comparator, Forecast
from equipoise.comparator.reduction import join, pieces
from equipoise.comparator.ridge import RidgeLogistic, RidgeRegression, ridge
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question

_PENALTY = 1e-6  # keeps the slope finite where the score separates the classes


class Published(Comparator):
    """Logistic (or, for a continuous outcome, linear) regression on the score alone, fitted on the train rows: monotone, so ranks are the score's.

    For time to event, one IPCW-weighted regression a horizon. Rows without the score abstain (NaN). The score is no evidence: hiding evidences
    does not change it.

    Args:
        name: as written into the predictions table; None for the score's name.
        required: whether the verdict asks for a gain over it.
        seed: not used.
        score: which of the cohort's published scores; None for none.

    Source: Steyerberg 2019, chapter 20 (updating by calibration slope and intercept).
    """

    def __init__(self, *, name: str | None, required: bool, seed: int, score: str | None) -> None:
        super().__init__(name=name or score or "published", required=required, seed=seed)
        self._score = score
        self._fits: tuple[RidgeRegression | RidgeLogistic, ...] = ()
        self._total: float | None = None

    def check(self, cohort: Cohort) -> None:
        if self._score is not None and self._score not in cohort.scores:
            raise UserError(
                f"Comparator {self.name} asks for a score {self._score!r} that the cohort does not have",
                expected=", ".join(cohort.scores) or "a cohort with scores",
                mend="correct comparator.published.score, or set it to null",
            )

    def applies(self, cohort: Cohort, question: Question) -> str | None:
        if self._score is None:
            return "no published score is named (comparator.published.score)"
        self.check(cohort)
        if question.kind not in ("binary", "continuous", "time_to_event"):
            return f"one score cannot answer a question of kind {question.kind}"
        return None

    def fit(self, cohort: Cohort, rows: np.ndarray, question: Question) -> None:
        self._question = question
        score = self._read(cohort, np.arange(cohort.size))
        known = rows[np.isfinite(score[rows])]
        self._mean, self._sd = (float(score[known].mean()), float(score[known].std())) if known.size else (0.0, 0.0)
        made = [(ridge(piece, _PENALTY), piece) for piece in pieces(question, cohort.target(question.target), known)]
        for fitter, piece in made:
            fitter.fit(self._scaled(score[piece.rows]))
        self._fits = tuple(fitter for fitter, _ in made)
        if question.kind == "continuous":
            fitter, piece = made[0]
            self._total = float(piece.loss(fitter.predict(self._scaled(score[piece.rows]))).sum() / piece.weight.sum())

    def predict(self, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str] = frozenset()) -> Forecast:
        score = self._read(cohort, rows)
        known = np.isfinite(score)
        risk = np.full((len(rows), len(self._question.labels)), np.nan)
        risk[known] = join(self._question, tuple(f.predict(self._scaled(score[known])) for f in self._fits))
        return Forecast(risk, None if self._total is None else np.where(np.isnan(risk), np.nan, self._total))

    def notes(self) -> dict[str, object]:
        return {"score": self._score}

    def _read(self, cohort: Cohort, rows: np.ndarray) -> np.ndarray:
        if self._score not in cohort.scores:
            return np.full(len(rows), np.nan)
        return np.asarray(cohort.scores[self._score])[rows].astype(np.float64)

    def _scaled(self, score: np.ndarray) -> np.ndarray:
        return ((score - self._mean) / (self._sd or 1.0))[:, None]

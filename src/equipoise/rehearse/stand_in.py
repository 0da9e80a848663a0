"""A fast stand-in for a learner: a penalised additive regression that can represent what was planted and does not know where it lies."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from equipoise.cohort.features import Features
from equipoise.cohort.frozen import Cohort
from equipoise.comparator import Comparator, Forecast
from equipoise.comparator.design import Design
from equipoise.contract.question import Question
from equipoise.contract.tables import MODEL
from equipoise.predict_table import outcomes
from equipoise.stats.scores import log_score

PENALTIES = (0.3, 0.1, 0.03, 0.01)
"""The settings of its sweep, per standardised column and per row."""


class Additive(Comparator):
    """Ridge logistic regression on every standardised column x of the comparators' summaries and on |x| beside it; select rows choose the penalty.

    It stands where the network would: it says what the protocol shows of a model that can learn the planted component, in seconds. What the
    user's own network can learn only ``model: small`` or ``config`` say.

    Args:
        select: i64, the rows that choose.

    Source: ours.
    """

    def __init__(self, *, select: np.ndarray) -> None:
        super().__init__(name=MODEL, required=False, seed=0)
        self._select = select
        self._features = Features(min_rows=20, statistics=("last", "mean", "count"), max_codes=50, halves=False, n_components=0)

    def applies(self, cohort: Cohort, question: Question) -> str | None:
        return None

    def fit(self, cohort: Cohort, rows: np.ndarray, question: Question) -> None:
        y, seen = outcomes(cohort, question, rows)
        y, rows = y[seen], rows[seen]
        self._features.fit(cohort, rows, question.evidences)
        x = self._features.apply(cohort, rows)
        self._design = Design().fit(x)
        self._base, self._fit = float(y.mean()), None
        if 0 < self._base < 1:
            columns = self._columns(x)
            fits = [LogisticRegression(C=1 / (y.size * penalty), max_iter=300).fit(columns, y) for penalty in PENALTIES]
            self._fit = fits[int(np.argmin(self._losses(cohort, question, fits)))]

    def predict(self, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str] = frozenset()) -> Forecast:
        x = self._columns(self._features.apply(cohort, rows, hidden))
        return Forecast(np.full((len(rows), 1), self._base) if self._fit is None else self._fit.predict_proba(x)[:, 1:])

    def _losses(self, cohort: Cohort, question: Question, fits: list[LogisticRegression]) -> list[float]:
        y, seen = outcomes(cohort, question, self._select)
        if not seen.any():
            return [0.0]
        columns = self._columns(self._features.apply(cohort, self._select[seen]))
        return [float(log_score(fit.predict_proba(columns)[:, 1], y[seen]).mean()) for fit in fits]

    def _columns(self, x: np.ndarray) -> np.ndarray:
        z = self._design.apply(x)
        return np.concatenate([z, np.abs(z)], axis=1)

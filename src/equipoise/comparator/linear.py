"""Penalised regression: logistic, multinomial or linear with a ridge penalty, the penalty and the number of screened variants tuned by inner folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.cohort.features import Features
from equipoise.cohort.frozen import Cohort
from equipoise.comparator import Comparator, Forecast
from equipoise.comparator.design import Design
from equipoise.comparator.inner import Table, check_evidences, evidences_for, folds_of_piece, genotypes_among, nothing_to_read
from equipoise.comparator.reduction import Piece, join, pieces
from equipoise.comparator.ridge import RidgeLogistic, RidgeRegression, ridge
from equipoise.comparator.screen import Screen
from equipoise.contract.question import Question

_WORSE_IN_A_ROW = 3  # the path from strong to weak penalties ends when this many in a row are worse than the best


class Linear(Comparator):
    """Ridge-penalised logistic (binary, multiclass, IPCW at each horizon), linear (continuous) or one of these in each arm (treatment effect).

    Each piece minimises ``mean loss + penalty / 2 * |b|^2`` on a standardised design (see `Design`); penalty and number of variants minimise
    the inner folds' log loss or squared error. For a continuous outcome ``total`` is the inner folds' mean squared error.

    Args:
        name: as written into the predictions table.
        required: whether the verdict asks for a gain over it.
        seed: of the inner folds.
        evidences: which evidences it may use; None for all of the question.
        penalties: ridge penalties to choose from, > 0, per standardised column and per row.
        variants: numbers of screened variants to choose from where the question has genotypes; 0 = none. Screened anew in each fold.
        n_components: genetic principal components.
        folds: number of inner folds, >= 2.
        min_rows: see `Features`.
        statistics: see `Features`.
        max_codes: see `Features`.
        halves: see `Features`.

    Source: Hoerl and Kennard 1970; le Cessie and van Houwelingen 1992.
    """

    def __init__(
        self,
        *,
        name: str,
        required: bool,
        seed: int,
        evidences: Sequence[str] | None,
        penalties: Sequence[float],
        variants: Sequence[int],
        n_components: int,
        folds: int,
        min_rows: int,
        statistics: Sequence[str],
        max_codes: int | None,
        halves: bool,
    ) -> None:
        super().__init__(name=name, required=required, seed=seed)
        self._evidences, self._folds, self._n_components = evidences, folds, n_components
        self._penalties = tuple(sorted(map(float, penalties), reverse=True))
        self._variants = tuple(sorted(set(map(int, variants))))
        self._features = Features(min_rows=min_rows, statistics=statistics, max_codes=max_codes, halves=halves, n_components=n_components)
        self._fits: tuple[_Fit, ...] = ()

    def check(self, cohort: Cohort) -> None:
        check_evidences(cohort, self._evidences, self.name)

    def applies(self, cohort: Cohort, question: Question) -> str | None:
        self.check(cohort)
        return nothing_to_read(cohort, question, self._evidences, self._n_components > 0 or max(self._variants) > 0)

    def fit(self, cohort: Cohort, rows: np.ndarray, question: Question) -> None:
        rows, evidences = np.sort(rows), evidences_for(question, self._evidences)
        self._question = question
        self._features.fit(cohort, rows, evidences)
        table, genome = Table(self._features, cohort, rows), genotypes_among(cohort, evidences)
        self._fits = tuple(self._fit_piece(cohort, table, genome, piece) for piece in pieces(question, cohort.target(question.target), rows))

    def predict(self, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str] = frozenset()) -> Forecast:
        x = self._features.apply(cohort, rows, hidden)
        risk = join(self._question, tuple(f.model.predict(f.design.apply(f.columns(x, cohort, rows, hidden))) for f in self._fits))
        total = np.full_like(risk, self._fits[0].loss) if self._question.kind == "continuous" else None
        return Forecast(risk, total)

    def notes(self) -> dict[str, object]:
        return {
            "n_features": len(self._features.names),
            "n_columns": [f.design.n_columns for f in self._fits],
            "penalty": [f.penalty for f in self._fits],
            "variants": [f.size for f in self._fits],
            "inner_loss": [f.loss for f in self._fits],
        }

    def _fit_piece(self, cohort: Cohort, table: Table, genome: str | None, piece: Piece) -> _Fit:
        sizes = self._variants if genome else (0,)
        losses = np.zeros((len(sizes), len(self._penalties)))
        for fit, check in folds_of_piece(cohort, piece, self._folds, self.seed):
            screen = _screen(cohort, genome, max(sizes), fit)
            for i, size in enumerate(sizes):
                inputs = [_columns(table.of(p.rows), screen, size, cohort, p.rows, frozenset()) for p in (fit, check)]
                losses[i] += self._path(inputs, fit, check)
        i, j = divmod(int(np.argmin(losses)), len(self._penalties))
        screen = _screen(cohort, genome, sizes[i], piece)
        x = _columns(table.of(piece.rows), screen, sizes[i], cohort, piece.rows, frozenset())
        design = Design().fit(x)
        model = ridge(piece, self._penalties[j])
        model.fit(design.apply(x))
        return _Fit(design, model, screen, sizes[i], self._penalties[j], float(losses[i, j] / piece.weight.sum()))

    def _path(self, inputs: list[np.ndarray], fit: Piece, check: Piece) -> np.ndarray:
        """Summed check loss of each penalty, strongest first; infinite beyond where the path has plainly turned upward."""
        design = Design().fit(inputs[0])
        z_fit, z_check = (design.apply(x) for x in inputs)
        losses = np.full(len(self._penalties), np.inf)
        model = ridge(fit, self._penalties[0])
        for j, penalty in enumerate(self._penalties):
            model.penalty = penalty
            model.fit(z_fit)
            losses[j] = check.loss(model.predict(z_check)).sum()
            if j - int(np.argmin(losses)) >= _WORSE_IN_A_ROW:
                break
        return losses


@dataclass(frozen=True)
class _Fit:
    design: Design
    model: RidgeRegression | RidgeLogistic
    screen: Screen | None
    size: int
    penalty: float
    loss: float

    def columns(self, x: np.ndarray, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str]) -> np.ndarray:
        return _columns(x, self.screen, self.size, cohort, rows, hidden)


def _screen(cohort: Cohort, genome: str | None, size: int, piece: Piece) -> Screen | None:
    return Screen(evidence=genome, size=size).fit(cohort, piece) if genome and size else None


def _columns(x: np.ndarray, screen: Screen | None, size: int, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str]) -> np.ndarray:
    return np.concatenate([x, screen.apply(cohort, rows, hidden, size)], axis=1) if screen and size else x

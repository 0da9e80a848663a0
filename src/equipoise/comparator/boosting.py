"""Histogram gradient boosting: trees on the same features, tree size and number of rounds tuned by inner folds, averaged over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from equipoise.cohort.features import Features
from equipoise.cohort.frozen import Cohort
from equipoise.comparator import Comparator, Forecast
from equipoise.comparator.inner import Table, check_evidences, evidences_for, folds_of_piece, genotypes_among, nothing_to_read
from equipoise.comparator.reduction import Piece, join, pieces
from equipoise.comparator.screen import Screen
from equipoise.contract.counter import stream_seed
from equipoise.contract.question import Question

_ROUNDS = 20  # rounds between two looks at the inner folds
_MAX_BINS = 127
_Fold = tuple[Piece, Piece, np.ndarray, np.ndarray]  # what to fit, what to check on, and their columns


class Boosting(Comparator):
    """Boosted trees for binary, multiclass, continuous, time-to-event (IPCW at each horizon) and treatment-effect (one model an arm) questions.

    Missing values are the trees' own branch. For each tree size all inner folds grow together until their pooled loss has not fallen for
    ``patience`` looks of 20 rounds; the best size and round then serve ``members`` models on all rows, whose answers are averaged.
    For a continuous outcome ``total`` is the inner folds' mean squared error.

    Args:
        name: as written into the predictions table.
        required: whether the verdict asks for a gain over it.
        seed: of the folds and of the columns drawn at each split.
        evidences: which evidences it may use; None for all of the question.
        learning_rate: shrinkage, in (0, 1].
        max_leaf_nodes: tree sizes to choose from, each >= 2.
        min_samples_leaf: rows a leaf, at least.
        l2: ridge penalty of the leaves' values.
        max_features: share of the columns tried at each split, in (0, 1].
        max_rounds: rounds at most.
        patience: looks without gain before stopping.
        members: models averaged in the end.
        variants: number of screened variants, screened anew in each fold; 0 = none.
        n_components: genetic principal components.
        folds: number of inner folds, >= 2.
        min_rows: see `Features`.
        statistics: see `Features`.
        max_codes: see `Features`.
        halves: see `Features`.

    Source: Friedman 2001; Ke et al. 2017 (histograms), as in scikit-learn.
    """

    def __init__(
        self,
        *,
        name: str,
        required: bool,
        seed: int,
        evidences: Sequence[str] | None,
        learning_rate: float,
        max_leaf_nodes: Sequence[int],
        min_samples_leaf: int,
        l2: float,
        max_features: float,
        max_rounds: int,
        patience: int,
        members: int,
        variants: int,
        n_components: int,
        folds: int,
        min_rows: int,
        statistics: Sequence[str],
        max_codes: int | None,
        halves: bool,
    ) -> None:
        super().__init__(name=name, required=required, seed=seed)
        self._evidences, self._folds, self._n_components, self._variants = evidences, folds, n_components, variants
        self._sizes, self._max_rounds, self._patience, self._members = tuple(max_leaf_nodes), max_rounds, patience, members
        self._settings = {"learning_rate": learning_rate, "min_samples_leaf": min_samples_leaf, "l2_regularization": l2, "max_features": max_features}
        self._features = Features(min_rows=min_rows, statistics=statistics, max_codes=max_codes, halves=halves, n_components=n_components)
        self._fits: tuple[_Fit, ...] = ()

    def check(self, cohort: Cohort) -> None:
        check_evidences(cohort, self._evidences, self.name)

    def applies(self, cohort: Cohort, question: Question) -> str | None:
        self.check(cohort)
        return nothing_to_read(cohort, question, self._evidences, self._n_components > 0 or self._variants > 0)

    def fit(self, cohort: Cohort, rows: np.ndarray, question: Question) -> None:
        rows, evidences = np.sort(rows), evidences_for(question, self._evidences)
        self._question = question
        self._features.fit(cohort, rows, evidences)
        table = Table(self._features, cohort, rows)
        genome = genotypes_among(cohort, evidences) if self._variants else None
        self._fits = tuple(self._fit_piece(cohort, table, genome, piece) for piece in pieces(question, cohort.target(question.target), rows))

    def predict(self, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str] = frozenset()) -> Forecast:
        x = self._features.apply(cohort, rows, hidden)
        answers = []
        for f in self._fits:
            columns = _columns(x, f.screen, cohort, rows, hidden)
            answers.append(np.mean([m.predict(columns) for m in f.members], axis=0))
        risk = join(self._question, tuple(answers))
        total = np.full_like(risk, self._fits[0].loss) if self._question.kind == "continuous" else None
        return Forecast(risk, total)

    def notes(self) -> dict[str, object]:
        return {
            "n_features": len(self._features.names),
            "max_leaf_nodes": [f.size for f in self._fits],
            "rounds": [f.rounds for f in self._fits],
            "inner_loss": [f.loss for f in self._fits],
        }

    def _fit_piece(self, cohort: Cohort, table: Table, genome: str | None, piece: Piece) -> _Fit:
        folds: list[_Fold] = []
        for fit, check in folds_of_piece(cohort, piece, self._folds, self.seed):
            screen = self._screen(cohort, genome, fit)
            x_fit, x_check = (_columns(table.of(p.rows), screen, cohort, p.rows, frozenset()) for p in (fit, check))
            folds.append((fit, check, x_fit, x_check))
        tried = [(*self._grow(folds, size), size) for size in self._sizes]
        loss, rounds, size = min(tried)
        screen = self._screen(cohort, genome, piece)
        x = _columns(table.of(piece.rows), screen, cohort, piece.rows, frozenset())
        members = tuple(_Trees(piece, size, self._settings, stream_seed("boosting", self.seed, m)) for m in range(self._members))
        for member in members:
            member.grow(x, rounds)
        return _Fit(screen, members, size, rounds, float(loss / piece.weight.sum()))

    def _grow(self, folds: list[_Fold], size: int) -> tuple[float, int]:
        """The lowest summed check loss of this tree size, and its number of rounds."""
        trees = [_Trees(fit, size, self._settings, stream_seed("boosting-inner", self.seed, i)) for i, (fit, *_) in enumerate(folds)]
        best, at = float("inf"), 0
        for rounds in _looks(self._max_rounds):
            loss = 0.0
            for tree, (_, check, x_fit, x_check) in zip(trees, folds, strict=True):
                tree.grow(x_fit, rounds)
                loss += float(check.loss(tree.predict(x_check)).sum())
            if loss < best:
                best, at = loss, rounds
            elif rounds - at >= self._patience * _ROUNDS:
                break
        return best, at

    def _screen(self, cohort: Cohort, genome: str | None, piece: Piece) -> Screen | None:
        return Screen(evidence=genome, size=self._variants).fit(cohort, piece) if genome else None


@dataclass(frozen=True)
class _Fit:
    screen: Screen | None
    members: tuple[_Trees, ...]
    size: int
    rounds: int
    loss: float


def _looks(max_rounds: int) -> Iterator[int]:
    return iter(range(_ROUNDS, max(max_rounds, _ROUNDS) + 1, _ROUNDS))


def _columns(x: np.ndarray, screen: Screen | None, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str]) -> np.ndarray:
    return np.concatenate([x, screen.apply(cohort, rows, hidden)], axis=1) if screen else x


class _Trees:
    """One boosted model that can be grown further; a constant where there is nothing to learn from."""

    def __init__(self, piece: Piece, size: int, settings: dict[str, float], seed: int) -> None:
        self._piece = piece
        self._classes = np.unique(piece.outcome.astype(np.int64)) if piece.n_classes else np.zeros(0, np.int64)
        self._constant = len(self._classes) == 1
        self._bins: _Bins | None = None
        kind = HistGradientBoostingClassifier if piece.n_classes else HistGradientBoostingRegressor
        self._fitter = kind(max_leaf_nodes=size, early_stopping=False, warm_start=True, random_state=seed % 2**32, max_bins=_MAX_BINS, **settings)

    def grow(self, x: np.ndarray, rounds: int) -> None:
        """To this many rounds, on the piece's rows."""
        if self._bins is None:
            self._bins = _Bins(x)
        self._constant = self._constant or not self._bins.n_columns
        if self._constant:
            return
        self._fitter.set_params(max_iter=rounds)
        outcome = self._piece.outcome.astype(np.int64) if self._piece.n_classes else self._piece.outcome
        self._fitter.fit(self._bins.apply(x), outcome, sample_weight=self._piece.weight)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(m, max(n_classes, 1)); classes without a row get their base share."""
        out = np.tile(self._piece.base(), (len(x), 1))
        if self._constant or self._bins is None or not len(x):
            return out
        x = self._bins.apply(x)
        if not self._piece.n_classes:
            return self._fitter.predict(x)[:, None]
        out[:, self._classes] = self._fitter.predict_proba(x) * out[:, self._classes].sum(axis=1, keepdims=True)
        return out


class _Bins:
    """Columns cut at unweighted quantiles of the rows fitted on, at most 127 bins; columns without any value are left out.

    scikit-learn bins anew at every warm start, by weighted quantiles where there are weights (minutes for IPCW), and fails on an empty column.
    """

    def __init__(self, x: np.ndarray) -> None:
        self._keep = np.flatnonzero(np.isfinite(x).any(axis=0))
        self._edges = [_edges(x[:, j]) for j in self._keep]

    @property
    def n_columns(self) -> int:
        return len(self._keep)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """f64 (m, kept): bin numbers, NaN where missing."""
        out = np.empty((len(x), len(self._keep)))
        for i, (j, edges) in enumerate(zip(self._keep, self._edges, strict=True)):
            out[:, i] = np.where(np.isnan(x[:, j]), np.nan, np.searchsorted(edges, x[:, j], "left"))
        return out


def _edges(column: np.ndarray) -> np.ndarray:
    known = np.unique(column[np.isfinite(column)])
    if len(known) <= _MAX_BINS:
        return (known[1:] + known[:-1]) / 2
    return np.unique(np.quantile(column[np.isfinite(column)], np.linspace(0, 1, _MAX_BINS + 1)[1:-1]))

"""Inner folds of one piece, and the inputs that a tabular comparator makes of a cohort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from equipoise.cohort.features import Features
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.roles import inner_folds
from equipoise.comparator.reduction import Piece
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question


def folds_of_piece(cohort: Cohort, piece: Piece, k: int, seed: int) -> list[tuple[Piece, Piece]]:
    """(fit, check) pieces: whole clusters, classes spread evenly; none where all rows are one cluster."""
    cluster = cohort.rows["cluster"].to_numpy()
    if len(set(cluster[piece.rows].tolist())) < 2:
        return []
    stratum = np.zeros(cohort.size, dtype=np.int64)
    if piece.n_classes:
        stratum[piece.rows] = piece.outcome.astype(np.int64)
    return [(piece.part(fit), piece.part(check)) for fit, check in inner_folds(cluster, piece.rows, k, seed, stratum)]


def evidences_for(question: Question, only: Sequence[str] | None) -> tuple[str, ...]:
    """The question's evidences that a comparator limited to ``only`` uses; None = all."""
    return tuple(e for e in question.evidences if only is None or e in only)


def genotypes_among(cohort: Cohort, evidences: Sequence[str]) -> str | None:
    """The first of these evidences that is genotypes, if any."""
    return next((e for e in evidences if cohort.kind_of(e) == "genotypes"), None)


def check_evidences(cohort: Cohort, only: Sequence[str] | None, name: str) -> None:
    """Refuses a comparator limited to evidences of which the cohort lacks one: misspelt, it would drop out of the verdict without a sound.

    Raises:
        UserError: the cohort has no evidence of that name.
    """
    unknown = [e for e in only or () if e not in cohort.evidences]
    if unknown:
        raise UserError(
            f"Comparator {name} is limited to an evidence {unknown[0]!r} that the cohort does not have",
            expected=", ".join(cohort.evidences),
            mend=f"correct evidences of the comparator {name}, or take it out of the comparators",
        )


def nothing_to_read(cohort: Cohort, question: Question, only: Sequence[str] | None, reads_genome: bool) -> str | None:
    """Why a tabular comparator has no columns here, or None."""
    evidences = evidences_for(question, only)
    if not evidences:
        return f"none of its evidences ({', '.join(only or ())}) is among those of the question ({', '.join(question.evidences)})"
    if not reads_genome and all(cohort.kind_of(e) == "genotypes" for e in evidences):
        return "it has genotypes alone to read, and neither principal components nor screened variants are asked of it"
    return None


class Table:
    """Features of some cohort rows, looked up by row number."""

    def __init__(self, features: Features, cohort: Cohort, rows: np.ndarray) -> None:
        self._place = np.full(cohort.size, -1, dtype=np.int64)
        self._place[rows] = np.arange(len(rows))
        self._x = features.apply(cohort, rows)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """f64 (m, F)."""
        return self._x[self._place[rows]]

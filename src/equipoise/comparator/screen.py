"""The variants most associated with an outcome, as columns for a linear or a tree model; to be chosen anew in every fold."""

from __future__ import annotations

import numpy as np
import polars as pl

from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.genotypes import MISSING, match_genome, whole_genome
from equipoise.comparator.reduction import Piece


class Screen:
    """Top-k single-variant associations: the share of the variant's variance between classes, or its squared correlation with the value.

    Args:
        evidence: the genotypes.
        size: k.

    Source: ours; sure independence screening as in Fan and Lv 2008.
    """

    def __init__(self, *, evidence: str, size: int) -> None:
        self.evidence, self.size = evidence, size
        self._variants = pl.DataFrame()

    def fit(self, cohort: Cohort, piece: Piece) -> Screen:
        """Ranks the variants on the piece's genotyped rows and no others."""
        store = _genotypes(cohort, self.evidence)
        lines = _lines(cohort, store, self.evidence, piece.rows)
        has = lines >= 0
        genome, outcome = whole_genome(store), _contrasts(piece)[has]
        score = np.zeros(genome.n_variants)
        for variants, copies in genome.blocks(lines[has]):
            score[variants] = _association(copies, outcome, piece.weight[has])
        # Equal scores keep the variants' order, so that machines agree.
        best = np.argsort(-score, kind="stable")[: self.size]
        self._variants = store.variants[best]
        return self

    def apply(self, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str], size: int | None = None) -> np.ndarray:
        """Copies of the counted allele, f64 (m, k), strongest variant first; NaN where missing. ``size`` takes the first few only."""
        wanted = self._variants.head(self.size if size is None else size)
        out = np.full((len(rows), wanted.height), np.nan)
        if self.evidence in hidden or self.evidence not in cohort.evidences or cohort.kind_of(self.evidence) != "genotypes":
            return out
        store = _genotypes(cohort, self.evidence)
        lines = _lines(cohort, store, self.evidence, rows)
        has = lines >= 0
        copies = match_genome(wanted, store).copies(lines[has], np.arange(wanted.height)).astype(np.float64)
        copies[copies == MISSING] = np.nan
        out[has] = copies
        return out


def _genotypes(cohort: Cohort, evidence: str) -> GenotypeStore:
    store = cohort.store(evidence)
    assert isinstance(store, GenotypeStore)  # the callers asked for the kind
    return store


def _lines(cohort: Cohort, store: GenotypeStore, evidence: str, rows: np.ndarray) -> np.ndarray:
    """Each row's line in the store, -1 where the row does not have the evidence."""
    return np.where(np.asarray(cohort.present_in(evidence))[rows], np.asarray(store.index)[rows], -1)


def _contrasts(piece: Piece) -> np.ndarray:
    """f64 (m, C), weighted mean 0, such that the sum of squared correlations is the explained share."""
    w = piece.weight / piece.weight.sum()
    if not piece.n_classes:
        centred = piece.outcome - w @ piece.outcome
        return (centred / max(np.sqrt(w @ centred**2), 1e-12))[:, None]
    one_hot = (piece.outcome[:, None] == np.arange(piece.n_classes)).astype(np.float64)
    return (one_hot - w @ one_hot) / np.sqrt(np.maximum(w @ one_hot, 1e-12))


def _association(copies: np.ndarray, contrasts: np.ndarray, weight: np.ndarray) -> np.ndarray:
    called = copies != MISSING
    w = weight / weight.sum() if weight.size else weight
    mean = np.where(called, copies, 0.0).T @ w / np.maximum(called.T @ w, 1e-12)
    z = np.where(called, copies - mean, 0.0)
    variance = w @ z**2
    return np.where(variance > 1e-9, (((z * w[:, None]).T @ contrasts) ** 2).sum(axis=1) / np.maximum(variance, 1e-9), 0.0)

"""Genomic best linear unbiased prediction: the genome as one polygenic effect, REML variances, the other evidences as covariates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import qr

from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.features import Features
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.genotypes import Genome, allele_frequencies, match_genome, relationship, self_relationship, whole_genome
from equipoise.comparator import Comparator, Forecast
from equipoise.comparator.design import Design
from equipoise.comparator.inner import genotypes_among
from equipoise.comparator.mixed_model import MixedModel, Spectrum, fit_reml, mean_self
from equipoise.comparator.reduction import Piece, pieces
from equipoise.contract.question import Question
from equipoise.contract.tables import REFUSED

_KINDS = ("continuous", "binary", "multiclass")


class Gblup(Comparator):
    """``y = covariates + g + e``, g ~ N(0, K), K by VanRaden from the train rows' allele frequencies; variances by REML.

    Covariates are fixed effects while they are few against the rows, else random with a variance of their own (also by REML), as fixed
    effects of hundreds of summary features would drown the fit. Train rows without genotypes inform the covariates' effects only; a new
    row without genotypes is predicted from its covariates, with the genome's variance in its ``total``. A binary outcome is fitted on the
    0/1 scale and cut off at a twentieth of the base rates; several classes one against the rest, then normalised. Analysis weights
    are not used. Nothing is random and the variances need no folds.

    Args:
        name: as written into the predictions table.
        required: whether the verdict asks for a gain over it.
        seed: not used.
        max_fixed_share: covariates are fixed effects while their number is at most this share of the rows.
        max_rows: more train rows than this are refused: time grows with their cube.
        min_rows: see `Features`.
        statistics: see `Features`.
        max_codes: see `Features`.
        halves: see `Features`.

    Source: VanRaden 2008; Meuwissen, Hayes and Goddard 2001.
    """

    def __init__(
        self,
        *,
        name: str,
        required: bool,
        seed: int,
        max_fixed_share: float,
        max_rows: int,
        min_rows: int,
        statistics: Sequence[str],
        max_codes: int | None,
        halves: bool,
    ) -> None:
        super().__init__(name=name, required=required, seed=seed)
        self._max_fixed_share, self._max_rows = max_fixed_share, max_rows
        self._features = Features(min_rows=min_rows, statistics=statistics, max_codes=max_codes, halves=halves, n_components=0)
        self._models: tuple[MixedModel, ...] = ()

    def applies(self, cohort: Cohort, question: Question) -> str | None:
        if question.kind not in _KINDS:
            return f"it answers questions of kind {', '.join(_KINDS)}, not {question.kind}"
        genome = genotypes_among(cohort, question.evidences)
        if genome is None:
            return "the question's evidences hold no genotypes"
        if not np.asarray(cohort.present_in(genome)).any():
            return "no row has genotypes"
        n = len(cohort.rows_in("train")) or cohort.size
        why = f"{REFUSED}{n} train rows, more than max_rows {self._max_rows}: its time grows with their cube (raise max_rows, or set required to false)"
        return why if n > self._max_rows else None

    def fit(self, cohort: Cohort, rows: np.ndarray, question: Question) -> None:
        (piece,) = pieces(question, cohort.target(question.target), rows)
        self._question, self._evidence = question, genotypes_among(cohort, question.evidences) or ""
        order = self._learn_genome(cohort, piece)
        self._features.fit(cohort, np.sort(rows), question.evidences)
        x = self._features.apply(cohort, piece.rows[order])
        self._design = Design().fit(x)
        z = self._design.apply(x)
        self._independent = _independent(z)
        self._fixed = len(self._independent) <= self._max_fixed_share * len(z)
        fixed, random = self._terms(z)
        outcomes = _scales(piece)[order]
        self._base = outcomes.mean(axis=0)
        self._models = tuple(fit_reml(y, fixed, random, self._spectrum) for y in outcomes.T)

    def predict(self, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str] = frozenset()) -> Forecast:
        terms = np.concatenate(self._terms(self._design.apply(self._features.apply(cohort, rows, hidden))), axis=1)
        k, k_self = self._related(cohort, rows, hidden)
        answers = [model.predict(terms, k, k_self) for model in self._models]
        mean, total = (np.stack(a, axis=1) for a in zip(*answers, strict=True))
        if self._question.kind == "continuous":
            return Forecast(mean, total)
        risk = np.clip(mean, 0.05 * self._base, 1 - 0.05 * (1 - self._base))
        return Forecast(risk / risk.sum(axis=1, keepdims=True) if self._question.kind == "multiclass" else risk)

    def notes(self) -> dict[str, object]:
        return {
            "heritability": [m.share for m in self._models],
            "n_covariates": len(self._independent) if self._fixed else self._design.n_columns,
            "covariates": "fixed" if self._fixed else "random",
            "n_genotyped": len(self._lines),
            "n_variants": self._variants.height,
        }

    def _learn_genome(self, cohort: Cohort, piece: Piece) -> np.ndarray:
        """Frequencies and eigenbasis of the piece's genotyped rows; returns the piece's order with these first."""
        store = _store(cohort, self._evidence)
        line = _lines(cohort, store, self._evidence, piece.rows)
        order = np.argsort(line < 0, kind="stable")
        self._lines, self._variants = line[line >= 0], store.variants
        self._genome = whole_genome(store)
        self._frequency = allele_frequencies(self._genome, self._lines)
        k = relationship((self._genome, self._lines), (self._genome, self._lines), self._frequency)
        self._mean_self = mean_self(k)
        self._spectrum = Spectrum.of(k, int((line < 0).sum()))
        return order

    def _terms(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fixed and random columns of the standardised covariates."""
        one = np.ones((len(z), 1))
        if self._fixed:
            return np.concatenate([one, z[:, self._independent]], axis=1), z[:, :0]
        return one, z / np.sqrt(z.shape[1])

    def _related(self, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str]) -> tuple[np.ndarray, np.ndarray]:
        """Relationship (m, g) with the train rows, and self-relationship (m,)."""
        k, k_self = np.zeros((len(rows), len(self._lines))), np.full(len(rows), self._mean_self)
        if self._evidence in hidden or self._evidence not in cohort.evidences or cohort.kind_of(self._evidence) != "genotypes":
            return k, k_self
        store = _store(cohort, self._evidence)
        line = _lines(cohort, store, self._evidence, rows)
        genome: Genome = match_genome(self._variants, store)
        k[line >= 0] = relationship((genome, line[line >= 0]), (self._genome, self._lines), self._frequency)
        k_self[line >= 0] = self_relationship(genome, line[line >= 0], self._frequency)
        return k, k_self


def _store(cohort: Cohort, evidence: str) -> GenotypeStore:
    store = cohort.store(evidence)
    assert isinstance(store, GenotypeStore)  # the callers asked for the kind
    return store


def _lines(cohort: Cohort, store: GenotypeStore, evidence: str, rows: np.ndarray) -> np.ndarray:
    return np.where(np.asarray(cohort.present_in(evidence))[rows], np.asarray(store.index)[rows], -1)


def _scales(piece: Piece) -> np.ndarray:
    """The outcomes that mixed models are fitted to, f64 (m, L)."""
    if piece.n_classes > 2:
        return (piece.outcome[:, None] == np.arange(piece.n_classes)).astype(np.float64)
    return piece.outcome[:, None]


def _independent(z: np.ndarray) -> np.ndarray:
    """Columns that span the same space beside an intercept without being collinear, increasing."""
    if not z.size:
        return np.zeros(0, dtype=np.int64)
    _, r, pivot = qr(z - z.mean(axis=0), mode="economic", pivoting=True)
    size = np.abs(np.diag(r))
    return np.sort(pivot[: len(size)][size > 1e-6 * max(size[0], 1e-12)])

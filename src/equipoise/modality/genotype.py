"""The view of hard genotype calls, kept packed until the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np
import polars as pl
import torch

from equipoise.cohort.draft import GenotypeStore, TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import ALL_MISSING, Genotypes, GenotypesSpec
from equipoise.modality import Reader, View
from equipoise.modality.association import association, outcome_scores
from equipoise.modality.calls import MISSING, SWAPPED, allele_counts, blocks, pack
from equipoise.modality.gene_annotation import gene_annotation
from equipoise.modality.genetic_scores import ancestry_components, published_scores, unit_scores
from equipoise.modality.landmarks import landmarks
from equipoise.modality.variants import COLUMNS, Match, match_variants
from equipoise.modality.vector import rows_there


@final
class Genotype(View):
    """Variants of the train rows: mean and standard deviation of the counted allele's copies, optionally screened.

    Args:
        evidence: a genotypes evidence of the cohort.
        min_maf: least minor allele frequency in the train rows, in [0, 0.5).
        screen: keep this many variants, those with the strongest marginal association with the first task's outcome in the train rows
            (see `association`); None keeps all. In cross-validation this happens inside the fold.
        landmarks: the model keeps the calls of this many train people (all, if they are fewer), to which a kernel compares everybody; 0 keeps
            none. They become part of the model's file, which is then as confidential as the genotypes are.
        genes: a file that says which variants lie in which gene (see `gene_annotation`), for an encoder of genes; None = none.
        scores: a file of published weights (see `published_scores`), for an encoder of scores; None = none.
        components: so many principal components of the train rows' genotypes join the scores, >= 0.
        min_found: fewer than this share of the lines of such a file having a variant is a mistake, in [0, 1].
    """

    part = Genotypes

    def __init__(
        self,
        *,
        evidence: str,
        min_maf: float,
        screen: int | None,
        landmarks: int,
        genes: str | None,
        scores: str | None,
        components: int,
        min_found: float,
    ) -> None:
        super().__init__(evidence=evidence)
        self._min_maf, self._screen, self._landmarks = min_maf, screen, landmarks
        self._genes, self._scores, self._components, self._min_found = genes, scores, components, min_found
        self._variants = pl.DataFrame()
        self._spec: GenotypesSpec

    def fit(self, cohort: Cohort, rows: np.ndarray, outcome: TargetTable | None = None) -> None:
        store = genotype_store(cohort, self.evidence)
        rows = rows[cohort.present_in(self.evidence)[rows] & (store.index[rows] >= 0)]
        if not rows.size:
            raise UserError(f"No train row has evidence {self.evidence!r}", mend="leave the view out, or choose other roles")
        counts = allele_counts(store.packed, store.index[rows], store.variants.height)
        kept = np.flatnonzero(counts.maf >= self._min_maf)
        if not kept.size:
            raise UserError(f"No variant of evidence {self.evidence!r} has a minor allele frequency of {self._min_maf}", mend="lower the view's min_maf")
        if self._screen is not None and self._screen < kept.size:
            if outcome is None:
                raise UserError(f"The view of {self.evidence!r} screens variants, and there is no outcome", mend="set the view's screen to null")
            score, place = outcome_scores(outcome, rows)
            strength = association(store.packed, store.index[rows[place]], counts, score)[kept]
            # Ties are broken by place, so the choice does not depend on the sorting algorithm.
            kept = np.sort(kept[np.argsort(-strength, kind="stable")[: self._screen]])
        self._variants = store.variants.select(COLUMNS)[kept]
        mean, sd = (x[kept].astype(np.float32) for x in (counts.mean, counts.sd))
        self._spec = GenotypesSpec(
            kept.size,
            mean,
            sd,
            variants=self._variants,
            landmarks=landmarks(store.packed, store.index[rows], kept, self._landmarks) if self._landmarks else None,
            genes=self._annotated(store),
            scores=self._fixed_scores(store, store.index[rows], kept, mean, sd),
        )

    def _annotated(self, store: GenotypeStore) -> pl.DataFrame | None:
        if self._genes is None:
            return None
        return gene_annotation(Path(self._genes), store.variants["variant_id"], self._variants["variant_id"], self._min_found)

    def _fixed_scores(self, store: GenotypeStore, line: np.ndarray, kept: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray | None:
        """Published scores, then components, f32 (S, V)."""
        names, weights = published_scores(Path(self._scores), self._variants, self._min_found) if self._scores else ([], np.zeros((0, kept.size)))
        if self._components:
            weights = np.concatenate([weights, ancestry_components(store.packed, line, kept, self._variants, self._components)])
        names = [*names, *(f"component {i + 1}" for i in range(len(weights) - len(names)))]
        return unit_scores(names, weights, store.packed, line, kept, mean, sd) if names else None

    @property
    def spec(self) -> GenotypesSpec:
        return self._spec

    def open(self, cohort: Cohort) -> GenotypesReader:
        store = genotype_store(cohort, self.evidence)
        return GenotypesReader(store=store, present=cohort.present_in(self.evidence), match=match_variants(self._variants, store.variants))

    def items(self) -> tuple[str, ...]:
        return tuple(self._variants["variant_id"].cast(pl.String).fill_null(""))

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"variants": _texts(self._variants)}
        if self._spec.genes is not None:
            state["genes"] = _texts(self._spec.genes)
        return state | {k: torch.from_numpy(np.array(v)) for k in _ARRAYS if (v := getattr(self._spec, k)) is not None}

    def load_state(self, state: dict[str, Any]) -> None:
        self._variants = _table(state["variants"]).with_columns(pl.col("position").cast(pl.Int64))
        genes = _table(state["genes"]).with_columns(pl.col("variant").cast(pl.Int64), pl.col("pathway").replace("", None)) if "genes" in state else None
        arrays = {k: state[k].numpy() for k in _ARRAYS if k in state}
        self._spec = GenotypesSpec(n_variants=self._variants.height, variants=self._variants, genes=genes, **arrays)


@final
class GenotypesReader(Reader):
    """Gathers packed calls of a batch of rows.

    Args:
        store: the cohort's calls.
        present: bool (n,).
        match: where the fitted variants stand in the store; a missing one is a missing call.
    """

    def __init__(self, *, store: GenotypeStore, present: np.ndarray, match: Match) -> None:
        self.present = np.array(present, bool)
        there = match.place >= 0
        self.notes: dict[str, Any] = {
            "missing_variants": int(np.sum(~there)),
            "flipped_variants": int(np.sum(there & match.swapped)),
            "opposite_strand_variants": int(np.sum(there & match.opposite)),
        }
        self._n_variants = match.place.size
        self._line = np.array(store.index)
        self.notes["present_without_calls"] = int(np.sum(self.present & (self._line < 0)))
        self._packed = store.packed
        if not _as_stored(match, store):
            # Chosen, reordered or turned variants are packed anew, once, for the people whom rows name.
            used, line = np.unique(self._line, return_inverse=True)
            self._packed = _repacked(store, match, used[used >= 0])
            self._line = np.where(self._line < 0, -1, line - np.count_nonzero(used < 0))

    def __call__(self, rows: np.ndarray, keep: np.ndarray | None = None) -> Genotypes:
        place = rows_there(self.present, rows, keep)
        line = self._line[rows[place]]
        packed = np.array(self._packed[np.maximum(line, 0)]) if self._packed.shape[0] else np.zeros((line.size, self._packed.shape[1]), np.uint8)
        packed[line < 0] = ALL_MISSING
        return Genotypes(rows=torch.from_numpy(place), size=len(rows), packed=torch.from_numpy(packed), n_variants=self._n_variants)


_ARRAYS = ("mean", "sd", "landmarks", "scores")


def _texts(table: pl.DataFrame) -> dict[str, str]:
    """One long string a column: a list of a million strings would take seconds to load."""
    return {c: "\n".join(table[c].cast(pl.String).fill_null("")) for c in table.columns}


def _table(texts: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame({c: pl.Series(text.split("\n"), dtype=pl.String) for c, text in texts.items()})


def genotype_store(cohort: Cohort, evidence: str) -> GenotypeStore:
    """The evidence's calls.

    Raises:
        UserError: there is no such evidence, or it does not hold genotypes.
    """
    store = cohort.store(evidence)
    if not isinstance(store, GenotypeStore):
        raise UserError(
            f"Evidence {evidence!r} holds {cohort.kind_of(evidence)}", expected="an evidence that holds genotypes", mend="give this view another `evidence`"
        )
    return store


def _as_stored(match: Match, store: GenotypeStore) -> bool:
    return match.place.size == store.variants.height and not match.swapped.any() and bool((match.place == np.arange(match.place.size)).all())


def _repacked(store: GenotypeStore, match: Match, line: np.ndarray) -> np.ndarray:
    """u8 (lines, ceil(V/4)): the fitted variants in their order, counted as in the train rows."""
    out = np.empty((line.size, -(-match.place.size // 4)), np.uint8)
    missing = match.place < 0
    for at, call in blocks(store.packed, line, store.variants.height):
        chosen = call[:, np.maximum(match.place, 0)]
        chosen = np.where(match.swapped, SWAPPED[chosen], chosen)
        chosen[:, missing] = MISSING
        out[at] = pack(chosen)
    return out

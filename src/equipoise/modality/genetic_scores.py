"""Fixed scores of a genome: published weights from a file, and components of ancestry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.genotypes import Components, thinned, whole_genome
from equipoise.cohort.reading import as_number
from equipoise.contract.errors import UserError
from equipoise.modality.calls import COPIES, MISSING, blocks
from equipoise.modality.landmarks import landmarks
from equipoise.modality.option_file import option_table

_KEY = "the genotype view's scores"
_COMPLEMENT = str.maketrans("ACGT", "TGCA")
_MAX_PEOPLE, _MAX_VARIANTS = 5_000, 5_000  # of these the components come; more would add little to what ancestry they show


def published_scores(path: Path, variants: pl.DataFrame, min_share: float) -> tuple[list[str], np.ndarray]:
    """Weights of the copies of the counted allele.

    The file (csv, tsv, parquet) has the columns ``variant_id``, ``effect_allele`` and ``weight``, and ``score`` if it holds several scores. A weight of the
    other allele changes its sign; so does one on the opposite strand. Of A/T and C/G variants the strand cannot be seen: they are taken as written.

    Args:
        path: of the file.
        variants: columns variant_id, counted_allele, other_allele; V lines.
        min_share: fewer than this share of a score's lines being usable is a mistake, (0, 1].

    Returns:
        Names (S,) in order, and f64 (S, V); 0 for a variant that a score does not use.

    Raises:
        UserError: no such file or column, a line twice, a weight that is no number, or too few lines whose variant and allele the view has.
    """
    table = option_table(path, ("variant_id", "effect_allele", "weight"), _KEY)
    score = pl.col("score").cast(pl.String) if "score" in table.columns else pl.lit("score")
    table = table.select(pl.col("variant_id").cast(pl.String), pl.col("effect_allele").cast(pl.String), score.alias("score"), weight=_weights(table, path))
    if table.select("score", "variant_id").is_duplicated().any():
        raise UserError(f"File {path} gives a variant two weights in one score", expected="each variant once a score", mend="keep one of the lines")
    numbered = variants.select("variant_id", "counted_allele", "other_allele").with_row_index("number").unique("variant_id", keep="none")
    joined = table.join(numbered, on="variant_id", how="left", maintain_order="left")
    sign = np.array([_sign(*a) for a in joined.select("effect_allele", "counted_allele", "other_allele").iter_rows()])
    names = joined["score"].unique().sort().to_list()
    weights = np.zeros((len(names), variants.height))
    for i, name in enumerate(names):
        own = (joined["score"] == name).to_numpy()
        use = own & (sign != 0)
        if use.sum() < max(min_share * own.sum(), 1):
            absent = int(joined["number"].is_null().to_numpy()[own].sum())
            found = f"{use.sum()} of {own.sum()}; {absent} variants are not in the view, {own.sum() - use.sum() - absent} have other alleles"
            mend = "give the scores' variants their names in the cohort, or lower the view's min_scored"
            raise UserError(f"Score {name} of file {path} has too few usable lines", expected=f"a share of {min_share:g}", found=found, mend=mend)
        weights[i, joined["number"].to_numpy()[use].astype(np.int64)] = (sign * joined["weight"].to_numpy())[use]
    return names, weights


def _weights(table: pl.DataFrame, path: Path) -> pl.Series:
    weight = as_number(table["weight"], f"File {path}")
    if weight.is_null().any() or not weight.is_finite().all():
        raise UserError(f"File {path} lacks weights", found=f"{int((~weight.is_finite().fill_null(False)).sum())} lines without one", mend="remove these lines")
    return weight


def _sign(effect: str | None, counted: str | None, other: str | None) -> int:
    """1 where the effect allele is the counted one, -1 where it is the other, 0 where it is neither, nor on the opposite strand."""
    if not effect or not counted or not other:
        return 0
    effect, counted, other = effect.upper(), counted.upper(), other.upper()
    for allele in (effect, effect.translate(_COMPLEMENT)[::-1]):
        if allele in (counted, other):
            return 1 if allele == counted else -1
    return 0


def ancestry_components(packed: np.ndarray, line: np.ndarray, kept: np.ndarray, variants: pl.DataFrame, n_components: int) -> np.ndarray:
    """Loadings of principal components of these people on copies of the kept variants, f64 (C, K); of many people and variants, some are used.

    Args:
        packed: u8 (G, ceil(V/4)).
        line: i64, the train rows' lines.
        kept: i64 (K,).
        variants: K lines.
        n_components: >= 1; fewer come out where there are fewer people.
    """
    people = landmarks(packed, line, kept, _MAX_PEOPLE)
    store = GenotypeStore(people, np.arange(len(people)), variants)
    loading = Components.fit(store, store.index, n_components, max_variants=_MAX_VARIANTS).loading
    out = np.zeros((loading.shape[1], kept.size))
    out[:, thinned(whole_genome(store), _MAX_VARIANTS).index] = loading.T
    return out


def unit_scores(names: list[str], weights: np.ndarray, packed: np.ndarray, line: np.ndarray, kept: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """The same scores as weights of standardised calls, each with standard deviation 1 over these lines (missing calls at the mean), f32 (S, K).

    Raises:
        UserError: a score is the same for everybody.
    """
    total, squared = np.zeros(len(weights)), np.zeros(len(weights))
    for _, call in blocks(packed, line, packed.shape[1] * 4):
        own = call[:, kept]
        score = np.where(own == MISSING, 0.0, COPIES[own] - mean) @ weights.T
        total, squared = total + score.sum(0), squared + (score**2).sum(0)
    spread = np.sqrt(np.maximum(squared / line.size - (total / line.size) ** 2, 0.0))
    if same := [n for n, s in zip(names, spread, strict=True) if not s > 1e-9]:
        raise UserError(f"Score {same[0]} is the same for all train rows", found=f"{len(same)} such scores", mend="leave it out, or lower the view's min_maf")
    return (weights * sd / spread[:, None]).astype(np.float32)

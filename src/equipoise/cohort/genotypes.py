"""Reading packed genotypes: copies of the counted allele, frequencies, relationship, principal components; variants matched between cohorts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.linalg import eigh

from equipoise.cohort.draft import GenotypeStore

MISSING = -1
_COPIES_OF_CODE = np.array([2, MISSING, 1, 0], dtype=np.int8)
_BLOCK_CELLS = 8_000_000  # genotypes held unpacked at once
_MAX_PEOPLE = 5_000  # components of more people than this are found from evenly spaced ones: their eigendecomposition is cubic


@dataclass(frozen=True)
class Genome:
    """A genotype store read through a list of wanted variants, perhaps another cohort's.

    Args:
        store: the packed calls.
        index: i64 (V,), each wanted variant's place in the store, -1 where the store lacks it.
        swapped: bool (V,), where the store counts the other allele.
    """

    store: GenotypeStore
    index: np.ndarray
    swapped: np.ndarray

    @property
    def n_variants(self) -> int:
        return len(self.index)

    def copies(self, lines: np.ndarray, variants: np.ndarray) -> np.ndarray:
        """Copies of the counted allele.

        Args:
            lines: i64 (G,), lines of the store.
            variants: i64 (v,), positions in the wanted list.

        Returns:
            i8 (G, v): 0, 1, 2, or `MISSING`.
        """
        at = self.index[variants]
        there = np.maximum(at, 0)
        byte = np.asarray(self.store.packed[np.ix_(lines, there // 4)])
        code = (byte >> (2 * (there % 4)).astype(np.uint8)) & 3
        found = _COPIES_OF_CODE[code]
        found = np.where(self.swapped[variants] & (found != MISSING), 2 - found, found)
        return np.where(at >= 0, found, MISSING).astype(np.int8)

    def blocks(self, lines: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All variants in order, (positions, copies) a block, so that memory does not grow with the genome."""
        size = max(1, _BLOCK_CELLS // max(len(lines), 1))
        for begin in range(0, self.n_variants, size):
            variants = np.arange(begin, min(begin + size, self.n_variants))
            yield variants, self.copies(lines, variants)


def whole_genome(store: GenotypeStore) -> Genome:
    """The store read through its own list of variants."""
    n = store.variants.height
    return Genome(store, np.arange(n), np.zeros(n, dtype=bool))


def thinned(genome: Genome, n: int | None) -> Genome:
    """At most n variants, evenly spaced in the genome's order; all for None."""
    if n is None or genome.n_variants <= n:
        return genome
    at = np.linspace(0, genome.n_variants - 1, n).round().astype(np.int64)
    return Genome(genome.store, genome.index[at], genome.swapped[at])


def match_genome(wanted: pl.DataFrame, store: GenotypeStore) -> Genome:
    """The store read through another cohort's list of variants.

    Variants are the same when their names agree (their chromosome and position, where names are not unique) and so do their alleles, in
    either order; a strand flip is not guessed, such a variant counts as not measured.

    Args:
        wanted: columns of `GenotypeStore.variants`.
        store: any cohort's store.
    """
    unique = all(t["variant_id"].n_unique() == t.height for t in (wanted, store.variants))
    key = ["variant_id"] if unique else ["chromosome", "position"]
    there = store.variants.with_columns(_there=pl.int_range(pl.len(), dtype=pl.Int64)).select(
        *key, "_there", *(pl.col(a).alias(f"_{a}") for a in ("counted_allele", "other_allele"))
    )
    counted, other = pl.col("counted_allele"), pl.col("other_allele")
    same = (counted == pl.col("_counted_allele")) & (other == pl.col("_other_allele"))
    swapped = (counted == pl.col("_other_allele")) & (other == pl.col("_counted_allele"))
    joined = (
        wanted.with_columns(_here=pl.int_range(pl.len(), dtype=pl.Int64))
        .join(there, on=key, how="inner")
        .with_columns(_swapped=swapped, _same=same)
        .filter(pl.col("_same") | pl.col("_swapped"))
        .unique("_here", keep="first", maintain_order=True)
    )
    index = np.full(wanted.height, -1, dtype=np.int64)
    flip = np.zeros(wanted.height, dtype=bool)
    here = joined["_here"].to_numpy()
    index[here] = joined["_there"].to_numpy()
    flip[here] = joined["_swapped"].to_numpy()
    return Genome(store, index, flip)


def allele_frequencies(genome: Genome, lines: np.ndarray) -> np.ndarray:
    """Frequency of the counted allele among these lines, f64 (V,); NaN where nobody was called."""
    frequency = np.full(genome.n_variants, np.nan)
    for variants, copies in genome.blocks(lines):
        called = copies != MISSING
        count = called.sum(axis=0)
        total = np.where(called, copies, 0).sum(axis=0, dtype=np.int64)
        frequency[variants] = np.where(count > 0, total / np.maximum(2 * count, 1), np.nan)
    return frequency


def centred(copies: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Copies minus their expectation 2p, missing calls at their expectation: f64 (G, v)."""
    known = (copies != MISSING) & np.isfinite(frequency)
    return np.where(known, copies - 2 * np.nan_to_num(frequency), 0.0)


def relationship(left: tuple[Genome, np.ndarray], right: tuple[Genome, np.ndarray], frequency: np.ndarray) -> np.ndarray:
    """Genomic relationship matrix K = Z Z' / (2 sum p(1-p)), Z = copies - 2p.

    Args:
        left: a genome and its lines (G,).
        right: a genome of the same wanted variants and its lines (H,).
        frequency: f64 (V,), allele frequencies of the train rows, for both sides.

    Returns:
        f64 (G, H).

    Source: VanRaden 2008, method 1.
    """
    (a, lines_a), (b, lines_b) = left, right
    out = np.zeros((len(lines_a), len(lines_b)))
    size = max(1, _BLOCK_CELLS // max(len(lines_a) + len(lines_b), 1))
    for begin in range(0, len(frequency), size):
        part = np.arange(begin, min(begin + size, len(frequency)))
        z = centred(a.copies(lines_a, part), frequency[part])
        w = z if a is b and lines_a is lines_b else centred(b.copies(lines_b, part), frequency[part])
        out += z @ w.T
    return out / _heterozygosity(frequency)


def self_relationship(genome: Genome, lines: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """The diagonal of `relationship` of these lines with themselves, f64 (G,)."""
    out = np.zeros(len(lines))
    for variants, copies in genome.blocks(lines):
        out += (centred(copies, frequency[variants]) ** 2).sum(axis=1)
    return out / _heterozygosity(frequency)


def _heterozygosity(frequency: np.ndarray) -> float:
    p = frequency[np.isfinite(frequency)]
    return max(2 * float((p * (1 - p)).sum()), 1e-12)


@dataclass(frozen=True)
class Components:
    """Principal components of train people's genotypes, onto which anybody can be projected: ``score = K(new, train) U / sqrt(eigenvalue)``.

    Args:
        variants: the train cohort's variant table.
        frequency: f64 (V,).
        loading: f64 (V, C): ``copies - 2p`` times it gives the scores, which have mean square 1 over the train people.

    Source: Price et al. 2006, on VanRaden's relationship.
    """

    variants: pl.DataFrame
    frequency: np.ndarray
    loading: np.ndarray

    @classmethod
    def fit(cls, store: GenotypeStore, lines: np.ndarray, n_components: int, *, max_variants: int | None = None) -> Components:
        """From the people of these lines (repeats count once), at least one; of more than ``max_variants``, evenly spaced ones are used."""
        genome, lines = thinned(whole_genome(store), max_variants), np.unique(lines)
        lines = lines[:: -(-len(lines) // _MAX_PEOPLE)]
        frequency = allele_frequencies(genome, lines)
        k = relationship((genome, lines), (genome, lines), frequency)
        n_components = min(n_components, max(len(lines) - 1, 0))
        loading = np.zeros((genome.n_variants, n_components))
        if n_components:
            value, vector = eigh(k, subset_by_index=(len(lines) - n_components, len(lines) - 1))
            value, vector = value[::-1], vector[:, ::-1]
            # The sign of an eigenvector is arbitrary: fix it, so that machines agree.
            vector = vector * np.where(vector[np.abs(vector).argmax(axis=0), np.arange(n_components)] < 0, -1.0, 1.0)
            scale = np.where(value > 1e-9, np.sqrt(len(lines)) / (_heterozygosity(frequency) * np.maximum(value, 1e-9)), 0.0)
            for variants, copies in genome.blocks(lines):
                loading[variants] = centred(copies, frequency[variants]).T @ vector * scale
        return cls(store.variants[genome.index], frequency, loading)

    def scores(self, store: GenotypeStore, lines: np.ndarray) -> np.ndarray:
        """f64 (G, C), of lines of any cohort's store."""
        genome = match_genome(self.variants, store)
        out = np.zeros((len(lines), self.loading.shape[1]))
        for variants, copies in genome.blocks(lines):
            out += centred(copies, self.frequency[variants]) @ self.loading[variants]
        return out

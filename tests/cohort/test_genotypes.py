"""Packed genotypes against unpacked ones."""

from __future__ import annotations

import numpy as np
import polars as pl

from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.genotypes import MISSING, Components, allele_frequencies, match_genome, relationship, self_relationship, whole_genome
from equipoise.testing.cohorts import pack_calls


def make(seed: int = 0, people: int = 50, variants: int = 203, populations: int = 1) -> tuple[GenotypeStore, np.ndarray]:
    rng = np.random.default_rng(seed)
    frequency = rng.uniform(0.05, 0.95, (populations, variants))
    copies = rng.binomial(2, frequency[np.arange(people) % populations]).astype(np.int8)
    copies[rng.random(copies.shape) < 0.02] = MISSING
    table = pl.DataFrame(
        {
            "chromosome": ["1"] * variants,
            "variant_id": [f"rs{v}" for v in range(variants)],
            "position": np.arange(variants),
            "counted_allele": ["A"] * variants,
            "other_allele": ["C"] * variants,
        }
    )
    code = np.choose(copies + 1, [1, 3, 2, 0]).astype(np.uint8)
    return GenotypeStore(pack_calls(code), np.arange(people), table), copies


def test_copies_are_those_that_were_packed_for_any_lines_and_variants() -> None:
    store, copies = make()
    rng = np.random.default_rng(1)
    lines, variants = rng.integers(0, 50, 70), rng.integers(0, 203, 31)
    np.testing.assert_array_equal(whole_genome(store).copies(lines, variants), copies[np.ix_(lines, variants)])
    assert whole_genome(store).copies(np.zeros(0, np.int64), variants).shape == (0, 31)


def test_frequencies_leave_missing_calls_out() -> None:
    store, copies = make()
    copies = copies[5:20].astype(float)
    copies[copies == MISSING] = np.nan
    np.testing.assert_allclose(allele_frequencies(whole_genome(store), np.arange(5, 20)), np.nanmean(copies, axis=0) / 2)


def test_relationship_is_vanradens() -> None:
    store, copies = make()
    genome = whole_genome(store)
    frequency = allele_frequencies(genome, np.arange(30))
    z = np.where(copies == MISSING, 0.0, copies - 2 * frequency)
    expected = z @ z.T / (2 * (frequency * (1 - frequency)).sum())
    np.testing.assert_allclose(relationship((genome, np.arange(50)), (genome, np.arange(10)), frequency), expected[:, :10])
    np.testing.assert_allclose(self_relationship(genome, np.arange(50), frequency), np.diag(expected))


def test_components_separate_populations_and_train_people_project_onto_their_own_scores() -> None:
    store, _ = make(people=90, variants=400, populations=3)
    components = Components.fit(store, np.arange(60), 2)
    scores = components.scores(store, np.arange(90))
    np.testing.assert_allclose((scores[:60] ** 2).mean(axis=0), 1.0)
    assert abs(scores[:60].T @ scores[:60] / 60)[0, 1] < 1e-8
    centre = np.stack([scores[:60][np.arange(60) % 3 == i].mean(axis=0) for i in range(3)])
    nearest = ((scores[60:, None] - centre) ** 2).sum(axis=2).argmin(axis=1)  # people whom the fit has not seen
    assert (nearest == np.arange(60, 90) % 3).mean() > 0.95


def test_variants_are_matched_by_name_and_alleles_and_swapped_ones_are_turned() -> None:
    store, copies = make()
    other = GenotypeStore(
        store.packed,
        store.index,
        store.variants.with_columns(
            variant_id=pl.when(pl.col("position") == 7).then(pl.lit("new")).otherwise("variant_id"),
            counted_allele=pl.when(pl.col("position") == 3).then(pl.lit("C")).when(pl.col("position") == 4).then(pl.lit("T")).otherwise("counted_allele"),
            other_allele=pl.when(pl.col("position") == 3).then(pl.lit("A")).otherwise("other_allele"),
        ),
    )
    found = match_genome(store.variants, other).copies(np.arange(50), np.arange(10))
    known = copies[:, 3] != MISSING
    np.testing.assert_array_equal(found[known, 3], 2 - copies[known, 3])
    assert (found[:, [4, 7]] == MISSING).all()  # another allele, another name
    rest = [0, 1, 2, 5, 6, 8, 9]
    np.testing.assert_array_equal(found[:, rest], copies[:, rest])


def test_variants_without_unique_names_are_matched_by_place() -> None:
    store, copies = make()
    nameless = store.variants.with_columns(variant_id=pl.lit("."))
    other = GenotypeStore(store.packed, store.index, nameless)
    np.testing.assert_array_equal(match_genome(nameless, other).copies(np.arange(50), np.arange(203)), copies)

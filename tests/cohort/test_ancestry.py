"""Groups of ancestry found in the genotypes: they part populations, and learn nothing from rows that are not train rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise.cohort.ancestry import GENETIC_GROUP, MAX_GROUPS, genetic_groups
from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.testing.cohorts import pack_calls, tiny_draft

N, V = 300, 400


def cohort_of(folder: Path, seed_of_last: int = 0) -> tuple[Cohort, np.ndarray]:
    """Three populations; the last 100 people's own draws depend on ``seed_of_last``."""
    rng, other = np.random.default_rng(0), np.random.default_rng(seed_of_last)
    population = np.arange(N) % 3
    ancestral = rng.uniform(0.2, 0.8, V)
    frequency = np.clip(ancestral + rng.normal(0, 0.15, (3, V)), 0.03, 0.97)
    copies = np.concatenate([rng.binomial(2, frequency[population[:200]]), other.binomial(2, frequency[population[200:]])])
    draft = tiny_draft(n=N, n_variants=V)
    store = draft.stores["genotype"]
    assert isinstance(store, GenotypeStore)
    draft.stores["genotype"] = GenotypeStore(pack_calls(np.array([3, 2, 0], np.uint8)[copies]), np.arange(N), store.variants)
    draft.present[:, 1] = True
    draft.rows = draft.rows.with_columns(subject_id=pl.Series([f"P{i}" for i in range(N)]), cluster=pl.Series([f"P{i}" for i in range(N)]))
    return freeze(draft, folder, f"ancestry-{seed_of_last}", {}), population


def test_groups_hold_one_population_each(tmp_path: Path) -> None:
    cohort, population = cohort_of(tmp_path / "c")
    groups = genetic_groups(cohort, "genotype", np.arange(200))
    names = set(groups)
    assert 3 <= len(names) <= MAX_GROUPS
    assert all(str(n).startswith(GENETIC_GROUP) for n in names)
    for name in names:
        assert np.bincount(population[groups == name]).max() >= 0.98 * (groups == name).sum()


def test_train_rows_alone_decide(tmp_path: Path) -> None:
    (a, _), (b, _) = (cohort_of(tmp_path / f"c{s}", s) for s in (1, 2))
    one, other = (genetic_groups(c, "genotype", np.arange(200)) for c in (a, b))
    same = [len(set(other[:200][one[:200] == g])) for g in set(one[:200])]
    assert same == [1] * len(same)


def test_rows_without_genotypes_and_too_few_train_rows_have_no_group(tmp_path: Path) -> None:
    cohort, _ = cohort_of(tmp_path / "c")
    assert set(genetic_groups(cohort, "genotype", np.arange(30))) == {None}
    with pytest.raises(ValueError, match="no genotypes"):
        genetic_groups(cohort, "clinical", np.arange(200))

"""Kinship from genotypes: plink2's numbers, families of known kinship, and cohorts whose relatives nobody named."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort.written_sources import World, write_plink
from equipoise.cohort import king
from equipoise.cohort.build import build_cohort
from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.generator.genotypes import pack
from equipoise.cohort.genotypes import Genome, whole_genome
from equipoise.cohort.king import autosomes, king_robust, related_pairs
from equipoise.cohort.kinship import Kinship
from equipoise.cohort.lookup import Lookup, Relatives
from equipoise.cohort.splits import GivenRoles
from equipoise.contract.errors import UserError
from families_for_tests import draw_families

PLINK2 = Path(__file__).parents[1] / "reference" / "king_table.json"
RULE: dict[str, Any] = {"minimum": 0.0442, "max_people": 20_000, "min_variants": 10_000, "max_variants": 50_000}


def store_of(copies: np.ndarray, chromosomes: list[str] | None = None) -> GenotypeStore:
    n, v = copies.shape
    table = {"chromosome": chromosomes or ["1"] * v, "variant_id": [f"rs{i}" for i in range(v)], "position": list(range(v))}
    variants = pl.DataFrame({**table, "counted_allele": ["A"] * v, "other_allele": ["G"] * v})
    return GenotypeStore(pack(np.maximum(copies, 0), copies < 0), np.arange(n), variants)


def genome_of(copies: np.ndarray) -> Genome:
    return whole_genome(store_of(copies))


@pytest.mark.reference
def test_the_coefficients_are_those_of_plink2() -> None:
    kept = json.loads(PLINK2.read_text())
    copies = np.array([[-1 if c == "-" else int(c) for c in person] for person in kept["calls"]], np.int8)
    store = store_of(copies, kept["chromosomes"])
    assert autosomes(store.variants).tolist() == list(range(500))
    people = np.arange(len(copies))
    ours = king_robust(whole_genome(store), people, people, autosomes(store.variants))
    theirs = np.array([(int(a[1:]), int(b[1:]), phi) for a, b, _, phi in kept["pairs"]])
    assert len(theirs) == len(copies) * (len(copies) - 1) // 2
    a, b = theirs[:, :2].astype(int).T
    np.testing.assert_allclose(ours[a, b], theirs[:, 2], rtol=0, atol=5.1e-7)  # plink2 prints six digits
    assert theirs[:, 2].min() < -0.1
    assert theirs[:, 2].max() == 0.5


def test_families_have_the_kinship_that_they_were_drawn_with() -> None:
    rng = np.random.default_rng(1)
    families = draw_families(30, rng.uniform(0.05, 0.5, 20_000), rng, missing=0.02)
    people = np.arange(len(families.copies))
    found = king_robust(genome_of(families.copies), people, people, np.arange(20_000))
    for truth in np.unique(families.kinship):
        here = found[families.kinship == truth]
        assert abs(here.mean() - truth) < 0.005, truth
        assert here.std() < 0.012, truth
    strangers = found[families.kinship == 0]
    assert strangers.max() < 0.0442
    assert strangers.std() == pytest.approx(1 / np.sqrt(20_000), rel=0.1)  # as `Kinship` says of min_variants
    np.testing.assert_array_equal(found, found.T)


def test_pairs_do_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    families = draw_families(12, rng.uniform(0.1, 0.5, 3000), rng, missing=0.05)
    genome, people = genome_of(families.copies), np.arange(len(families.copies))
    whole = related_pairs(genome, people, np.arange(3000), 0.18)
    monkeypatch.setattr(king, "_BLOCK_PEOPLE", 7)
    monkeypatch.setattr(king, "_BLOCK_VARIANTS", 11)
    parts = related_pairs(genome, people, np.arange(3000), 0.18)
    order = np.lexsort((parts.second, parts.first))
    for of_whole, of_parts in ((whole.first, parts.first), (whole.second, parts.second), (whole.kinship, parts.kinship)):
        np.testing.assert_array_equal(of_whole, of_parts[order])
    assert (whole.first < whole.second).all()
    assert whole.first.size == int(np.triu(families.kinship >= 0.25, 1).sum())


def test_a_person_without_a_heterozygous_call_is_nobodys_relative() -> None:
    copies = np.array([[0, 2, 0, 2], [0, 2, 0, 2], [1, 1, -1, 0]])
    found = king_robust(genome_of(copies), np.arange(3), np.arange(3), np.arange(4))
    assert np.isnan(found[0, 1])
    assert related_pairs(genome_of(copies), np.arange(3), np.arange(4), 0.0442).first.size == 0


def test_sex_chromosomes_and_the_mitochondrion_are_left_out() -> None:
    names = ["1", "chr2", "X", "chrX", "22", "23", "25", "MT", "chrM", "Y", "PAR1", "0", None]
    assert autosomes(pl.DataFrame({"chromosome": names})).tolist() == [0, 1, 4]


def genotyped(folder: Path, families: int = 40, variants: int = 4000) -> World:
    """A world whose people are families; nothing but their genotypes says so."""
    world, rng = World(folder, n=6 * families), np.random.default_rng(3)
    write_plink(folder / "geno", draw_families(families, rng.uniform(0.1, 0.5, variants), rng).copies, world.ids)
    return world


def built(world: World, **more: Any) -> Cohort:
    return build_cohort(world.source(**more), world.folder / "cohorts")


def test_relatives_are_one_cluster_where_only_genotypes_tell_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = genotyped(tmp_path)
    with caplog.at_level(logging.WARNING):
        cohort = built(world, kinship=Kinship(**RULE | {"min_variants": 1000, "minimum": 0.18}))
    family = np.arange(240) // 6
    cluster = cohort.rows["cluster"].to_numpy()
    assert len(set(cluster.tolist())) == 40
    assert len(set(zip(cluster.tolist(), family.tolist(), strict=True))) == 40
    assert cohort.rows.with_columns(family=family).group_by("family").agg(pl.col("role").n_unique())["role"].max() == 1
    assert cohort.manifest["counts"]["kinship"] == {"genotype": {"people": 240, "variants": 4000, "pairs": 40 * 7, "people_of_largest_cluster": 6}}
    assert "280 pairs of relatives were found from the genotypes" in caplog.text
    apart = built(world).rows
    assert apart["cluster"].n_unique() == 240
    assert apart.with_columns(family=family).group_by("family").agg(pl.col("role").n_unique())["role"].max() > 1


def test_rows_that_no_split_names_join_their_relatives_too(tmp_path: Path) -> None:
    world = genotyped(tmp_path, families=10)
    pl.DataFrame({"id": world.ids[::3], "split": ["a", "b"] * 10}).write_csv(tmp_path / "splits.csv")
    given = GivenRoles(path=str(tmp_path / "splits.csv"), id="id", column="split", divide={"a": {"train": 0.5, "select": 0.5}, "b": "held_out"})
    rule = Kinship(**RULE | {"min_variants": 1000, "minimum": 0.18})
    with pytest.raises(UserError, match="10 clusters lie in two splits"):
        built(world, kinship=rule, roles=given)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"min_variants": 1000, "max_people": 200}, "more than 200 people.*give cohort.relatives.*raise cohort.kinship.max_people"),
        ({}, "fewer than 10000 autosomal variants.*give cohort.relatives.*read more chromosomes"),
        (None, "cohort.kinship is null.*give cohort.relatives"),
    ],
)
def test_where_relatives_cannot_be_found_it_is_said(tmp_path: Path, rule: dict[str, Any] | None, why: str, caplog: pytest.LogCaptureFixture) -> None:
    world = genotyped(tmp_path)
    with caplog.at_level(logging.WARNING):
        cohort = built(world, kinship=None if rule is None else Kinship(**RULE | rule))
    assert cohort.rows["cluster"].n_unique() == 240
    assert len(cohort.manifest["counts"]["notes"]) == 1
    assert any(re.search(why, record.getMessage()) for record in caplog.records)


def test_a_cluster_that_holds_almost_everybody_is_said_before_roles_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = genotyped(tmp_path, variants=300)  # so few that strangers pass the bound by chance
    with caplog.at_level(logging.WARNING), pytest.raises(UserError, match="1 clusters cannot be divided into 4 roles"):
        built(world, kinship=Kinship(**RULE | {"min_variants": 300}))
    assert "the largest cluster of relatives holds 240 of 240 people: raise cohort.kinship.minimum" in caplog.text


def test_known_clusters_and_relatives_are_trusted_and_keep_the_hash(tmp_path: Path) -> None:
    world = genotyped(tmp_path, families=5)
    rule = Kinship(**RULE | {"min_variants": 1000})
    pl.DataFrame({"id": world.ids, "family": [f"F{i // 6}" for i in range(30)]}).write_csv(tmp_path / "families.csv")
    pl.DataFrame({"a": world.ids[:1], "b": world.ids[1:2], "phi": [0.25]}).write_csv(tmp_path / "king.csv")
    clusters = Lookup(path=str(tmp_path / "families.csv"), id="id", column="family")
    relatives = Relatives(path=str(tmp_path / "king.csv"), first="a", second="b", kinship="phi")
    table_only = {"evidence": {"clinical": world.evidence()["clinical"]}}
    for more in ({"clusters": clusters}, {"relatives": relatives}, {"predict_only": True}, table_only):
        assert world.source(kinship=rule, **more).fingerprint() == world.source(kinship=None, **more).fingerprint()
    assert world.source(kinship=rule).fingerprint() != world.source(kinship=None).fingerprint()
    cohort = built(world, kinship=rule, relatives=relatives)
    assert cohort.rows["cluster"].n_unique() == 29
    assert "kinship" not in cohort.manifest["counts"]


def test_wrong_rules_are_named() -> None:
    for wrong, key in (({"minimum": 0.0}, "minimum"), ({"minimum": 0.6}, "minimum"), ({"min_variants": 10, "max_variants": 5}, "min_variants")):
        with pytest.raises(UserError, match=f"cohort.kinship.{key}"):
            Kinship(**RULE | wrong)

"""Genotypes: families, linkage, packing, the score; agreement with a coalescent simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.generator.genotypes import pack
from equipoise.cohort.generator.haplotypes import draw_panel
from equipoise.cohort.generator.world import World
from genome_statistics import statistics
from synthetic_source import SMALL, synthetic


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic("synthetic", "genome.variants=800", "genome.chromosomes=40", "people.relatives=0.6", "genome.missing_calls=0.02", n=800)._world


def correlation_within(dosage: np.ndarray, pairs: np.ndarray, frequency: np.ndarray) -> float:
    x = (dosage - 2 * frequency) / np.sqrt(2 * frequency * (1 - frequency))
    return float((x[pairs[:, 0]] * x[pairs[:, 1]]).mean())


def pairs_of(same: np.ndarray) -> np.ndarray:
    first = np.flatnonzero(same[1:] == same[:-1])
    return np.column_stack([first, first + 1])


def test_full_siblings_share_half_and_partners_nothing(world: World) -> None:
    people = world.people
    pure = people.ancestry[:, 0] == 1.0  # one population, so that ancestry does not look like kinship
    frequency = np.clip(world.genome.dosage[pure].mean(axis=0) / 2, 0.01, 0.99)
    siblings = pairs_of(people.sibship)
    partners = pairs_of(people.household)
    partners = partners[people.sibship[partners[:, 0]] != people.sibship[partners[:, 1]]]
    siblings, partners = siblings[pure[siblings[:, 0]]], partners[pure[partners[:, 0]]]
    assert len(siblings) > 60
    assert len(partners) > 30
    assert abs(correlation_within(world.genome.dosage, siblings, frequency) - 0.5) < 0.05
    assert abs(correlation_within(world.genome.dosage, partners, frequency)) < 0.05


def test_within_a_population_genotypes_are_in_hardy_weinberg_proportions(world: World) -> None:
    dosage = world.genome.dosage[(world.people.ancestry[:, 0] == 1.0)]
    p = dosage.mean(axis=0) / 2
    expected, found = 2 * p * (1 - p), (dosage == 1).mean(axis=0)
    assert abs(found.mean() / expected.mean() - 1) < 0.03


def test_the_packed_calls_decode_to_the_dosages_and_their_missing_ones(world: World) -> None:
    store = synthetic("synthetic", "genome.variants=61", "genome.chromosomes=3", "genome.missing_calls=0.05", n=200)
    draft, genome = store.draft(), store._world.genome
    found = draft.stores["genotype"]
    assert isinstance(found, GenotypeStore)
    code = (found.packed[:, :, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    code = code.reshape(found.packed.shape[0], -1)[:, :61]
    rows = np.flatnonzero(found.index >= 0)
    decoded = np.array([2, -1, 1, 0])[code]
    assert np.array_equal(decoded, np.where(genome.missing[rows], -1, genome.dosage[rows].astype(int)))
    assert 0.01 < (decoded == -1).mean() < 0.06
    assert not genome.missing[:, genome.effect != 0].any()


def test_packing_follows_plinks_two_bit_code() -> None:
    assert pack(np.array([[0, 1, 2, 1, 0]]), np.array([[False, False, False, True, False]])).tolist() == [[0b01_00_10_11, 0b11]]


def test_the_score_is_standard_and_knows_nothing_of_ancestry(world: World) -> None:
    score, ancestry = world.genome.score, world.people.ancestry
    assert abs(score.mean()) < 1e-9
    assert abs(score.std() - 1) < 1e-9
    assert max(abs(np.corrcoef(score, ancestry[:, k])[0, 1]) for k in range(3)) < 1e-6


def test_heritability_is_the_share_of_the_first_dimension_that_the_score_explains() -> None:
    for h2 in (0.0, 0.5):
        world = synthetic("synthetic", *SMALL, f"state.heritability={h2}", n=3000)._world
        assert abs(np.corrcoef(world.genome.score, world.z[:, 0])[0, 1] ** 2 - h2) < 0.04


def test_epistasis_takes_the_score_away_from_any_sum_of_dosages() -> None:
    def additive_share(epistasis: float) -> float:
        dials = ("genome.variants=60", "genome.chromosomes=4", "genome.polygenicity=0.3", "people.admixed=0", "people.populations=[1,1e-6,1e-6]")
        genome = synthetic("synthetic", *dials, f"genome.epistasis={epistasis}", n=1500)._world.genome
        x = np.column_stack([np.ones(1500), genome.dosage[:, genome.effect != 0]])
        residual = genome.score - x @ np.linalg.lstsq(x, genome.score, rcond=None)[0]
        return 1 - float(residual.var())

    assert additive_share(0.0) > 0.999
    assert 0.3 < additive_share(0.6) < 0.75


def test_ancestry_predicts_site_and_deprivation_only_when_the_dial_says_so() -> None:
    def explained(confounding: float) -> tuple[float, float]:
        people = synthetic("synthetic", *SMALL, f"people.ancestry_confounding={confounding}", n=3000)._world.people
        table = np.array([[(people.site[people.ancestry[:, k] == 1] == s).mean() for s in range(6)] for k in range(3)])
        return float(np.corrcoef(people.ancestry[:, 0] - people.ancestry[:, 2], people.deprivation)[0, 1]), float(np.ptp(table, axis=0).max())

    off, on = explained(0.0), explained(0.8)
    assert abs(off[0]) < 0.06
    assert off[1] < 0.12
    assert abs(on[0] - 0.8) < 0.05
    assert on[1] > 0.3


@pytest.mark.reference
def test_spectrum_drift_and_linkage_agree_with_msprime() -> None:
    frozen = json.loads((Path(__file__).parent / "genome_statistics.json").read_text())
    settings = frozen["settings"]
    words = (
        f"genome.variants={settings['sites'] * settings['chromosomes']}",
        f"genome.chromosomes={settings['chromosomes']}",
        f"genome.chromosome_cm={settings['chromosome_cm']}",
        f"genome.founders={settings['haplotypes']}",
        f"genome.fst={list(settings['fst'])}",
        f"genome.effective_size={float(settings['effective_size'])}",
    )
    panel = draw_panel(0, synthetic("synthetic", *words).dials.genome)
    chromosomes = []
    for c in range(settings["chromosomes"]):
        here = panel.chromosome == c
        chromosomes.append((panel.haplotype[:, :, here], 100 * panel.position_morgan[here]))
    found = statistics(chromosomes)
    assert np.abs(np.array(found["spectrum"]) - frozen["spectrum"]).max() < 0.03
    # The panel is the population, not a sample of it: Hudson's correction for sampling takes about 1/founders too much.
    assert np.allclose(np.array(found["fst"]) + 1 / settings["haplotypes"], frozen["fst"], rtol=0.2)
    for k in (1, 2, 3):
        assert np.allclose(found[f"r2_population_{k}"], frozen[f"r2_population_{k}"], rtol=0.25), k

"""Everybody's genotypes: parents as mosaics of the founders, children by meiosis, the score of the causal variants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from equipoise.cohort.generator.dials import stream
from equipoise.cohort.generator.haplotypes import GenomeDials, Panel, fill_forward, gaps
from equipoise.cohort.generator.people import People

_ALLELES = np.array([("A", "C"), ("A", "G"), ("A", "T"), ("C", "G"), ("C", "T"), ("G", "T")])


@dataclass(frozen=True)
class Genome:
    """Genotypes and what they do.

    Args:
        dosage: u8 (n, V), copies of the counted allele, without missing calls.
        missing: bool (n, V), calls that are missing in what is observed.
        effect: f64 (V,), additive effect of each variant on its standardised scale; 0 where not causal.
        score: f64 (n,): the genome's score G, mean 0 and variance 1, uncorrelated with ancestry.
        marker: the variant that modifies the treatment's effect when that dial says so.
        variants: as in `cohort.draft.GenotypeStore`.
    """

    dosage: np.ndarray
    missing: np.ndarray
    effect: np.ndarray
    score: np.ndarray
    marker: int
    variants: pl.DataFrame


def draw_genome(people: People, panel: Panel, seed: int, dials: GenomeDials) -> Genome:
    """Draws the genotypes of everybody and the effects of the causal variants.

    Args:
        people: everybody, with sibships and ancestry.
        panel: the founders.
        seed: the cohort's seed.
        dials: the dials.
    """
    dosage = _people_dosage(people, panel, seed, dials)
    frequency = panel.frequency.mean(axis=0)
    marker = int(np.argmin(np.abs(np.minimum(frequency, 1.0 - frequency) - 0.3)))
    effect, score = _score(dosage, people.ancestry, seed, dials)
    missing = stream("missing calls", seed).random(dosage.shape) < dials.missing_calls
    missing[:, (effect != 0) | (np.arange(effect.size) == marker)] = False
    return Genome(dosage, missing, effect, score, marker, _variants(panel, stream("alleles", seed)))


def pack(dosage: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """PLINK's 2-bit code, four variants a byte, lowest bits first: u8 (n, ceil(V/4)).

    >>> pack(np.array([[2, 1, 0, 0, 2]]), np.array([[False, False, False, True, False]])).tolist()
    [[120, 0]]
    """
    code = np.array([3, 2, 0], np.uint8)[dosage]
    code[missing] = 1
    width = -(-code.shape[1] // 4) * 4
    padded = np.zeros((code.shape[0], width), np.uint8)
    padded[:, : code.shape[1]] = code
    return np.bitwise_or.reduce(padded.reshape(code.shape[0], -1, 4) << np.array([0, 2, 4, 6], np.uint8), axis=2)


def mosaics(ancestry: np.ndarray, panel: Panel, generations: float, rng: np.random.Generator) -> np.ndarray:
    """Haplotypes copied from the founders, u8 (m, V).

    Along a chromosome the population switches ``generations`` times per Morgan to one drawn from ``ancestry``; within a population the
    copied founder switches 4 N / founders times per Morgan.

    Args:
        ancestry: f64 (m, 3), rows sum to 1.
        panel: the founders.
        generations: since admixture.
        rng: a generator.
    """
    n_founders = panel.haplotype.shape[1]
    gap, out = gaps(panel.chromosome, panel.position_morgan), np.empty((ancestry.shape[0], panel.chromosome.size), np.uint8)
    edges = np.cumsum(ancestry, axis=1)[:, :2]
    for c in range(int(panel.chromosome[-1]) + 1):
        sites = np.flatnonzero(panel.chromosome == c)
        shape = (ancestry.shape[0], sites.size)
        moved = rng.random(shape) < -np.expm1(-generations * gap[sites])
        moved[:, 0] = True  # with no generations since admixture a chromosome is of one population
        at = rng.random(shape)
        population = fill_forward(moved, (at > edges[:, :1]).astype(np.int8) + (at > edges[:, 1:]))
        switch = moved | (rng.random(shape) < -np.expm1(-4.0 * panel.sizes[population] * gap[sites] / n_founders))
        founder = fill_forward(switch, rng.integers(0, n_founders, shape, dtype=np.int32))
        out[:, sites] = panel.haplotype[population, founder, sites]
    return out


def gametes(first: np.ndarray, second: np.ndarray, panel: Panel, rng: np.random.Generator) -> np.ndarray:
    """One gamete from each pair of haplotypes u8 (m, V): crossovers as a Poisson process of one per Morgan, no interference.

    Source: Haldane 1919.
    """
    gap = gaps(panel.chromosome, panel.position_morgan)
    recombined = np.where(np.isinf(gap), 0.5, 0.5 * -np.expm1(-2.0 * np.where(np.isinf(gap), 0.0, gap)))
    strand = np.logical_xor.accumulate(rng.random(first.shape) < recombined, axis=1)
    return np.where(strand, second, first)


def _people_dosage(people: People, panel: Panel, seed: int, dials: GenomeDials) -> np.ndarray:
    sibships, first_child = np.unique(people.sibship, return_index=True)
    parent = np.searchsorted(sibships, people.sibship)
    copying, meiosis = stream("parents", seed), stream("meiosis", seed)
    dosage = np.zeros((people.sibship.size, panel.chromosome.size), np.uint8)
    for _ in range(2):  # a mother and a father, from the same pedigree ancestry
        pair = [mosaics(people.ancestry[first_child], panel, dials.admixture_generations, copying) for _ in range(2)]
        dosage += gametes(pair[0][parent], pair[1][parent], panel, meiosis)
    return dosage


def _score(dosage: np.ndarray, ancestry: np.ndarray, seed: int, dials: GenomeDials) -> tuple[np.ndarray, np.ndarray]:
    """Effects (V,) and the score (n,): additive and pairwise parts on standardised dosages, then centred and scaled given ancestry."""
    rng = stream("effects", seed)
    n_variants = dosage.shape[1]
    causal = np.sort(rng.choice(n_variants, max(2, round(dials.polygenicity * n_variants)), replace=False))
    weight = rng.standard_normal(causal.size)
    effect = np.zeros(n_variants)
    effect[causal] = weight
    x = dosage[:, causal].astype(float)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)
    first, second = np.split(rng.permutation(causal.size)[: causal.size // 2 * 2], 2)
    products = x[:, first] * x[:, second] @ rng.standard_normal(first.size)
    score = np.sqrt(1.0 - dials.epistasis) * _standard(x @ weight) + np.sqrt(dials.epistasis) * _standard(products)
    return effect, given_ancestry(score, ancestry)


def given_ancestry(score: np.ndarray, ancestry: np.ndarray) -> np.ndarray:
    """Removes from a score its mean and its variance's dependence on ancestry (both by least squares), so that ancestry itself is never causal."""
    basis = np.column_stack([np.ones(score.size), ancestry[:, :2]])

    def fitted(y: np.ndarray) -> np.ndarray:
        return basis @ np.linalg.lstsq(basis, y, rcond=None)[0]

    residual = score - fitted(score)
    spread = np.clip(fitted(residual**2), 0.2 * residual.var(), 5.0 * residual.var()) if score.size > 3 else np.ones_like(residual)
    even = residual / np.sqrt(np.maximum(spread, 1e-12))
    return _standard(even - fitted(even))


def _standard(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / max(float(x.std()), 1e-12)


def _variants(panel: Panel, rng: np.random.Generator) -> pl.DataFrame:
    pair = _ALLELES[rng.integers(0, len(_ALLELES), panel.chromosome.size)]
    chromosome = (panel.chromosome + 1).astype(str)
    # One centimorgan is about one megabase; a step up keeps positions distinct.
    base = np.floor(panel.position_morgan * 1e8).astype(np.int64) + np.arange(panel.chromosome.size)
    return pl.DataFrame(
        {
            "chromosome": chromosome,
            "variant_id": [f"chr{c}:{b}" for c, b in zip(chromosome, base, strict=True)],
            "position": base,
            "counted_allele": pair[:, 0],
            "other_allele": pair[:, 1],
        }
    )

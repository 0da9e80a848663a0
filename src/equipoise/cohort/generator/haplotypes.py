"""Haplotypes of three related populations, by a copying model of our own.

Each new haplotype is a mosaic of those before it: it copies a uniformly chosen earlier haplotype and switches with distance. At one site this is
Polya's urn. In the ancestral population every site mutates once, on the (j+1)-th haplotype with probability ~ 1/j: then the allele's frequency has
density sum_j (1/j) Beta(1, j) = 1/x, the neutral spectrum. A population starts from M haplotypes of the ancestral one and grows to its panel of H:
sampling leaves 1 - 1/M of the heterozygosity, the urn's growth 1 - (H-M)/(H(M+1)) of that; M is chosen so that the product is 1 - F, which is the
Balding-Nichols variance F p(1-p). Along the genome the j-th haplotype switches at about 4 N / j per Morgan, so that linkage decays as in a sample of a
population of N; N_k follows from F_k = 1 - exp(-T/(2 N_k)) with all populations split T generations ago.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.cohort.generator.dials import require, stream
from equipoise.contract.errors import UserError

_SWITCHING = 0.75  # copying overstates recombination a little (Li and Stephens correct for it too); set so that linkage agrees with msprime's


@dataclass(frozen=True, kw_only=True)
class GenomeDials:
    """Dials of the genome.

    Args:
        variants: number of variants V, spread evenly over the chromosomes.
        chromosomes: number of chromosomes (independent regions).
        chromosome_cm: length of each, centimorgans > 0.
        effective_size: N of the ancestral population: linkage decays faster with more.
        split_generations: T, generations since the populations split: with F it sets their sizes, and so how fast their linkage decays.
        founders: haplotypes of each population's panel, from which everybody's chromosomes are copied.
        fst: drift F of each of the three populations since the split, each 0.01 to 0.5.
        admixture_generations: generations since admixture: ancestry along a mixed chromosome switches so many times per Morgan.
        min_maf: smallest minor allele frequency, in the mean of the populations.
        missing_calls: share of calls that are missing, 0 (off) to 0.2; causal variants and the effect's marker are always called.
        polygenicity: share of variants that are causal, above 0 to 1.
        epistasis: share of the score's variance that comes from products of two causal variants, 0 (off) to 1.
    """

    variants: int
    chromosomes: int
    chromosome_cm: float
    effective_size: float
    split_generations: float
    founders: int
    fst: tuple[float, float, float]
    admixture_generations: float
    min_maf: float
    missing_calls: float
    polygenicity: float
    epistasis: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "fst", tuple(float(f) for f in self.fst))
        require("genome.fst (their number)", len(self.fst), 3, 3)
        for f in self.fst:
            require("genome.fst", f, 0.01, 0.5)
        for dial, low, high in (
            ("chromosomes", 1, 1000),
            ("variants", max(self.chromosomes, 8), 1_000_000),
            ("chromosome_cm", 1e-3, 400.0),
            ("effective_size", 10.0, 1e6),
            ("split_generations", 1.0, 1e5),
            ("founders", max(20.0, 1.1 / min(self.fst)), 5000),
            ("admixture_generations", 0.0, 1000.0),
            ("min_maf", 0.0, 0.4),
            ("missing_calls", 0.0, 0.2),
            ("polygenicity", 1e-9, 1.0),
            ("epistasis", 0.0, 1.0),
        ):
            require(f"genome.{dial}", getattr(self, dial), low, high)

    @property
    def lineages(self) -> tuple[int, ...]:
        """M of each population: the number of ancestral haplotypes that it starts from."""
        m = np.arange(2, self.founders)
        drift = 1.0 - (1.0 - 1.0 / m) * (1.0 - (self.founders - m) / (self.founders * (m + 1.0)))
        return tuple(int(m[np.argmin(np.abs(drift - f))]) for f in self.fst)

    @property
    def sizes(self) -> np.ndarray:
        """N of each population, f64 (3,)."""
        return -self.split_generations / (2.0 * np.log1p(-np.array(self.fst)))


@dataclass(frozen=True)
class Panel:
    """Founder haplotypes.

    Args:
        haplotype: u8 (3, founders, V), 1 = the counted allele.
        chromosome: i64 (V,), 0-based, increasing.
        position_morgan: f64 (V,), increasing within a chromosome.
        sizes: N of the populations, f64 (3,).
    """

    haplotype: np.ndarray
    chromosome: np.ndarray
    position_morgan: np.ndarray
    sizes: np.ndarray

    @property
    def frequency(self) -> np.ndarray:
        """Counted-allele frequencies of the panels, f64 (3, V)."""
        return self.haplotype.mean(axis=1)


def draw_panel(seed: int, dials: GenomeDials) -> Panel:
    """Draws the founder panels of the three populations.

    Raises:
        UserError: too few sites reach ``min_maf``.

    Source: ours; copying after Li and Stephens 2003 (the product of approximate conditionals), drift after Balding and Nichols 1995.
    """
    rng = stream("haplotypes", seed)
    seeds = dials.lineages
    per_chromosome = -(-dials.variants // dials.chromosomes)
    candidates = max(5 * per_chromosome, 200)  # about half vary enough
    chromosome = np.repeat(np.arange(dials.chromosomes), candidates)
    position = np.sort(rng.random((dials.chromosomes, candidates)), axis=1).ravel() * dials.chromosome_cm / 100.0
    gap = gaps(chromosome, position)
    ancestral = _grow(np.zeros((1, gap.size), np.uint8), max(200, sum(seeds)), gap, dials.effective_size, rng, mutate=True)
    start = np.split(rng.permutation(ancestral.shape[0])[: sum(seeds)], np.cumsum(seeds)[:-1])
    panel = np.stack([_grow(ancestral[s], dials.founders, gap, size, rng, mutate=False) for s, size in zip(start, dials.sizes, strict=True)])
    keep = _choose(panel.mean(axis=(0, 1)), chromosome, dials, rng)
    return Panel(panel[:, :, keep], chromosome[keep], position[keep], dials.sizes)


def gaps(chromosome: np.ndarray, position_morgan: np.ndarray) -> np.ndarray:
    """Distance of each site from the one before it, Morgans f64 (V,); infinite at a chromosome's first site."""
    gap = np.diff(position_morgan, prepend=0.0)
    gap[np.diff(chromosome, prepend=-1) != 0] = np.inf
    return gap


def fill_forward(switch: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Along the last axis, the value at the last switch: what a mosaic copies from. ``switch`` must be True at the first site.

    >>> fill_forward(np.array([[True, False, True]]), np.array([[5, 6, 7]])).tolist()
    [[5, 5, 7]]
    """
    at = np.maximum.accumulate(np.where(switch, np.arange(switch.shape[-1]), 0), axis=-1)
    return np.take_along_axis(value, at, axis=-1)


def _grow(start: np.ndarray, size: int, gap: np.ndarray, effective_size: float, rng: np.random.Generator, *, mutate: bool) -> np.ndarray:
    """Adds haplotypes, each a mosaic of those before it, up to ``size``; u8 (size, L)."""
    out = np.zeros((size, gap.size), np.uint8)
    begin = start.shape[0]
    out[:begin] = start
    step, site = np.arange(begin, size), np.arange(gap.size)
    mutation = rng.choice(step, gap.size, p=(1.0 / step) / (1.0 / step).sum()) if mutate else np.full(gap.size, -1)
    for j in step:
        switch = rng.random(gap.size) < -np.expm1(-4.0 * _SWITCHING * effective_size * gap / j)
        out[j] = out[fill_forward(switch, rng.integers(0, j, gap.size)), site]
        out[j, mutation == j] = 1
    return out


def _choose(frequency: np.ndarray, chromosome: np.ndarray, dials: GenomeDials, rng: np.random.Generator) -> np.ndarray:
    """Sites kept: common enough, the same number on each chromosome (the first ones take the remainder), in order."""
    fits = np.minimum(frequency, 1.0 - frequency) >= max(dials.min_maf, 1e-12)
    kept = []
    for c in range(dials.chromosomes):
        wanted = dials.variants // dials.chromosomes + (c < dials.variants % dials.chromosomes)
        found = np.flatnonzero(fits & (chromosome == c))
        if found.size < wanted:
            raise UserError(
                "Too few variants of the synthetic genome are common enough",
                expected=f"{wanted} on each chromosome with minor allele frequency of at least cohort.genome.min_maf {dials.min_maf:g}",
                found=f"{found.size}",
                mend="lower cohort.genome.min_maf, or take more chromosomes",
            )
        kept.append(np.sort(rng.choice(found, wanted, replace=False)))
    return np.concatenate(kept)

"""Freezes msprime's site frequency spectrum, F_ST and linkage decay for three populations, for tests/cohort/test_synthetic_genome.py.

A coalescent with recombination: one ancestral population of N_e = 10,000 that splits into three at once, whose sizes give each a drift of
F_k = 1 - exp(-T / (2 N_k)), as the generator's Balding-Nichols F. Run from the checkout's top: python tests/reference/make_genome_statistics.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msprime
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from genome_statistics import common, statistics

FST, N_E, GENERATIONS, HAPLOTYPES, CHROMOSOMES, LENGTH_CM, SITES = (0.02, 0.05, 0.10), 10_000, 800, 200, 60, 1.0, 100

demography = msprime.Demography()
demography.add_population(name="ancestral", initial_size=N_E)
for k, f in enumerate(FST):
    demography.add_population(name=f"p{k}", initial_size=GENERATIONS / (-2 * np.log(1 - f)))
demography.add_population_split(time=GENERATIONS, derived=[f"p{k}" for k in range(3)], ancestral="ancestral")

rng = np.random.default_rng(1)
chromosomes = []
for c in range(CHROMOSOMES):
    # One centimorgan is 1 Mb at 1e-8 per base and generation.
    trees = msprime.sim_ancestry(
        samples={f"p{k}": HAPLOTYPES // 2 for k in range(3)},
        demography=demography,
        sequence_length=LENGTH_CM * 1e6,
        recombination_rate=1e-8,
        random_seed=100 + c,
    )
    trees = msprime.sim_mutations(trees, rate=1.5e-8, random_seed=200 + c, model=msprime.BinaryMutationModel())
    haplotype = (trees.genotype_matrix().T != 0).reshape(3, HAPLOTYPES, -1)
    position = np.array([s.position for s in trees.sites()]) / 1e6
    kept = common(haplotype)
    kept = np.sort(rng.choice(kept, min(SITES, kept.size), replace=False))
    chromosomes.append((haplotype[:, :, kept], position[kept]))

settings = {"fst": FST, "effective_size": N_E, "haplotypes": HAPLOTYPES, "chromosomes": CHROMOSOMES, "chromosome_cm": LENGTH_CM, "sites": SITES}
frozen = {"versions": {"msprime": msprime.__version__}, "settings": settings, **statistics(chromosomes)}
(Path(__file__).parent.parent / "cohort" / "genome_statistics.json").write_text(json.dumps(frozen, indent=1) + "\n")

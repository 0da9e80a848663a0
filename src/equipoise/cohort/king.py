"""KING-robust kinship of genotyped people, in blocks: who is related, without a table of relatives and without allele frequencies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from equipoise.cohort.genotypes import MISSING, Genome

_BLOCK_PEOPLE = 1024
_BLOCK_VARIANTS = 4096  # counts of a block stay exact in float32
_NOT_AUTOSOMES = ("", "0", "x", "y", "xy", "mt", "m", "w", "z", "par1", "par2", "23", "24", "25", "26")
"""Names without "chr". 23 to 26 are PLINK's numbers of the human X, Y, XY and MT; on none of these is everybody diploid."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of people and their kinship coefficient.

    Args:
        first: i64 (P,), positions in the list of people that was given.
        second: i64 (P,), larger than ``first``.
        kinship: f64 (P,), .5 for the same genome, .25 for parent and child or full sibs, about 0 or below for strangers.
    """

    first: np.ndarray
    second: np.ndarray
    kinship: np.ndarray


def autosomes(variants: pl.DataFrame) -> np.ndarray:
    """Positions of the autosomal variants, i64, increasing.

    Args:
        variants: with a column chromosome.
    """
    name = variants["chromosome"].str.to_lowercase().str.strip_prefix("chr")
    return np.flatnonzero(~name.is_in(_NOT_AUTOSOMES).fill_null(True).to_numpy())


def king_robust(genome: Genome, left: np.ndarray, right: np.ndarray, variants: np.ndarray) -> np.ndarray:
    """Kinship between two lists of people, over the variants at which both are called.

    ``phi_ij = (N_AaAa - 2 N_AAaa) / (2 m) + 1/2 - (N_Aa(i) + N_Aa(j)) / (4 m)`` with ``m = min(N_Aa(i), N_Aa(j))``, which is
    ``1/2 - sum_v (g_iv - g_jv)^2 / (4 m)``: two heterozygotes or equal homozygotes add 0, a heterozygote and a homozygote 1, opposite homozygotes 4.

    Args:
        genome: hard calls.
        left: i64 (G,), lines of the genome's store.
        right: i64 (H,), likewise.
        variants: i64 (V,), positions in the genome's list.

    Returns:
        f64 (G, H); NaN where one of the two has no heterozygous call at a common variant.

    Source: Manichaikul et al. 2010, Bioinformatics 26:2867, equation 11 (between families).
    """
    distance, het_left, het_right = (np.zeros((left.size, right.size)) for _ in range(3))
    for begin in range(0, variants.size, _BLOCK_VARIANTS):
        part = variants[begin : begin + _BLOCK_VARIANTS]
        a, a_hom, a_called = _indicators(genome.copies(left, part))
        b, b_hom, b_called = (a, a_hom, a_called) if left is right else _indicators(genome.copies(right, part))
        # Of squares over variants that both have: those of i, those of j, and the product; a square is 1 for a homozygote.
        hom_left, hom_right, both = a_hom @ b_called.T, a_called @ b_hom.T, a_called @ b_called.T
        distance += hom_left + hom_right - 2 * (a @ b.T)
        het_left += both - hom_left
        het_right += both - hom_right
    fewer = np.minimum(het_left, het_right)
    return np.where(fewer > 0, 0.5 - distance / (4 * np.maximum(fewer, 1)), np.nan)


def _indicators(copies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Copies minus 1 (0 where missing), homozygous, called: f32 (G, V) each."""
    called = copies != MISSING
    centred = np.where(called, copies - 1, 0).astype(np.float32)
    return centred, centred * centred, called.astype(np.float32)


def related_pairs(genome: Genome, lines: np.ndarray, variants: np.ndarray, minimum: float) -> Pairs:
    """All pairs from a kinship on; memory grows with the number of such pairs and not with that of all pairs.

    Args:
        genome: hard calls.
        lines: i64 (G,), lines of the genome's store.
        variants: i64 (V,), positions in the genome's list.
        minimum: the least kinship coefficient to report.
    """
    found = list(_block_pairs(genome, lines, variants, minimum))
    if not found:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    return Pairs(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _block_pairs(genome: Genome, lines: np.ndarray, variants: np.ndarray, minimum: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    starts = range(0, lines.size, _BLOCK_PEOPLE)
    for i in starts:
        left = lines[i : i + _BLOCK_PEOPLE]
        for j in starts:
            if j < i:
                continue
            kinship = king_robust(genome, left, left if i == j else lines[j : j + _BLOCK_PEOPLE], variants)
            a, b = np.nonzero(kinship >= minimum)
            once = a + i < b + j
            yield a[once] + i, b[once] + j, kinship[a[once], b[once]]

"""Genotypes of families with known kinship: independent variants, gametes drawn from parents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Families:
    """Per family, in this order: father, mother, two full sibs, a half sib of both through the father, a child of the first sib.

    Args:
        copies: i8 (6F, V), 0, 1, 2, -1 missing.
        kinship: f64 (6F, 6F), true coefficients.
    """

    copies: np.ndarray
    kinship: np.ndarray


# father, mother, sib, sib, half sib, child of the first sib
_OF_FAMILY = np.array(
    [
        [0.5, 0, 0.25, 0.25, 0.25, 0.125],
        [0, 0.5, 0.25, 0.25, 0, 0.125],
        [0.25, 0.25, 0.5, 0.25, 0.125, 0.25],
        [0.25, 0.25, 0.25, 0.5, 0.125, 0.125],
        [0.25, 0, 0.125, 0.125, 0.5, 0.0625],
        [0.125, 0.125, 0.25, 0.125, 0.0625, 0.5],
    ]
)


def draw_families(n: int, frequency: np.ndarray, rng: np.random.Generator, missing: float = 0.0) -> Families:
    """n families.

    Args:
        n: families.
        frequency: f64 (V,), of the counted allele in the founders.
        rng: the randomness.
        missing: share of missing calls.
    """
    v = frequency.size
    people = []
    for _ in range(n):
        father, mother, second_wife, partner = (rng.random((2, v)) < frequency for _ in range(4))
        sib, other, half = _child(father, mother, rng), _child(father, mother, rng), _child(father, second_wife, rng)
        people += [father, mother, sib, other, half, _child(sib, partner, rng)]
    copies = np.array([p.sum(0) for p in people], np.int8).reshape(-1, v)
    copies[rng.random(copies.shape) < missing] = -1
    return Families(copies, np.kron(np.eye(n), _OF_FAMILY))


def _child(father: np.ndarray, mother: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    at = np.arange(father.shape[1])
    return np.stack([parent[rng.integers(0, 2, at.size), at] for parent in (father, mother)])

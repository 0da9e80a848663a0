"""Genotypes of people with missing calls, and the same as dense numbers, for the tests of genotype encoders."""

from __future__ import annotations

import numpy as np
import torch

from equipoise.contract.tensors import Genotypes, GenotypesSpec
from equipoise.modality.calls import pack


def drawn_copies(n: int, n_variants: int, *, seed: int, missing: float = 0.05) -> np.ndarray:
    """Copies f64 (n, V), NaN = missing; the last variant does not vary."""
    rng = np.random.default_rng(seed)
    copies = rng.binomial(2, rng.uniform(0.1, 0.9, n_variants), (n, n_variants)).astype(float)
    copies[:, -1] = 2
    copies[rng.random(copies.shape) < missing] = np.nan
    return copies


def packed(copies: np.ndarray) -> np.ndarray:
    return pack(np.where(np.isnan(copies), 1, np.array([3, 2, 0])[np.nan_to_num(copies).astype(int)]).astype(np.uint8))


def part_of(copies: np.ndarray) -> Genotypes:
    """All people are present."""
    n, n_variants = copies.shape
    return Genotypes(rows=torch.arange(n), size=n, packed=torch.from_numpy(packed(copies)), n_variants=n_variants)


def moments(copies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the copies, f32 (V,)."""
    return np.nanmean(copies, 0).astype(np.float32), np.nanstd(copies, 0).astype(np.float32)


def standardised(copies: np.ndarray, spec: GenotypesSpec) -> np.ndarray:
    """f64 (n, V); missing calls and variants that do not vary are 0."""
    return np.where(spec.sd > 0, np.nan_to_num((copies - spec.mean.astype(float)) / np.where(spec.sd > 0, spec.sd, 1)), 0.0)

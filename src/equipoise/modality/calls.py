"""PLINK's 2-bit genotype calls: unpacking, packing, and counts over people (numpy)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

MISSING = 1
COPIES = np.array([2, 0, 1, 0], np.float32)
"""Copies of the counted allele per call; a missing call (1) has none here and is told apart by its code."""
SWAPPED = np.array([3, 1, 2, 0], np.uint8)
"""The call when the other allele is counted."""

_UNPACKED = np.stack([np.arange(256) >> s & 3 for s in (0, 2, 4, 6)], 1).astype(np.uint8)
_BLOCK = 1 << 26  # calls unpacked at once


def unpack(packed: np.ndarray, n_variants: int) -> np.ndarray:
    """Calls u8 (P, V) of u8 (P, ceil(V/4)).

    >>> unpack(np.array([[0b11100100]], np.uint8), 4).tolist()
    [[0, 1, 2, 3]]
    """
    return _UNPACKED[packed].reshape(packed.shape[0], packed.shape[1] * 4)[:, :n_variants]


def pack(call: np.ndarray) -> np.ndarray:
    """The inverse of `unpack`; places behind the last variant are 0."""
    n_bytes = -(-call.shape[1] // 4)
    padded = np.zeros((call.shape[0], n_bytes * 4), np.uint8)
    padded[:, : call.shape[1]] = call
    quad = padded.reshape(call.shape[0], n_bytes, 4)
    return quad[..., 0] | quad[..., 1] << 2 | quad[..., 2] << 4 | quad[..., 3] << 6


def blocks(packed: np.ndarray, line: np.ndarray, n_variants: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Calls u8 (b, V) of these lines, some at a time, with their places in ``line``."""
    step = max(_BLOCK // max(n_variants, 1), 1)
    for a in range(0, line.size, step):
        at = slice(a, min(a + step, line.size))
        yield at, unpack(np.asarray(packed[line[at]]), n_variants)


@dataclass(frozen=True)
class AlleleCounts:
    """Per variant over some people's calls, missing ones left out: f64 (V,) each; mean and sd of the counted allele's copies, 0 where all are missing."""

    mean: np.ndarray
    sd: np.ndarray

    @property
    def maf(self) -> np.ndarray:
        """Minor allele frequency, f64 (V,)."""
        return np.minimum(self.mean / 2, 1 - self.mean / 2)


def allele_counts(packed: np.ndarray, line: np.ndarray, n_variants: int) -> AlleleCounts:
    """Mean and standard deviation of the copies over these lines of u8 (G, ceil(V/4)); a line counts as often as it is named."""
    one, two, seen = (np.zeros(n_variants) for _ in range(3))
    for _, call in blocks(packed, line, n_variants):
        one += np.count_nonzero(call == 2, axis=0)
        two += np.count_nonzero(call == 0, axis=0)
        seen += np.count_nonzero(call != MISSING, axis=0)
    n = np.maximum(seen, 1)
    mean = (one + 2 * two) / n
    return AlleleCounts(mean, np.sqrt(np.maximum((one + 4 * two) / n - mean**2, 0.0)))

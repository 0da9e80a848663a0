"""Shapley values: what each player adds to a value, fairly divided, from the values of all coalitions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import factorial

import numpy as np


def coalition(members: Sequence[str], players: Sequence[str]) -> int:
    """The number of a coalition: player i is in it where bit i is set.

    >>> coalition(["genotype"], ["clinical", "genotype"]), coalition([], ["clinical"])
    (2, 0)
    """
    return sum(1 << players.index(member) for member in members)


def shapley(value: np.ndarray) -> np.ndarray:
    """``phi_i = sum over S without i of |S|! (M - |S| - 1)! / M! (v(S + i) - v(S))``, over all coalitions: no sampling.

    The mean over all orders of the players of what i adds to those before it. It is the one division that is efficient (sum of phi = v(all) - v(none)),
    symmetric, linear in v, and gives nothing to who never adds anything.

    Args:
        value: f64 (..., 2^M), entry s for the coalition numbered s (see `coalition`); leading axes are games of their own, e.g. resamples.

    Returns:
        f64 (..., M); NaN for a game that lacks a value.

    Raises:
        ValueError: the last axis is no power of two >= 2.

    Source: Shapley (1953), eq. 12.

    >>> shapley(np.array([0.0, 1.0, 2.0, 6.0]))
    array([2.5, 3.5])
    """
    v = np.asarray(value, dtype=np.float64)
    n = v.shape[-1] if v.ndim else 0
    m = n.bit_length() - 1
    if m < 1 or n != 1 << m:
        raise ValueError(f"{n} values are not those of all 2^M coalitions of M players")
    # Gains over the empty coalition: what all coalitions share would only add rounding.
    gain = np.where(np.isnan(v).any(-1, keepdims=True), np.nan, v - v[..., :1])
    return gain @ _weights(m)


@cache
def _weights(m: int) -> np.ndarray:
    """f64 (2^M, M): how often a coalition's value counts for a player, below 0 where the player is not in it."""
    made = np.zeros((1 << m, m))
    for s in range(1 << m):
        size = s.bit_count()
        for i in range(m):
            inside = s >> i & 1
            made[s, i] = factorial(size - 1) * factorial(m - size) if inside else -factorial(size) * factorial(m - size - 1)
    return made / factorial(m)

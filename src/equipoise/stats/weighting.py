"""Weights as multiplicities: one row of weights a resample."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

_IN_CACHE = 400_000  # numbers in one array at a time


def in_cache(f: Callable[..., np.ndarray], weight: np.ndarray, *along: np.ndarray) -> np.ndarray:
    """``f`` of all weightings, a few at a time, so that what it makes on the way stays in a processor's cache.

    Args:
        f: from weights f64 (b, n), and the b rows of each of ``along``, to (b, ...).
        weight: f64 (..., n).
        along: (B, k) each, what belongs to the B weightings.

    Returns:
        f64 (..., ...).
    """
    rows = weight.reshape(math.prod(weight.shape[:-1]), weight.shape[-1])
    size = max(_IN_CACHE // max(rows.shape[1], 1), 1)
    # The copy reads in order, so that what follows may read in any order without waiting for memory.
    parts = [f(rows[first : first + size].copy(), *(x[first : first + size] for x in along)) for first in range(0, max(rows.shape[0], 1), size)]
    made = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return made.reshape(weight.shape[:-1] + made.shape[1:])


def weights_of(weight: np.ndarray | None, n: int) -> np.ndarray:
    """Weights f64 (..., n); ones where none are given.

    Raises:
        ValueError: the last axis is not n.
    """
    made = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    if made.ndim == 0 or made.shape[-1] != n:
        raise ValueError(f"weights {made.shape} for {n} rows")
    return made


def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """``over / under``, NaN where ``under`` is 0; arguments broadcast."""
    over, under = np.broadcast_arrays(np.asarray(over, dtype=np.float64), np.asarray(under, dtype=np.float64))
    return np.divide(over, under, out=np.full(over.shape, np.nan), where=under != 0)


def weighted_mean(value: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """sum_i w_i x_i / sum_i w_i.

    Args:
        value: f64 (n,) or (n, m).
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (...,) or (..., m); NaN where the weights sum to 0.

    >>> weighted_mean(np.array([1.0, 4.0]), np.array([[1.0, 1.0], [2.0, 1.0]])).tolist()
    [2.5, 2.0]
    """
    value = np.asarray(value, dtype=np.float64)
    w = weights_of(weight, value.shape[0])
    total = w.sum(-1)
    return ratio(w @ value, total if value.ndim == 1 else total[..., None])


def weighted_quantile(value: np.ndarray, level: float, weight: np.ndarray | None = None) -> np.ndarray:
    """Quantile with linear interpolation; whole weights give numpy's quantile of the rows repeated that often.

    Args:
        value: f64 (n,).
        level: in [0, 1].
        weight: f64 (..., n), >= 0.

    Returns:
        f64 (...,); NaN where the weights sum to 0.

    Source: Hyndman and Fan (1996), definition 7, on the repeated sample; ours for weights.

    >>> float(weighted_quantile(np.array([1.0, 2.0, 4.0]), 0.5, np.array([1.0, 1.0, 2.0])))
    3.0
    """
    value = np.asarray(value, dtype=np.float64)
    w = weights_of(weight, value.shape[0])
    order = np.argsort(value, kind="stable")
    ordered, reached = value[order], np.cumsum(w[..., order], axis=-1)
    total = reached[..., -1:]
    place = level * np.maximum(total - 1, 0)
    lower, upper = np.floor(place), np.minimum(np.floor(place) + 1, np.maximum(total - 1, 0))
    at = [np.minimum((reached <= p).sum(-1), value.shape[0] - 1) for p in (lower, upper)]
    share = (place - lower)[..., 0]
    found = (1 - share) * ordered[at[0]] + share * ordered[at[1]]
    return np.where(total[..., 0] > 0, found, np.nan)

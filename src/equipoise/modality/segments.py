"""Arithmetic on slices of packed arrays (numpy)."""

from __future__ import annotations

import numpy as np


def concatenated(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """The numbers of all slices ``start[i]:stop[i]``, one slice after the other, i64.

    >>> concatenated(np.array([5, 0]), np.array([7, 1])).tolist()
    [5, 6, 0]
    """
    count = np.asarray(stop, np.int64) - np.asarray(start, np.int64)
    before = np.cumsum(count) - count
    return np.arange(int(count.sum())) + np.repeat(start - before, count)


def rows_having(row: np.ndarray, code: np.ndarray, n_codes: int) -> np.ndarray:
    """For each code, how many rows have it at least once, i64 (n_codes,).

    >>> rows_having(np.array([0, 0, 1]), np.array([1, 1, 1]), 2).tolist()
    [0, 2]
    """
    pairs = np.unique(row.astype(np.int64) * n_codes + code)
    return np.bincount(pairs % n_codes, minlength=n_codes)

"""P-values adjusted for their number: Holm for the chance of any false claim, Benjamini and Hochberg for the share of false ones."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values, ``p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))`` with p_(1) <= ... <= p_(m).

    Claiming what is at most alpha holds the chance of one false claim or more at alpha, however the tests depend on one another.

    Args:
        p: f64 (m,), in [0, 1]; NaN is left out and does not count.

    Returns:
        f64 (m,), NaN where p is.

    Raises:
        ValueError: a value is outside [0, 1].

    Source: Holm (1979); as R's ``p.adjust``.

    >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).round(2).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    known, sorted_p, order = _sorted(p)
    m = sorted_p.size
    adjusted = np.maximum.accumulate((m - np.arange(m)) * sorted_p)
    return _put_back(known, order, adjusted)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p-values, ``p~_(i) = min_{j >= i} min(1, m p_(j) / j)`` with p_(1) <= ... <= p_(m).

    Claiming what is at most q holds the expected share of false claims among the claims at q, for independent or positively dependent tests.

    Args:
        p: f64 (m,), in [0, 1]; NaN is left out and does not count.

    Returns:
        f64 (m,), NaN where p is.

    Raises:
        ValueError: a value is outside [0, 1].

    Source: Benjamini and Hochberg (1995); Benjamini and Yekutieli (2001) for positive dependence; as R's ``p.adjust``.

    >>> benjamini_hochberg(np.array([0.01, 0.04, np.nan, 0.03])).round(2).tolist()
    [0.03, 0.04, nan, 0.04]
    """
    known, sorted_p, order = _sorted(p)
    m = sorted_p.size
    adjusted = np.minimum.accumulate((m / np.arange(1, m + 1) * sorted_p)[::-1])[::-1]
    return _put_back(known, order, adjusted)


def _sorted(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """bool (m,) of the known ones, these in increasing order, and the order."""
    p = np.asarray(p, dtype=np.float64)
    known = ~np.isnan(p)
    given = p[known]
    if ((given < 0) | (given > 1)).any():
        raise ValueError("a p-value is outside [0, 1]")
    order = np.argsort(given, kind="stable")
    return known, given[order], order


def _put_back(known: np.ndarray, order: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
    made, given = np.full(known.shape, np.nan), np.empty(order.size)
    given[order] = np.minimum(adjusted, 1.0)
    made[known] = given
    return made

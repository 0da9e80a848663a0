"""An estimate with its standard error and interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty; NaN = not estimated.

    Args:
        value: the estimate.
        se: its standard error.
        lo: lower bound of the interval.
        hi: upper bound.
        method: how the interval was made, in the words that a report prints.
        p: two-sided, of the value being 0; NaN where it was not computed.
    """

    value: float
    se: float
    lo: float
    hi: float
    method: str
    p: float = float("nan")


def normal_interval(value: float, se: float, level: float, method: str, *, floor: float = -np.inf, ceiling: float = np.inf, df: float = np.inf) -> Estimate:
    """``value -+ q se`` with the normal quantile, or Student's with ``df`` degrees of freedom, cut to [floor, ceiling].

    Args:
        value: the estimate.
        se: >= 0 or NaN.
        level: in (0, 1), two-sided.
        method: see `Estimate`.
        floor: smallest value that the quantity can have.
        ceiling: largest value.
        df: degrees of freedom, > 0.

    >>> e = normal_interval(0.9, 0.1, 0.95, "Wald", ceiling=1.0)
    >>> round(e.lo, 3), e.hi
    (0.704, 1.0)
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    q = float(ndtri((1 + level) / 2) if np.isinf(df) else stdtrit(df, (1 + level) / 2))
    lo, hi = value - q * se, value + q * se
    return Estimate(float(value), float(se), float(np.clip(lo, floor, ceiling)), float(np.clip(hi, floor, ceiling)), method, _p_of(float(value), float(se), df))


def _p_of(value: float, se: float, df: float) -> float:
    """Two-sided p of the value being 0."""
    if np.isnan(value) or np.isnan(se):
        return float("nan")
    if se == 0:
        return 1.0 if value == 0 else 0.0
    t = -abs(value / se)
    return float(2 * (ndtr(t) if np.isinf(df) else stdtr(df, t)))

"""Groups of a number: its own values where there are few, else parts between quartiles, the cut points in the name."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

FEW_VALUES = 5
"""A number with at most so many values is grouped by value."""


def quartile_groups(value: np.ndarray, reference: np.ndarray, name: str) -> np.ndarray:
    """The group of each value: between the quartiles of ``reference``, rounded to 4 digits, the lower one belonging to the group.

    Args:
        value: f64 (n,), NaN where missing.
        reference: f64 (m,), the values that say where to cut, never chosen by an outcome; NaN is left out.
        name: of the number.

    Returns:
        str (n,): e.g. "age below 40", "age 40 to 57", "age 66 or more"; "" where missing.

    Source: ours.

    >>> quartile_groups(np.array([1.0, 5.0, np.nan]), np.arange(9.0), "x").tolist()
    ['x below 2', 'x 4 to 6', '']
    >>> quartile_groups(np.array([1.0, 0.0]), np.array([0.0, 1.0]), "x").tolist()
    ['x 1', 'x 0']
    """
    value = np.asarray(value, dtype=np.float64)
    known = reference[np.isfinite(reference)]
    missing = ~np.isfinite(value)
    if np.unique(known).size <= FEW_VALUES:
        return np.array(["" if lacks else f"{name} {v:g}" for v, lacks in zip(value, missing, strict=True)], dtype=str)
    cuts = np.unique([float(f"{c:.4g}") for c in np.quantile(known, [0.25, 0.5, 0.75])])
    cuts = cuts[cuts > known.min()]  # nobody would lie below the smallest value
    labels = np.array([f"{name} below {cuts[0]:g}", *(f"{name} {a:g} to {b:g}" for a, b in pairwise(cuts)), f"{name} {cuts[-1]:g} or more"])
    return np.where(missing, "", labels[np.digitize(np.where(missing, cuts[0], value), cuts)])

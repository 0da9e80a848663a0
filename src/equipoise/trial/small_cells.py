"""Which groups are too small to be shown, and which must be hidden with them."""

from __future__ import annotations

import re

import numpy as np

BESIDE = "not shown: a smaller group could be found from the total"


def hidden_groups(counts: np.ndarray, least: int) -> np.ndarray:
    """0: shown; 1: one of its counts is below ``least``; 2: hidden beside it, so that the small ones cannot be found by subtracting from the total.

    While one group alone is hidden, or the hidden ones together are still too few, the smallest shown one is hidden too. This protects a column by
    itself; two columns that divide the rows almost alike can still be subtracted from each other.

    Args:
        counts: i64 (k, c), of each group: rows, events, non-events, or whichever must not be small.
        least: smallest count that is shown.

    Returns:
        i64 (k,).

    Source: Hundepool et al. (2012), section 4.2, for primary and secondary suppression; the greedy choice is ours.

    >>> hidden_groups(np.array([[500, 40], [30, 4], [90, 12]]), 10).tolist()
    [0, 1, 2]
    """
    made: np.ndarray = np.asarray((counts < least).any(axis=1), dtype=np.int64)
    while made.any() and not made.all() and ((made > 0).sum() == 1 or (counts[made > 0].sum(axis=0) < least).any()):
        shown = np.flatnonzero(made == 0)
        made[shown[np.argmin(counts[shown].min(axis=1))]] = 2
    return made


def in_order(names: np.ndarray) -> list[str]:
    """Distinct groups as a reader expects them: by the first number in the name where there is one, "not known" last.

    >>> in_order(np.array(["age 40 to 57", "not known", "age 100 or more", "age below 40"]))
    ['age below 40', 'age 40 to 57', 'age 100 or more', 'not known']
    """

    def key(name: str) -> tuple[bool, float, bool, str]:
        found = re.search(r"(?<![\w.])-?\d+\.?\d*(?:e[+-]?\d+)?", name)
        return name == "not known", float(found.group()) if found else np.inf, " below " not in name, name

    return sorted({str(n) for n in names}, key=key)

"""The smallest sample size that reaches an aim."""

from __future__ import annotations

from collections.abc import Callable

MOST = 10**9
"""Beyond this many there is no trial and no cohort: the aim counts as out of reach."""


def smallest_n(reaches: Callable[[int], bool], least: int = 1) -> int:
    """The smallest whole n >= least with ``reaches(n)``, by doubling and bisection.

    Args:
        reaches: false up to some n and true from there on.
        least: where to begin, >= 0.

    Raises:
        ValueError: not even `MOST` reaches it.

    Source: ours.

    >>> smallest_n(lambda n: n * n >= 50)
    8
    """
    low, high = least - 1, max(least, 1)
    while not reaches(high):
        low, high = high, 2 * high
        if high > MOST:
            raise ValueError("no sample size reaches the aim")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high

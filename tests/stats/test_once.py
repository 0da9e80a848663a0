"""What is worked out once is told apart by all that it was asked with."""

from __future__ import annotations

import numpy as np

from equipoise.stats.once import once


def test_long_arrays_are_told_apart_wherever_they_differ_also_by_keyword() -> None:
    calls = []

    @once
    def total(x: np.ndarray, scale: float = 1.0) -> float:
        calls.append(1)
        return float(x.sum() * scale)

    a = np.zeros(5000)
    b = a.copy()
    b[2500] = 1.0
    assert (total(x=a), total(x=b), total(a), total(b), total(b, scale=2.0)) == (0.0, 1.0, 0.0, 1.0, 2.0)
    n = len(calls)
    assert (total(x=a), total(b)) == (0.0, 1.0)
    assert len(calls) == n

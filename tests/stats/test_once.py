"""Answers are remembered for equal content, and for no other."""

from __future__ import annotations

import numpy as np

from equipoise.stats.once import once


def test_equal_arrays_are_worked_out_once_and_changed_ones_anew() -> None:
    calls: list[int] = []

    @once
    def order(x: np.ndarray, kinds: tuple[int, ...] = ()) -> np.ndarray:
        calls.append(1)
        return np.argsort(x)

    x = np.array([3.0, 1.0, 2.0])
    assert order(x) is order(x.copy())
    x[0] = 0.0  # the same array with another content
    assert order(x).tolist() == [0, 1, 2]
    order(x, (1,))
    order(x.astype(np.float32))
    order(np.array([[0.0, 1.0, 2.0]])[:, ::2])  # neither contiguous nor of the same shape
    assert len(calls) == 5
    for i in range(20):
        order(np.arange(i + 10.0))
    order(x)
    assert len(calls) == 26, "old answers make room"

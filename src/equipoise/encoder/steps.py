"""Packed sequences in the order of a recurrence: all first elements, then all second ones, and so on."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from equipoise.contract.packed import lengths, segment_index


@final
class Steps:
    """How T elements of P rows are taken step by step, the longest row first, so that the rows still running are always the first ones.

    Args:
        offsets: i64 (P+1,): row p owns elements ``offsets[p]:offsets[p+1]``, none allowed.

    Attributes:
        first: i64, the first element of each row that has one.
        order: i64 (T,), the elements step by step.
        sizes: i64 (steps,), rows still running at each step.
        rows: i64, the rows that have an element, in the order in which every step holds them.
    """

    def __init__(self, offsets: Tensor) -> None:
        count = lengths(offsets)
        self.first = offsets[:-1][count > 0]
        longest_first = torch.argsort(count, descending=True, stable=True)
        self.rows = longest_first[: int((count > 0).sum())]
        rank = torch.empty_like(count)
        rank[self.rows] = torch.arange(self.rows.shape[0], device=count.device)
        owner = segment_index(offsets)
        step = torch.arange(owner.shape[0], device=count.device) - offsets[owner]
        self.order = torch.argsort(step * self.rows.shape[0] + rank[owner])
        self.sizes = torch.bincount(step).cpu()

    def back(self, x: Tensor) -> Tensor:
        """Elements (T, ...) that lie step by step, row by row again."""
        return torch.empty_like(x).index_copy(0, self.order, x)

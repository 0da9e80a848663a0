"""Timed events gathered into bins of time, oldest first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.contract.packed import offsets_of, segment_index
from equipoise.contract.tensors import Events


@dataclass(frozen=True)
class TimeBins:
    """The bins of all rows that hold an event, T in all; M timed events.

    Args:
        events: i64 (T+1,), bin t owns timed events ``events[t]:events[t+1]``.
        of_event: i64 (M,), each timed event's bin.
        row: i64 (T,), each bin's row.
        age: f32 (T,), bins between it and the prediction time.
        gap: f32 (T,), bins between it and the one before in its row; 0 for a row's first.
        offsets: i64 (P+1,), row p owns bins ``offsets[p]:offsets[p+1]``.
    """

    events: Tensor
    of_event: Tensor
    row: Tensor
    age: Tensor
    gap: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, part: Events, bin_days: float) -> TimeBins:
        """The bins of a part.

        Args:
            part: its events.
            bin_days: width of a bin, days > 0.
        """
        row = segment_index(part.offsets, part.code.shape[0])[part.timed]
        return cls.of_equal(row, torch.floor(part.time_days[part.timed] / bin_days), part.rows.shape[0])

    @classmethod
    def of_equal(cls, row: Tensor, age: Tensor, n_rows: int) -> TimeBins:
        """Bins of events of one row and one age; of events (M,), row by row, oldest first, of ``n_rows`` rows."""
        new = torch.ones_like(row, dtype=torch.bool)
        new[1:] = (row[1:] != row[:-1]) | (age[1:] != age[:-1])
        first = torch.nonzero(new).flatten()
        events = torch.cat([first, first.new_full((1,), row.shape[0])])
        of_event = torch.cumsum(new, 0) - 1
        row, age = row[first], age[first]
        gap = torch.zeros_like(age)
        gap[1:] = torch.where(row[1:] == row[:-1], age[:-1] - age[1:], 0.0)
        return cls(events, of_event, row, age, gap, offsets_of(torch.bincount(row, minlength=n_rows)))


def times_in_bin(of_event: Tensor, code: Tensor, n_codes: int) -> Tensor:
    """How often each event's code stands in its bin, f32 (M,)."""
    _, kind, count = torch.unique(of_event * n_codes + code, return_inverse=True, return_counts=True)
    return count[kind].to(torch.float32)

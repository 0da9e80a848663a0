"""What was last measured of every code, carried on through the bins in which it was not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.packed import offsets_of
from equipoise.encoder.time_bins import TimeBins


@dataclass(frozen=True)
class LastValues:
    """Cells are the pairs (bin, code) with a value; a cell is carried on through the bins of its row after its own, up to the next cell of its code.

    Args:
        of_event: i64 (M',), the cell of each timed event with a value.
        count: f32 (cells,), events with a value in each.
        code: i64 (cells,).
        cell: i64 (K,), which cell is carried, ordered by the bin into which.
        since: f32 (K,), bins between the cell and that bin, > 0.
        offsets: i64 (T+1,): into bin t are carried ``offsets[t]:offsets[t+1]``.
    """

    of_event: Tensor
    count: Tensor
    code: Tensor
    cell: Tensor
    since: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, bins: TimeBins, code: Tensor, observed: Tensor, n_codes: int) -> LastValues:
        """Of timed events (M,) with these codes i64 and values observed or not."""
        key, of_event, count = torch.unique((bins.of_event * n_codes + code)[observed], return_inverse=True, return_counts=True)
        at, code = key // n_codes, key % n_codes
        # Cells of one row and code stand together in this order, oldest first.
        kind = bins.row[at] * n_codes + code
        together = torch.argsort(kind, stable=True)
        until = bins.offsets[bins.row[at] + 1]
        again = kind[together][1:] == kind[together][:-1]
        until = until.index_copy(0, together[:-1][again], at[together[1:][again]])
        times = until - at - 1
        cell = torch.repeat_interleave(torch.arange(at.shape[0], device=at.device), times)
        into = at[cell] + 1 + torch.arange(cell.shape[0], device=at.device) - offsets_of(times)[cell]
        by_bin = torch.argsort(into, stable=True)
        cell, into = cell[by_bin], into[by_bin]
        offsets = offsets_of(torch.bincount(into, minlength=bins.row.shape[0]))
        return cls(of_event, count.to(torch.float32), code, cell, bins.age[at[cell]] - bins.age[into], offsets)

    def means(self, x: Tensor) -> Tensor:
        """Mean vector of each cell, (cells, H), of the vectors (M', H) of the events with a value."""
        return x.new_zeros((self.code.shape[0], x.shape[1])).index_add(0, self.of_event, x) / self.count[:, None]

    def carried(self, means: Tensor, left: Tensor) -> Tensor:
        """For every bin the sum of what is carried into it, (T, H), of which ``left`` (K,) is left."""
        if not self.cell.shape[0]:
            return means.new_zeros((self.offsets.shape[0] - 1, means.shape[1]))
        return F.embedding_bag(self.cell, means, self.offsets, mode="sum", per_sample_weights=left.to(means.dtype), include_last_offset=True)

"""One more token behind those of every row."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.contract.packed import segment_index


def with_last(x: Tensor, last: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Every segment of (N, ...) with one more element behind it, and the new offsets.

    Args:
        x: (N, ...), the elements.
        last: (...), the same behind all segments, or (P, ...), one for each.
        offsets: i64 (P+1,).
    """
    n_rows = offsets.shape[0] - 1
    here = torch.arange(n_rows + 1, device=x.device)
    place = torch.arange(x.shape[0], device=x.device) + segment_index(offsets, x.shape[0])
    grown = offsets + here
    if last.dim() < x.dim():
        return last.expand(x.shape[0] + n_rows, *x.shape[1:]).index_copy(0, place, x), grown
    out = x.new_empty((x.shape[0] + n_rows, *x.shape[1:])).index_copy(0, place, x)
    return out.index_copy(0, grown[1:] - 1, last.to(x.dtype)), grown

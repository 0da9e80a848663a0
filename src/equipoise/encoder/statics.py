"""What a row's statics say, for encoders that read its timed events apart."""

from __future__ import annotations

from torch import Tensor

from equipoise.contract.packed import segment_index
from equipoise.contract.tensors import Events


def sum_of_statics(x: Tensor, part: Events) -> Tensor:
    """Sum over each row's statics (P, H) of the events' vectors (N, H)."""
    static = ~part.timed
    return x.new_zeros((part.rows.shape[0], x.shape[1])).index_add(0, segment_index(part.offsets, x.shape[0])[static], x[static])

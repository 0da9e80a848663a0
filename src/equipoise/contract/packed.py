"""Arithmetic on packed segments: segment i of a (N, ...) tensor is ``offsets[i]:offsets[i+1]``."""

from __future__ import annotations

import torch
from torch import Tensor


def lengths(offsets: Tensor) -> Tensor:
    """Lengths of the segments, i64 (n,)."""
    return offsets[1:] - offsets[:-1]


def offsets_of(counts: Tensor) -> Tensor:
    """Offsets i64 (n+1,) of segments with these lengths.

    >>> offsets_of(torch.tensor([2, 0, 1])).tolist()
    [0, 2, 2, 3]
    """
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(torch.int64)


def segment_index(offsets: Tensor, n_elements: int | None = None) -> Tensor:
    """For every element, its segment: i64 (N,). Given N, an accelerator need not be asked for it."""
    n = offsets.shape[0] - 1
    return torch.repeat_interleave(torch.arange(n, device=offsets.device), lengths(offsets), output_size=n_elements)


def segment_sum(x: Tensor, offsets: Tensor) -> Tensor:
    """Sum of each segment, (n, ...); zero for an empty one."""
    out = x.new_zeros((offsets.shape[0] - 1, *x.shape[1:]))
    return out.index_add_(0, segment_index(offsets, x.shape[0]), x)


def segment_mean(x: Tensor, offsets: Tensor) -> Tensor:
    """Mean of each segment, (n, ...); zero for an empty one."""
    count = lengths(offsets).clamp(min=1).to(x.dtype)
    return segment_sum(x, offsets) / count.reshape(-1, *([1] * (x.dim() - 1)))


def segment_softmax(score: Tensor, offsets: Tensor) -> Tensor:
    """Softmax within each segment of scores (N, ...)."""
    index = segment_index(offsets, score.shape[0])
    n = offsets.shape[0] - 1
    shape = (n, *score.shape[1:])
    spread = index.reshape(-1, *([1] * (score.dim() - 1))).expand_as(score)
    top = score.new_full(shape, float("-inf")).scatter_reduce(0, spread, score, "amax")
    weight = (score - top[index]).exp()
    return weight / segment_sum(weight, offsets)[index]


def to_padded(x: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """(n, longest, ...) with zeros behind each segment, and the bool (n, longest) mask of real places. For parts that need padding inside."""
    count = lengths(offsets)
    longest = int(count.max()) if count.numel() else 0
    place = torch.arange(longest, device=x.device)
    real = place[None, :] < count[:, None]
    out = x.new_zeros((count.shape[0], longest, *x.shape[1:]))
    out[real] = x
    return out, real

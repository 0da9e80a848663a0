"""Scores linear in calls, from packed bytes in half precision, some variants at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from equipoise.encoder.calls_of_byte import COPIES, MISSING


def in_half(device: torch.device) -> bool:
    """Whether autocast asks for bfloat16 there."""
    return torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.bfloat16


def folded_scores(packed: Tensor, weight: Tensor, mean: Tensor) -> Tensor:
    """``sum over v of w_v (copies_v - mean_v)``, a missing call at the mean, f32 (P, k).

    Copies are 0, 1 or 2 and exact in bfloat16; w and ``w mean`` are sums of two such numbers, up to 2^-17 of them, and products are summed in f32. So
    scores and gradients are nearly those of f32, while the calls, which take the memory and the time where scores are few, have half its size.
    The gradient unpacks the calls again: neither pass holds more than some of them, and nothing is asked of the device.

    There is no path in 8-bit integers: w would share one scale over all variants, in which a strong one leaves 0 for the others.

    Args:
        packed: u8 (P, ceil(V/4)), see `contract.tensors.Genotypes`.
        weight: f32 (k, V), w.
        mean: f32 (V,).
    """
    scores: Tensor = _FoldedScores.apply(packed, weight, mean)
    return scores


@final
class _FoldedScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, packed: Tensor, weight: Tensor, mean: Tensor) -> Tensor:
        ctx.save_for_backward(packed, mean)
        at_mean = weight * mean
        both = torch.cat([_by_byte(weight), _by_byte(at_mean)], 2)
        scores = -at_mean.sum(1, keepdim=True).expand(-1, packed.shape[0])
        for own, calls in _unpacked(packed):
            scores = scores + _product(both[:, own].flatten(1), calls.T)
        return scores.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        packed, mean = ctx.saved_tensors
        both = torch.cat([_product(gradient.T, calls).unflatten(1, (-1, 8)) for _, calls in _unpacked(packed)], 1)
        copies, missing = (x.flatten(1)[:, : mean.shape[0]] for x in both.split(4, 2))
        return None, copies + (missing - gradient.sum(0)[:, None]) * mean, None


def _by_byte(x: Tensor) -> Tensor:
    """(k, ceil(V/4), 4) of (k, V), zeros behind the last variant."""
    return F.pad(x, (0, -x.shape[1] % 4)).unflatten(1, (-1, 4))


def _unpacked(packed: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Some bytes, and of each of them the copies of four calls and whether they are missing, bf16 (P, 8 b)."""
    table = torch.cat([COPIES, MISSING], 1).to(packed.device, torch.bfloat16)
    step = max(_AT_ONCE // (8 * max(packed.shape[0], 1)), 1)
    for first in range(0, packed.shape[1], step):
        own = slice(first, first + step)
        yield own, F.embedding(packed[:, own].to(torch.int32), table).flatten(1)


def _product(x: Tensor, calls: Tensor) -> Tensor:
    """f32 (k, m) of f32 (k, n), as two bf16 numbers each, and bf16 (n, m), summed in f32."""
    near = x.to(torch.bfloat16)
    two = torch.cat([near, (x - near).to(torch.bfloat16)])
    with torch.autocast(calls.device.type, enabled=False):
        both = torch.ops.aten.mm.dtype(two, calls, torch.float32) if calls.is_cuda and _SUMS_IN_SINGLE else two.float() @ calls.float()
    return both[: x.shape[0]] + both[x.shape[0] :]


_AT_ONCE = 1 << 24  # numbers
_SUMS_IN_SINGLE = "dtype" in torch.ops.aten.mm.overloads()  # torch >= 2.8, on CUDA

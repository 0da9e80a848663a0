"""A linear recurrence with decays, packed: what is left of the sum so far, and what is added."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from equipoise.encoder.steps import Steps


def fading_sum(kept: Tensor, added: Tensor, steps: Steps) -> Tensor:
    """``h_t = kept_t * h_(t-1) + added_t`` within each row, from h = 0, (T, H).

    On a CPU step by step for all rows that are still running, which costs one product and one sum for each number; elsewhere by doubling, which costs
    log2(longest row) times as many in so many launches. The gradient is the same recurrence backwards, so no step is kept for autograd.

    Args:
        kept: (T, H), in [0, 1], row by row; the first of a row is not looked at.
        added: (T, H).
        steps: of the rows.

    Source: Martin and Cundy (2018), Parallelizing linear recurrent neural nets over sequence length, for the gradient; Hillis and Steele (1986) for doubling.
    """
    summed: Tensor = _FadingSum.apply(kept, added, steps)
    return summed


@final
class _FadingSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kept: Tensor, added: Tensor, steps: Steps) -> Tensor:
        kept = kept.index_fill(0, steps.first, 0.0)
        summed = _forwards(kept, added, steps)
        ctx.steps = steps
        ctx.save_for_backward(kept, summed)
        return summed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        kept, summed = ctx.saved_tensors
        gradient = _backwards(kept, gradient, ctx.steps)
        before = torch.zeros_like(summed)
        before[1:] = summed[:-1]
        return (gradient * before).index_fill(0, ctx.steps.first, 0.0), gradient, None


def _forwards(kept: Tensor, added: Tensor, steps: Steps) -> Tensor:
    if not steps_are_cheap(kept.device):
        return by_doubling(kept, added, steps.sizes.shape[0])
    sizes = steps.sizes.tolist()
    summed = added[steps.order]
    sums = summed.split(sizes)
    for before, now, left in zip(sums, sums[1:], kept[steps.order].split(sizes)[1:], strict=False):
        now.addcmul_(left, before[: now.shape[0]])
    return steps.back(summed)


def _backwards(kept: Tensor, gradient: Tensor, steps: Steps) -> Tensor:
    """``g_t = gradient_t + kept_(t+1) g_(t+1)``."""
    if not steps_are_cheap(kept.device):
        next_kept = torch.zeros_like(kept)
        next_kept[:-1] = kept[1:]
        return by_doubling(next_kept.flip(0), gradient.flip(0), steps.sizes.shape[0]).flip(0)
    sizes = steps.sizes.tolist()
    total = gradient[steps.order]
    totals, left = total.split(sizes), kept[steps.order].split(sizes)
    for t in range(len(sizes) - 1, 0, -1):
        totals[t - 1][: sizes[t]].addcmul_(left[t], totals[t])
    return steps.back(total)


def steps_are_cheap(device: torch.device) -> bool:
    """Whether a small operation costs little to launch there."""
    return device.type == "cpu"


def by_doubling(kept: Tensor, added: Tensor, longest: int) -> Tensor:
    """The recurrence of all elements at once; ``kept`` is 0 where a row starts. Each pass joins twice as many elements.

    Args:
        kept: (T, H).
        added: (T, H).
        longest: elements of the longest row, or more.
    """
    reach = 1
    while reach < longest:
        added = torch.cat([added[:reach], torch.addcmul(added[reach:], kept[reach:], added[:-reach])])
        kept = torch.cat([kept[:reach], kept[reach:] * kept[:-reach]])
        reach *= 2
    return added

"""Whose turn it is: in fusions whose views are fitted apart from each other, every row of a training batch teaches one of them."""

from __future__ import annotations

import torch
from torch import Tensor


def turns(eligible: Tensor) -> Tensor:
    """One of each row's eligible columns with equal probability, i64 (B,), from torch's default generator, which the learner seeds by its counters.

    Args:
        eligible: bool (B, C), at least one in each row.
    """
    lot = torch.rand(eligible.shape, device=eligible.device)
    return lot.masked_fill(~eligible, -1.0).argmax(1)


def louder(x: Tensor, times: Tensor) -> Tensor:
    """``x`` itself, with its gradient multiplied: a view whose turn comes in one of k rows learns as if it had been taught by all, so that what the rows
    say is weighed against its prior as in any other fusion.

    Args:
        x: f32 (B, D).
        times: f32 (B,).
    """
    rest = x.detach()
    return rest + (x - rest) * times[:, None]

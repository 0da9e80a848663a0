"""One vector a row of the states that a recurrence went through."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.contract.errors import UserError
from equipoise.contract.packed import lengths, segment_index, segment_mean

WAYS = {"last": 1, "all": 3}
"""Pooling -> how many times the width of a state it has."""


def check_pooling(pooling: str) -> None:
    """Refuses what is no way of pooling.

    Raises:
        UserError: it is none.
    """
    if pooling not in WAYS:
        raise UserError(f"The encoder's pooling is {pooling!r}", expected=" or ".join(WAYS), mend="choose one of them")


def pooled(states: Tensor, offsets: Tensor, first: Tensor, last: Tensor, pooling: str) -> Tensor:
    """The last state, or [last, mean, maximum] over a row's states; a row without any has its first state in their place.

    Args:
        states: f32 (T, H), row by row.
        offsets: i64 (P+1,), of the states.
        first: f32 (P, H), before any step.
        last: f32 (P, H), after all steps.
        pooling: "last" or "all".
    """
    if pooling == "last":
        return last
    empty = (lengths(offsets) == 0)[:, None]
    mean = torch.where(empty, first, segment_mean(states, offsets))
    spread = segment_index(offsets, states.shape[0])[:, None].expand_as(states)
    # Hidden states lie in [-1, 1], so -1 stands below all of them.
    top = torch.where(empty, first, states.new_full(last.shape, -1.0).scatter_reduce(0, spread, states, "amax"))
    return torch.cat([last, mean, top], 1)

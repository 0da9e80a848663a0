"""What fusions share: which rows have which view, the mean of a view's tokens, and the answer for rows that have nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.contract.packed import lengths, segment_mean
from equipoise.contract.tensors import Tokens


def has_view(tokens: Tokens, evidence_present: Tensor) -> Tensor:
    """bool (B,): the evidence is present and the view gave tokens."""
    return evidence_present & (lengths(tokens.offsets) > 0)


def view_mean(tokens: Tokens, has: Tensor) -> Tensor:
    """f32 (B, D): mean of each row's tokens, 0 where ``has`` is False whatever the tokens hold."""
    return segment_mean(tokens.h, tokens.offsets).masked_fill(~has[:, None], 0.0)


def or_empty(z: Tensor, has_any: Tensor, empty: Tensor) -> Tensor:
    """z f32 (B, d_out), with the learned vector ``empty`` f32 (d_out,) in the rows that have nothing."""
    return torch.where(has_any[:, None], z, empty)

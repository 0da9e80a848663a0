"""A vector for each event: what was recorded, and how much of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise.contract.prior import start_embedding


class EventEmbedding(nn.Module):
    """``a_code + observed * (value * b_code + c_code)``: affine in the standardised value, with a vector for "a value was given".

    Args:
        n_codes: codes, 0 = unknown included.
        width: of a vector.
    """

    def __init__(self, n_codes: int, width: int) -> None:
        super().__init__()
        self.code = start_embedding(nn.Embedding(n_codes, width))
        self.value = start_embedding(nn.Embedding(n_codes, width))
        self.given = start_embedding(nn.Embedding(n_codes, width))

    def forward(self, code: Tensor, value: Tensor, observed: Tensor) -> Tensor:
        """f32 (N, width) of i32 (N,), f32 (N,), bool (N,)."""
        seen = observed[:, None]
        value = value.masked_fill(~observed, 0.0)[:, None]
        return self.code(code) + seen * (value * self.value(code) + self.given(code))

    @torch.no_grad()
    def start_as_unknown(self, first: int) -> None:
        """Codes from this number on become what code 0 is, whatever their values."""
        self.code.weight[first:] = self.code.weight[0]
        self.value.weight[first:] = 0.0
        self.given.weight[first:] = 0.0

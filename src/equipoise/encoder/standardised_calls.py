"""Packed calls -> standardised calls, for encoders that need the dense numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.tensors import GenotypesSpec
from equipoise.encoder.calls_of_byte import COPIES, MISSING
from equipoise.encoder.folded_calls import folded_scores, in_half


class StandardisedCalls(nn.Module):
    """``x_v = (copies_v - mean_v) / sd_v``; 0 for a missing call, for a variant that does not vary in the train rows, and behind the last variant.

    It has no parameters, and what it holds comes with the spec, so nothing of it is saved.

    Args:
        spec: of the view.
    """

    mean: Tensor
    inverse_sd: Tensor
    copies: Tensor

    def __init__(self, spec: GenotypesSpec) -> None:
        super().__init__()
        n_bytes = -(-spec.n_variants // 4)
        mean, sd = (torch.zeros(4 * n_bytes) for _ in range(2))
        mean[: spec.n_variants], sd[: spec.n_variants] = (torch.tensor(x, dtype=torch.float32) for x in (spec.mean, spec.sd))
        varies = sd > 0
        self.n_varying = max(int(varies.sum()), 1)
        self.n_bytes = n_bytes
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("inverse_sd", torch.where(varies, 1 / torch.where(varies, sd, 1.0), 0.0), persistent=False)
        self.register_buffer("copies", COPIES.masked_fill(MISSING > 0, torch.nan), persistent=False)

    def forward(self, packed: Tensor, first: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
        """Standardised calls (P, 4 b) of u8 (P, b), whose first byte is byte number ``first`` of a row."""
        own = slice(4 * first, 4 * (first + packed.shape[1]))
        x = F.embedding(packed.to(torch.int32), self.copies.to(dtype)).flatten(1)
        return ((x - self.mean[own]) * self.inverse_sd[own]).nan_to_num_(nan=0.0)

    def scores(self, packed: Tensor, weight: Tensor) -> Tensor:
        """``x w'`` f32 (P, k) of u8 (P, n_bytes) and weights f32 (k, V); where autocast asks for bfloat16, without the dense numbers."""
        n_variants = weight.shape[1]
        if in_half(packed.device):
            return folded_scores(packed, weight * self.inverse_sd[:n_variants], self.mean[:n_variants])
        return self(packed)[:, :n_variants] @ weight.T

    def products(self, left: Tensor, right: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """``x z' / V`` (P, Q) and ``|x|^2 / V`` (P,) of u8 (P, n_bytes) and u8 (Q, n_bytes); V counts the variants that vary."""
        dot = torch.zeros(left.shape[0], right.shape[0], dtype=dtype, device=left.device)
        square = torch.zeros(left.shape[0], dtype=dtype, device=left.device)
        # Some variants at a time: the dense numbers of all landmarks would fill the memory.
        step = max(_AT_ONCE // (4 * max(left.shape[0] + right.shape[0], 1)), 1)
        for a in range(0, self.n_bytes, step):
            x, z = (self(side[:, a : a + step], a, dtype) for side in (left, right))
            dot += x @ z.T
            square += x.square().sum(1)
        return dot / self.n_varying, square / self.n_varying


_AT_ONCE = 1 << 24

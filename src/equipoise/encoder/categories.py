"""Embeddings of category columns, used inside encoders of vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise.contract.prior import start_embedding


class Categories(nn.Module):
    """One table for all columns: column c's level l is line ``first[c] + l``. Level 0, missing or unknown, has a vector of its own.

    Args:
        cardinalities: levels per column, 0 included.
        width: of a vector.
    """

    first: Tensor

    def __init__(self, cardinalities: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.register_buffer("first", torch.tensor([0, *cardinalities[:-1]], dtype=torch.int64).cumsum(0)[: len(cardinalities)], persistent=False)
        self.table = start_embedding(nn.Embedding(sum(cardinalities), width)) if cardinalities else None
        self.d_out = len(cardinalities) * width

    def forward(self, category: Tensor) -> Tensor:
        """f32 (P, C * width) of i32 (P, C)."""
        if self.table is None:
            return torch.zeros((category.shape[0], 0), device=category.device)
        return self.table(category + self.first).flatten(1)

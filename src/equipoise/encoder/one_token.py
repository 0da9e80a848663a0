"""One token for each present row, used by encoders that make one vector a row."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.contract.packed import offsets_of
from equipoise.contract.tensors import Part, Tokens


def one_token_each(h: Tensor, part: Part) -> Tokens:
    """Tokens f32 (P, D), one for each row in ``part.rows``, none for the others."""
    count = torch.zeros(part.size, dtype=torch.int64, device=h.device)
    count[part.rows] = 1
    return Tokens(h=h, offsets=offsets_of(count))

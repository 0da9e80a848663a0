"""As many tokens for each present row, mostly one, used by encoders whose number of tokens does not depend on the row."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.contract.packed import offsets_of
from equipoise.contract.tensors import Part, Tokens


def one_token_each(h: Tensor, part: Part) -> Tokens:
    """Tokens f32 (P, D), one for each row in ``part.rows``, none for the others."""
    return tokens_each(h[:, None], part)


def tokens_each(h: Tensor, part: Part) -> Tokens:
    """T tokens f32 (P, T, D), T >= 1, for each row in ``part.rows``, none for the others."""
    count = torch.zeros(part.size, dtype=torch.int64, device=h.device)
    count[part.rows] = h.shape[1]
    return Tokens(h=h.flatten(0, 1), offsets=offsets_of(count))

"""As many tokens for each present row, mostly one, used by encoders whose number of tokens does not depend on the row."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.packed import offsets_of
from equipoise.contract.tensors import Part, Tokens


def one_token_each(h: Tensor, part: Part) -> Tokens:
    """Tokens f32 (P, D), one for each row in ``part.rows``, none for the others."""
    return tokens_each(h[:, None], part)


def scores_in_front(score: Tensor, d_model: int, part: Part) -> Tokens:
    """Tokens f32 (P, D) that hold scores (P, k), k <= D, in their first entries, zeros behind."""
    return one_token_each(F.pad(score, (0, d_model - score.shape[1])), part)


def check_scores(n_scores: int, d_model: int) -> None:
    """Refuses scores that a token cannot hold.

    Raises:
        UserError: there are none, or more than ``d_model``.
    """
    if not 1 <= n_scores <= d_model:
        raise UserError(f"n_scores is {n_scores}", expected=f"1 to d_model = {d_model}", mend="lower the encoder's n_scores, or raise d_model")


def tokens_each(h: Tensor, part: Part) -> Tokens:
    """T tokens f32 (P, T, D), T >= 1, for each row in ``part.rows``, none for the others."""
    count = torch.zeros(part.size, dtype=torch.int64, device=h.device)
    count[part.rows] = h.shape[1]
    return Tokens(h=h.flatten(0, 1), offsets=offsets_of(count))

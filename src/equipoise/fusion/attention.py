"""Attention fusion: learned queries look at the tokens of all present views, packed."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.packed import lengths
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.fusion.packed_attention import Round, joined
from equipoise.fusion.pooled import or_empty


@final
class Attention(Fusion):
    """Q learned queries a row attend to its tokens, each with a vector for its view; ``layers`` rounds of attention and a perceptron; z all queries.

    Tokens of absent evidences are taken out before attention; a segment softmax over the packed tokens replaces padding and masks.

    Args:
        views: view name -> column of its evidence in ``present``.
        n_evidences: M.
        d_model: D, divisible by n_heads.
        n_queries: Q.
        n_heads: attention heads.
        layers: rounds.
        feedforward: width of the perceptron between rounds, in multiples of D.
        dropout: after attention and perceptron.
        prior_scale: see `contract.prior`.

    Source: Jaegle et al. (2021), latent queries; the packed form is ours.
    """

    def __init__(
        self,
        *,
        views: dict[str, int],
        n_evidences: int,
        d_model: int,
        n_queries: int,
        n_heads: int,
        layers: int,
        feedforward: int,
        dropout: float,
        prior_scale: float,
    ) -> None:
        super().__init__()
        self._views, self._prior_scale = dict(views), prior_scale
        self.view = nn.Parameter(torch.randn(len(views), d_model) * d_model**-0.5)
        self.query = nn.Parameter(torch.randn(n_queries, d_model) * d_model**-0.5)
        self.norm = nn.LayerNorm(d_model)
        self.rounds = nn.ModuleList([Round(d_model, n_heads, feedforward * d_model, dropout, "attention fusion") for _ in range(layers)])
        self.d_out = n_queries * d_model
        self.empty = nn.Parameter(torch.randn(self.d_out) * 0.01)

    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        all_views = joined(tokens, present, self._views, self.view)
        h = self.norm(all_views.h)
        q = self.query.expand(present.shape[0], -1, -1)
        for attend in self.rounds:
            q = attend(q, h, all_views.offsets)
        return or_empty(q.flatten(1), lengths(all_views.offsets) > 0, self.empty)

    def penalty(self) -> Tensor:
        own = sum((gaussian(w, self._prior_scale, w.shape[1]) for w in (self.view, self.query)), torch.zeros(()))
        return of_layers(self, self._prior_scale) + own + gaussian(self.empty, self._prior_scale, 1)

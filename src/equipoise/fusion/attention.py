"""Attention fusion: learned queries look at the tokens of all present views, packed."""

from __future__ import annotations

from math import sqrt
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.packed import lengths, offsets_of, segment_index, segment_softmax, segment_sum
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.fusion.pooled import or_empty


@final
class Attention(Fusion):
    """Q learned queries a row attend to its tokens, each with a vector for its view; ``layers`` rounds of attention and a perceptron; z a map of all queries.

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
        self.rounds = nn.ModuleList([_Round(d_model, n_heads, feedforward * d_model, dropout) for _ in range(layers)])
        self.out = nn.Linear(n_queries * d_model, d_model)
        self.d_out = d_model
        self.empty = nn.Parameter(torch.randn(d_model) * 0.01)

    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        h, offsets = self._joined(tokens, present)
        h = self.norm(h)
        q = self.query.expand(present.shape[0], -1, -1)
        for attend in self.rounds:
            q = attend(q, h, offsets)
        return or_empty(self.out(q.flatten(1)), lengths(offsets) > 0, self.empty)

    def penalty(self) -> Tensor:
        own = sum((gaussian(w, self._prior_scale, w.shape[1]) for w in (self.view, self.query)), torch.zeros(()))
        return of_layers(self, self._prior_scale) + own + gaussian(self.empty, self._prior_scale, 1)

    def _joined(self, tokens: dict[str, Tokens], present: Tensor) -> tuple[Tensor, Tensor]:
        """All tokens of present evidences, row by row, f32 (N, D), and their offsets i64 (B+1,)."""
        rows, hs = [], []
        for (view, column), vector in zip(self._views.items(), self.view, strict=True):
            row = segment_index(tokens[view].offsets)
            kept = present[:, column][row]
            rows.append(row[kept])
            hs.append(tokens[view].h[kept] + vector)
        row = torch.cat(rows)
        order = torch.argsort(row, stable=True)
        return torch.cat(hs)[order], offsets_of(torch.bincount(row, minlength=present.shape[0]))


class _Round(nn.Module):
    def __init__(self, d_model: int, n_heads: int, d_feedforward: int, dropout: float) -> None:
        super().__init__()
        if d_model % n_heads:
            raise UserError(f"d_model {d_model} is not divisible by the attention fusion's n_heads {n_heads}", mend="change one of them")
        self._n_heads = n_heads
        self.before_attention, self.before_feedforward = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.q, self.k, self.v, self.project = (nn.Linear(d_model, d_model) for _ in range(4))
        self.feedforward = nn.Sequential(nn.Linear(d_model, d_feedforward), nn.GELU(), nn.Linear(d_feedforward, d_model))
        self.dropout = nn.Dropout(dropout)

    def forward(self, q: Tensor, h: Tensor, offsets: Tensor) -> Tensor:
        """Queries f32 (B, Q, D) after looking at the packed tokens f32 (N, D)."""
        q = q + self.dropout(self.project(self._attend(self.before_attention(q), h, offsets)))
        return q + self.dropout(self.feedforward(self.before_feedforward(q)))

    def _attend(self, q: Tensor, h: Tensor, offsets: Tensor) -> Tensor:
        n_rows, n_queries, d_model = q.shape
        split = (self._n_heads, d_model // self._n_heads)
        asked = self.q(q).reshape(n_rows, n_queries, *split)[segment_index(offsets)]
        key, value = self.k(h).reshape(-1, 1, *split), self.v(h).reshape(-1, 1, *split)
        weight = segment_softmax((asked * key).sum(-1) / sqrt(split[1]), offsets)
        return segment_sum(weight[..., None] * value, offsets).reshape(n_rows, n_queries, d_model)

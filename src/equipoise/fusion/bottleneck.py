"""Bottleneck fusion: views exchange what they know through a few shared tokens only."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.packed import lengths, offsets_of, segment_index
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.fusion.packed_attention import Block
from equipoise.fusion.pooled import or_empty


@final
class Bottleneck(Fusion):
    """In each layer every present view's tokens attend to each other and to Q bottleneck tokens; each view's copy of these is averaged over the views.

    ``[h_v, q_v] <- Block_v([h_v, q])``, ``q <- mean over present views of q_v``; after the last layer z is all of q, normalised. So a view with many
    tokens cannot outweigh one with a single token, and what passes between views has to fit into Q vectors. (The source reads a class token of each view.)

    Args:
        views: view name -> column of its evidence in ``present``.
        n_evidences: M.
        d_model: D, divisible by n_heads.
        n_bottlenecks: Q.
        n_heads: attention heads.
        layers: blocks of each view; from the second on views hear of each other.
        feedforward: width of a block's perceptron, in multiples of D.
        dropout: after attention and perceptron.
        prior_scale: see `contract.prior`.

    Source: Nagrani et al. (2021), eq. 8 and 9; the packed form and any subset are ours.
    """

    def __init__(
        self,
        *,
        views: dict[str, int],
        n_evidences: int,
        d_model: int,
        n_bottlenecks: int,
        n_heads: int,
        layers: int,
        feedforward: int,
        dropout: float,
        prior_scale: float,
    ) -> None:
        super().__init__()
        self._views, self._prior_scale = dict(views), prior_scale
        self.bottleneck = nn.Parameter(torch.randn(n_bottlenecks, d_model) * d_model**-0.5)
        self.layers = nn.ModuleList(
            nn.ModuleList([Block(d_model, n_heads, feedforward * d_model, dropout, "bottleneck fusion") for _ in views]) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(n_bottlenecks * d_model)
        self.d_out = n_bottlenecks * d_model
        self.empty = nn.Parameter(torch.randn(self.d_out) * 0.01)

    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        own = [_Present(tokens[view], present[:, column], self.bottleneck.shape[0]) for view, column in self._views.items()]
        n_views = torch.stack([view.has for view in own]).sum(0)
        q = self.bottleneck.expand(present.shape[0], -1, -1)
        for blocks in self.layers:
            total = torch.zeros_like(q)
            for view, block in zip(own, blocks, strict=True):  # type: ignore[call-overload]
                total = total.index_add(0, view.rows, view.through(block, q[view.rows]))
            q = total / n_views.clamp(min=1)[:, None, None]
        return or_empty(self.norm(q.flatten(1)), n_views > 0, self.empty)

    def penalty(self) -> Tensor:
        own = gaussian(self.bottleneck, self._prior_scale, self.bottleneck.shape[1])
        return of_layers(self, self._prior_scale) + own + gaussian(self.empty, self._prior_scale, 1)


class _Present:
    """A view's tokens in the rows that have it, with places for Q bottleneck tokens behind each row's."""

    def __init__(self, tokens: Tokens, evidence_present: Tensor, n_bottlenecks: int) -> None:
        row = segment_index(tokens.offsets)
        count = lengths(tokens.offsets) * evidence_present
        self.has = count > 0
        self.rows = self.has.nonzero()[:, 0]
        self.h = tokens.h[evidence_present[row]]
        self.offsets = offsets_of(count[self.rows] + n_bottlenecks)
        inside = offsets_of(count[self.rows])
        device = self.h.device
        self._token_at = torch.arange(self.h.shape[0], device=device) + n_bottlenecks * segment_index(inside)
        self._bottleneck_at = (self.offsets[1:, None] - n_bottlenecks + torch.arange(n_bottlenecks, device=device)).flatten()

    def through(self, block: nn.Module, q: Tensor) -> Tensor:
        """The bottleneck tokens f32 (P, Q, D) after a block together with the view's tokens, which it moves on."""
        x = self.h.new_empty((self.h.shape[0] + q.shape[0] * q.shape[1], self.h.shape[1]))
        x = x.index_copy(0, self._token_at, self.h).index_copy(0, self._bottleneck_at, q.flatten(0, 1))
        x = block(x, self.offsets)
        self.h = x[self._token_at]
        return x[self._bottleneck_at].reshape(q.shape)

"""Cross-attention fusion: what each view says as a whole looks at the tokens of the other views."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.packed import segment_mean
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.fusion.packed_attention import Joined, Round, joined
from equipoise.fusion.pooled import has_view, or_empty


@final
class CrossAttention(Fusion):
    """``z = b + sum over present views of W_v u_v``: u_v is the view's mean token after ``layers`` rounds of attention to the other present views' tokens.

    A view never looks at itself; two views of one evidence are others to each other. Where a view is the only one, it finds nothing and stays itself.
    Each view has its own rounds, each token a vector for its view.

    Args:
        views: view name -> column of its evidence in ``present``.
        n_evidences: M.
        d_model: D, divisible by n_heads.
        n_heads: attention heads.
        layers: rounds.
        feedforward: width of the perceptron of a round, in multiples of D.
        dropout: after attention and perceptron.
        prior_scale: see `contract.prior`.

    Source: crossmodal attention, Tsai et al. (2019), eq. 3, with one pooled query for a view instead of its sequence, and all other views at once.
    """

    def __init__(
        self, *, views: dict[str, int], n_evidences: int, d_model: int, n_heads: int, layers: int, feedforward: int, dropout: float, prior_scale: float
    ) -> None:
        super().__init__()
        self._views, self._prior_scale = dict(views), prior_scale
        self.view = nn.Parameter(torch.randn(len(views), d_model) * d_model**-0.5)
        self.norm = nn.LayerNorm(d_model)
        self.rounds = nn.ModuleList(
            nn.ModuleList([Round(d_model, n_heads, feedforward * d_model, dropout, "cross-attention fusion") for _ in range(layers)]) for _ in views
        )
        self.maps = nn.ModuleList([nn.Linear(d_model, d_model, bias=False) for _ in views])
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.d_out = d_model
        self.empty = nn.Parameter(torch.randn(d_model) * 0.01)

    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        every = joined(tokens, present, self._views, self.view)
        every = Joined(self.norm(every.h), every.offsets, every.view)
        z, has_any = self.bias.expand(present.shape[0], -1), torch.zeros_like(present[:, 0])
        for i, (view, column) in enumerate(self._views.items()):
            has, others = has_view(tokens[view], present[:, column]), every.without(i)
            q = self._own(every, i)[:, None]
            for attend in self.rounds[i]:  # type: ignore[attr-defined]
                q = attend(q, others.h, others.offsets)
            z = z + self.maps[i](q[:, 0]).masked_fill(~has[:, None], 0.0)
            has_any = has_any | has
        return or_empty(z, has_any, self.empty)

    def penalty(self) -> Tensor:
        own = gaussian(self.view, self._prior_scale, self.view.shape[1]) + gaussian(self.bias, self._prior_scale, 1)
        return of_layers(self, self._prior_scale) + own + gaussian(self.empty, self._prior_scale, 1)

    def _own(self, every: Joined, view: int) -> Tensor:
        """The mean of a view's tokens, f32 (B, D), 0 where it is absent."""
        own = every.only(view)
        return segment_mean(own.h, own.offsets)

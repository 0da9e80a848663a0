"""Perceiver fusion: a small array of latent vectors reads the tokens of all present views, and thinks in between."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.packed import lengths
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.fusion.packed_attention import Block, Round, joined
from equipoise.fusion.pooled import or_empty


@final
class Perceiver(Fusion):
    """L latent vectors a row attend to its packed tokens, then to each other ``self_layers`` times; ``layers`` times over; z their mean, normalised.

    The cost grows with tokens times latents, not with tokens squared. Between `Attention`, whose queries never meet, and this stand the blocks
    among the latents.

    Args:
        views: view name -> column of its evidence in ``present``.
        n_evidences: M.
        d_model: D, divisible by n_heads.
        n_latents: L.
        n_heads: attention heads.
        layers: rounds of reading the tokens.
        self_layers: blocks among the latents after each round.
        feedforward: width of the perceptrons, in multiples of D.
        dropout: after attention and perceptron.
        prior_scale: see `contract.prior`.

    Source: Jaegle et al. (2021), section 3.1, without weights shared among rounds and without position codes; the packed form is ours.
    """

    def __init__(
        self,
        *,
        views: dict[str, int],
        n_evidences: int,
        d_model: int,
        n_latents: int,
        n_heads: int,
        layers: int,
        self_layers: int,
        feedforward: int,
        dropout: float,
        prior_scale: float,
    ) -> None:
        super().__init__()
        self._views, self._prior_scale = dict(views), prior_scale
        shape = (d_model, n_heads, feedforward * d_model, dropout, "perceiver fusion")
        self.view = nn.Parameter(torch.randn(len(views), d_model) * d_model**-0.5)
        self.latent = nn.Parameter(torch.randn(n_latents, d_model) * d_model**-0.5)
        self.norm, self.last = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.read = nn.ModuleList([Round(*shape) for _ in range(layers)])
        self.think = nn.ModuleList(nn.ModuleList([Block(*shape) for _ in range(self_layers)]) for _ in range(layers))
        self.d_out = d_model
        self.empty = nn.Parameter(torch.randn(self.d_out) * 0.01)

    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        every = joined(tokens, present, self._views, self.view)
        h, (n_latents, d_model) = self.norm(every.h), self.latent.shape
        x = self.latent.expand(present.shape[0], -1, -1)
        # Every row has the same number of latents: one dense call among them.
        offsets = torch.arange(present.shape[0] + 1, device=h.device) * n_latents
        for read, blocks in zip(self.read, self.think, strict=True):
            flat = read(x, h, every.offsets).reshape(-1, d_model)
            for block in blocks:  # type: ignore[attr-defined]
                flat = block(flat, offsets)
            x = flat.reshape(-1, n_latents, d_model)
        return or_empty(self.last(x.mean(1)), lengths(every.offsets) > 0, self.empty)

    def penalty(self) -> Tensor:
        own = sum((gaussian(w, self._prior_scale, w.shape[1]) for w in (self.view, self.latent)), torch.zeros(()))
        return of_layers(self, self._prior_scale) + own + gaussian(self.empty, self._prior_scale, 1)

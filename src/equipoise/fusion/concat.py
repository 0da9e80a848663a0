"""Early fusion: the views' mean tokens side by side, with presence flags."""

from __future__ import annotations

from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.fusion.pooled import has_view, or_empty, view_mean


@final
class Concat(Fusion):
    """``z = [mean of each view's tokens, present]``, absent views 0; with layers z is what the last hidden units say of it.

    Without layers linear encoders and a linear head stay one linear model, and d_out = views * D + M; with layers d_out = ``hidden``. No linear map
    follows the hidden units (see `Fusion`).

    Args:
        views: view name -> column of its evidence in ``present``.
        n_evidences: M.
        d_model: D.
        layers: hidden layers, SiLU; 0 = identity.
        hidden: their width.
        dropout: of the hidden units.
        prior_scale: see `contract.prior`.

    Source: ours.
    """

    def __init__(self, *, views: dict[str, int], n_evidences: int, d_model: int, layers: int, hidden: int, dropout: float, prior_scale: float) -> None:
        super().__init__()
        self._views, self._prior_scale = dict(views), prior_scale
        d_in = len(views) * d_model + n_evidences
        widths = [d_in, *[hidden] * layers]
        blocks = [nn.Sequential(nn.Linear(a, b), nn.SiLU(), nn.Dropout(dropout)) for a, b in pairwise(widths)]
        self.perceptron = nn.Sequential(*blocks)
        self.d_out = widths[-1]
        self.empty = nn.Parameter(torch.randn(self.d_out) * 0.01)

    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        has = {view: has_view(tokens[view], present[:, column]) for view, column in self._views.items()}
        means = [view_mean(tokens[view], has[view]) for view in self._views]
        z = self.perceptron(torch.cat([*means, present.to(means[0].dtype)], 1))
        return or_empty(z, torch.stack(list(has.values())).any(0), self.empty)

    def penalty(self) -> Tensor:
        return of_layers(self, self._prior_scale) + gaussian(self.empty, self._prior_scale, 1)

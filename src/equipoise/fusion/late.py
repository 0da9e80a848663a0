"""Late fusion: every view speaks alone, and the present ones are averaged with learned weights."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.fusion.pooled import has_view, or_empty, view_mean


@final
class Late(Fusion):
    """``z = sum over present views of w_v (W_v mean token + b_v)``, w the softmax of one learned number a view over the present views.

    With a linear head the answer is the same weighted mean of what each view alone would answer (logits, for a risk), so no view can
    veto another and interactions between views cannot be learnt: the classical opinion pool, and a check on the other fusions.

    Args:
        views: view name -> column of its evidence in ``present``.
        n_evidences: M.
        d_model: D.
        prior_scale: see `contract.prior`.

    Source: logarithmic opinion pool, Genest and Zidek (1986).
    """

    def __init__(self, *, views: dict[str, int], n_evidences: int, d_model: int, prior_scale: float) -> None:
        super().__init__()
        self._views, self._prior_scale = dict(views), prior_scale
        self.maps = nn.ModuleList([nn.Linear(d_model, d_model) for _ in views])
        self.log_weight = nn.Parameter(torch.zeros(len(views)))
        self.d_out = d_model
        self.empty = nn.Parameter(torch.randn(d_model) * 0.01)

    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        has = torch.stack([has_view(tokens[view], present[:, column]) for view, column in self._views.items()], 1)
        said = torch.stack([of(view_mean(tokens[view], has[:, i])) for i, (view, of) in enumerate(zip(self._views, self.maps, strict=True))], 1)
        weight = (self.log_weight - self.log_weight.max().detach()).exp() * has
        weight = weight / weight.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
        return or_empty((weight[..., None] * said).sum(1), has.any(1), self.empty)

    def penalty(self) -> Tensor:
        return of_layers(self, self._prior_scale) + gaussian(self.log_weight, self._prior_scale, 1) + gaussian(self.empty, self._prior_scale, 1)

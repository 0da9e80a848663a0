"""Gated fusion: how much a view says in a row depends on what is present there and on its content."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.fusion.pooled import has_view, or_empty, view_mean

_GATES = ("softmax", "sigmoid")


@final
class Gated(Fusion):
    """``z = sum over present views of g_v (W_v mean token + b_v)`` with gates g that are a function of the row.

    A gate's logit is linear in the mean tokens of all views (0 where absent) and the presence flags. "softmax": the gates of the present views sum
    to 1, so views compete and z is an average; "sigmoid": each lies in (0, 1) by itself, so z is a sum and a view can be shut out without another's
    being opened. The values are linear (the source squashes them by tanh), so that a score keeps its size.

    Args:
        views: view name -> column of its evidence in ``present``.
        n_evidences: M.
        d_model: D.
        gate: "softmax" or "sigmoid".
        prior_scale: see `contract.prior`.

    Source: gated multimodal unit, Arevalo et al. (2017), eq. 1 (sigmoid); softmax over what is present is a mixture's, Jacobs et al. (1991).
    """

    def __init__(self, *, views: dict[str, int], n_evidences: int, d_model: int, gate: str, prior_scale: float) -> None:
        super().__init__()
        if gate not in _GATES:
            raise UserError(f"fusion.gate is {gate!r}", expected=f"one of {', '.join(_GATES)}", mend="correct it")
        self._views, self._gate, self._prior_scale = dict(views), gate, prior_scale
        self.maps = nn.ModuleList([nn.Linear(d_model, d_model) for _ in views])
        self.gate = nn.Linear(len(views) * d_model + n_evidences, len(views))
        self.d_out = d_model
        self.empty = nn.Parameter(torch.randn(d_model) * 0.01)

    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        has = self._has(tokens, present)
        means = [view_mean(tokens[view], has[:, i]) for i, view in enumerate(self._views)]
        said = torch.stack([of(mean) for of, mean in zip(self.maps, means, strict=True)], 1)
        return or_empty((self._gates(means, has, present)[..., None] * said).sum(1), has.any(1), self.empty)

    def gates(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        """f32 (B, views), 0 for an absent view."""
        has = self._has(tokens, present)
        return self._gates([view_mean(tokens[view], has[:, i]) for i, view in enumerate(self._views)], has, present)

    def penalty(self) -> Tensor:
        return of_layers(self, self._prior_scale) + gaussian(self.empty, self._prior_scale, 1)

    def _has(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        return torch.stack([has_view(tokens[view], present[:, column]) for view, column in self._views.items()], 1)

    def _gates(self, means: list[Tensor], has: Tensor, present: Tensor) -> Tensor:
        logit = self.gate(torch.cat([*means, present.to(means[0].dtype)], 1))
        if self._gate == "sigmoid":
            return logit.sigmoid() * has
        # The least number and not minus infinity: a row that has nothing would be NaN.
        return logit.masked_fill(~has, torch.finfo(logit.dtype).min).softmax(1) * has

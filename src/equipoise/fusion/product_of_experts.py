"""Product of experts: every view gives a Gaussian over z, and their product with a prior is one more Gaussian."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.fusion.pooled import has_view, view_mean


@final
class ProductOfExperts(Fusion):
    """``N(z; m, 1/t)`` is proportional to ``N(m_0, 1) prod over present views of N(m_v, 1/t_v)``, entry by entry: precisions add up.

    ``t = 1 + sum t_v``, ``m = (m_0 + sum t_v m_v) / t``; z is the mean m. Of a view's mean token ``m_v`` is a linear and ``t_v`` the softplus of a linear
    function. The prior expert has a learned mean and precision 1 (a scale that the product leaves free), so a row with fewer views lies nearer to m_0, and
    one with nothing is m_0 itself. No noise is drawn and no bound is maximised: t weighs the views and is no posterior of anything.
    Experts count as independent: two views that say the same count twice.

    Args:
        views: view name -> column of its evidence in ``present``.
        n_evidences: M.
        d_model: D.
        prior_scale: see `contract.prior`.

    Source: Hinton (2002); with a prior expert and any subset, Wu and Goodman (2018), section 2.2.
    """

    def __init__(self, *, views: dict[str, int], n_evidences: int, d_model: int, prior_scale: float) -> None:
        super().__init__()
        self._views, self._prior_scale = dict(views), prior_scale
        self.means = nn.ModuleList([nn.Linear(d_model, d_model) for _ in views])
        self.precisions = nn.ModuleList([nn.Linear(d_model, d_model) for _ in views])
        self.d_out = d_model
        self.empty = nn.Parameter(torch.randn(d_model) * 0.01)

    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        return self.product(tokens, present)[0]

    def product(self, tokens: dict[str, Tokens], present: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and precision of the product, each f32 (B, D)."""
        weighted, precision = self.empty.expand(present.shape[0], -1), torch.ones_like(self.empty).expand(present.shape[0], -1)
        for mean, own in zip(*self.experts(tokens, present), strict=True):
            weighted, precision = weighted + own * mean, precision + own
        return weighted / precision, precision

    def experts(self, tokens: dict[str, Tokens], present: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Each view's mean and precision, f32 (B, D); precision 0 where it is absent."""
        means, precisions = [], []
        for (view, column), mean, precision in zip(self._views.items(), self.means, self.precisions, strict=True):
            has = has_view(tokens[view], present[:, column])
            x = view_mean(tokens[view], has)
            means.append(mean(x))
            precisions.append(F.softplus(precision(x)).masked_fill(~has[:, None], 0.0))
        return means, precisions

    def penalty(self) -> Tensor:
        return of_layers(self, self._prior_scale) + gaussian(self.empty, self._prior_scale, 1)

"""Additive fusion with residual fitting: views one after the other, each fitted to what those before it leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.fusion.pooled import has_view, or_empty, view_mean
from equipoise.fusion.turns import louder, turns


@final
class Additive(Fusion):
    """``z = e + sum over present views of c_v``, ``c_v = W_v mean token + b_v``; each c_v is fitted to what the views before it leave of the outcome.

    With ``residual`` every row teaches one of its present views in training, by lot: view k of the order sees ``e + c_1 + ... + c_k``, the earlier
    ones held still, the later ones left out. So a strong view with few numbers is fitted as if it were alone, and one with many, which by itself
    could explain the train rows' noise, can neither slow it nor take its part. What two views both know goes to the earlier. In prediction all
    contributions are summed.

    All stages learn at once and from the same rows: a view that overfits leaves residuals that are too small for those behind it (they are not
    cross-fitted), and where every encoder's prior is right, fitting the whole sum (``residual`` false) is better. Interactions between views cannot
    be learnt, unless the head has layers.

    Args:
        views: view name -> column of its evidence in ``present``.
        n_evidences: M.
        d_model: D.
        first: views that are fitted first, in this order; the others follow in the order of the config's modality.
        mapped: False: c_v is the mean token itself, so that linear encoders and a linear head stay one linear model and only the encoder's prior shrinks.
        residual: whether views are fitted one after the other; False: all of them to the outcome at once, by their sum.
        prior_scale: see `contract.prior`.

    Raises:
        UserError: ``first`` names a view twice, or one that is not there.

    Source: forward stagewise additive modelling, Hastie, Tibshirani and Friedman (2009), algorithm 10.2; all stages at once by lot are ours.
    """

    is_sum = True

    def __init__(
        self, *, views: dict[str, int], n_evidences: int, d_model: int, first: Sequence[str], mapped: bool, residual: bool, prior_scale: float
    ) -> None:
        super().__init__()
        self._order = _ordered(first, list(views))
        self._column, self._residual, self._prior_scale = dict(views), residual, prior_scale
        self.keeps_entries = not mapped
        self.maps = nn.ModuleDict({view: nn.Linear(d_model, d_model) if mapped else nn.Identity() for view in views})
        self.d_out = d_model
        self.empty = nn.Parameter(torch.randn(d_model) * 0.01)

    def forward(self, tokens: dict[str, Tokens], present: Tensor) -> Tensor:
        said, has = self.contributions(tokens, present)
        z = self._by_lot(said, has) if self.training and self._residual else said.sum(1)
        return or_empty(self.empty + z, has.any(1), self.empty)

    def contributions(self, tokens: dict[str, Tokens], present: Tensor) -> tuple[Tensor, Tensor]:
        """c f32 (B, views, D) in the order of fitting, 0 where a view is absent, and where it is there, bool (B, views)."""
        has = torch.stack([has_view(tokens[view], present[:, self._column[view]]) for view in self._order], 1)
        said = [self.maps[view](view_mean(tokens[view], has[:, i])) for i, view in enumerate(self._order)]
        return torch.stack(said, 1).masked_fill(~has[..., None], 0.0), has

    def penalty(self) -> Tensor:
        return of_layers(self, self._prior_scale) + gaussian(self.empty, self._prior_scale, 1)

    def _by_lot(self, said: Tensor, has: Tensor) -> Tensor:
        """Each row's sum up to the view whose turn it is, f32 (B, D), of which this view alone has a gradient."""
        turn = turns(has | ~has.any(1, keepdim=True))
        earlier = torch.arange(has.shape[1], device=has.device) < turn[:, None]
        own = said[torch.arange(said.shape[0], device=said.device), turn]
        return (said.detach() * earlier[..., None]).sum(1) + louder(own, has.sum(1).to(said.dtype))


def _ordered(first: Sequence[str], views: Sequence[str]) -> list[str]:
    if len(set(first)) < len(first) or not set(first) <= set(views):
        raise UserError(
            f"fusion.first is {', '.join(first)}",
            expected=f"some of the views {', '.join(views)}, each once",
            mend="correct it; an empty list keeps their order",
        )
    return [*first, *(view for view in views if view not in first)]

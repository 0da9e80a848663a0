"""A plain linear map of numbers and categories, with a ridge prior."""

from __future__ import annotations

from math import sqrt
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.prior import gaussian
from equipoise.contract.tensors import Tokens, Vector, VectorSpec
from equipoise.encoder import Encoder
from equipoise.encoder.categories import Categories
from equipoise.encoder.one_token import one_token_each


@final
class Linear(Encoder):
    """``token = W [value * observed, 1 - observed] + sum of category vectors``: a missing value is the train mean, plus an effect of its being missing.

    Every weight has the prior N(0, prior_scale^2 / J), J the number of inputs (numbers, missing effects, category columns).
    With fusion `concat` without layers and a point head the whole model is a ridge regression.

    Args:
        spec: of the view.
        d_model: D.
        missing_effects: whether a value's being missing has an effect.
        prior_scale: prior standard deviation of a token's entry on standardised inputs.
        lr_scale: what the learning rate is multiplied with for this part; wide inputs need less.
    """

    accepts = Vector
    lipschitz = sqrt(2)  # |[V, M]|^2 <= |V|^2 + |M|^2 for the maps of numbers and of what is missing

    def __init__(self, *, spec: VectorSpec, d_model: int, missing_effects: bool, prior_scale: float, lr_scale: float) -> None:
        super().__init__()
        self.lr_scale = lr_scale
        self._prior_scale = prior_scale
        self.value = nn.Linear(spec.n_values, d_model, bias=False) if spec.n_values else None
        self.missing = nn.Linear(spec.n_values, d_model, bias=False) if spec.n_values and missing_effects else None
        self.categories = Categories(spec.cardinalities, d_model)
        self._n_inputs = max(spec.n_values * (1 + missing_effects) + len(spec.cardinalities), 1)
        self.bias = nn.Parameter(torch.zeros(d_model))

    def forward(self, part: Vector) -> Tokens:  # type: ignore[override]
        h = self.bias + self.categories(part.category).reshape(*part.category.shape, self.bias.shape[0]).sum(1)
        if self.value is not None:
            h = h + self.value(part.value.masked_fill(~part.observed, 0.0))
        if self.missing is not None:
            h = h + self.missing((~part.observed).to(torch.float32))
        return one_token_each(h, part)

    def penalty(self) -> Tensor:
        # As the layers use them, which under a spectral norm is not as they are stored.
        used = [*(layer.weight for layer in (self.value, self.missing) if layer is not None), *self.categories.parameters()]
        weights = sum((gaussian(w, self._prior_scale, self._n_inputs) for w in used), torch.zeros(()))
        return weights + gaussian(self.bias, self._prior_scale, 1)

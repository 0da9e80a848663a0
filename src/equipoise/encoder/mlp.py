"""A plain perceptron over numbers and categories."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from equipoise.contract.prior import of_layers
from equipoise.contract.tensors import Tokens, Vector, VectorSpec
from equipoise.encoder import Encoder
from equipoise.encoder.categories import Categories
from equipoise.encoder.one_token import one_token_each
from equipoise.encoder.perceptron import perceptron, steepest


@final
class Mlp(Encoder):
    """``token = perceptron([value * observed, observed, category vectors])``.

    Args:
        spec: of the view.
        d_model: D.
        hidden: widths of the hidden layers.
        d_category: width of a category's vector.
        dropout: of the hidden units.
        prior_scale: see `contract.prior`.
        lr_scale: what the learning rate is multiplied with for this part; wide inputs need less.
    """

    accepts = Vector

    def __init__(self, *, spec: VectorSpec, d_model: int, hidden: list[int], d_category: int, dropout: float, prior_scale: float, lr_scale: float) -> None:
        super().__init__()
        self.lr_scale, self.lipschitz = lr_scale, steepest(hidden)
        self._prior_scale = prior_scale
        self.categories = Categories(spec.cardinalities, d_category)
        self.perceptron = perceptron(2 * spec.n_values + self.categories.d_out, hidden, d_model, dropout)

    def forward(self, part: Vector) -> Tokens:  # type: ignore[override]
        observed = part.observed.to(torch.float32)
        value = part.value.masked_fill(~part.observed, 0.0)
        return one_token_each(self.perceptron(torch.cat([value, observed, self.categories(part.category)], 1)), part)

    def penalty(self) -> Tensor:
        return of_layers(self, self._prior_scale)

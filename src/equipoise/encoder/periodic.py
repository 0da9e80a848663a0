"""Periodic embeddings of numbers, then a perceptron: non-monotone effects without bins."""

from __future__ import annotations

from math import pi, sqrt
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Tokens, Vector, VectorSpec
from equipoise.encoder import Encoder
from equipoise.encoder.categories import Categories
from equipoise.encoder.one_token import one_token_each
from equipoise.encoder.perceptron import perceptron


@final
class Periodic(Encoder):
    """Per number ``e_f(x) = relu(W_f [x, sin(2 pi c_f x), cos(2 pi c_f x)] + b_f)``, 0 where not observed.

    The token is ``perceptron([e, observed, category vectors])``.

    Args:
        spec: of the view.
        d_model: D.
        n_frequencies: learned frequencies c_f of each number.
        frequency_scale: standard deviation of the frequencies at the start, and of their prior; per standard deviation of the number.
        d_number: width of e_f.
        hidden: widths of the perceptron's hidden layers.
        d_category: width of a category's vector.
        dropout: of the hidden units.
        prior_scale: see `contract.prior`.
        lr_scale: what the learning rate is multiplied with for this part; wide inputs need less.

    Source: Gorishniy, Rubachev and Babenko (2022), section 3.3 (PLR); x itself is added so that a straight line needs no small frequency.
    """

    accepts = Vector

    def __init__(
        self,
        *,
        spec: VectorSpec,
        d_model: int,
        n_frequencies: int,
        frequency_scale: float,
        d_number: int,
        hidden: list[int],
        d_category: int,
        dropout: float,
        prior_scale: float,
        lr_scale: float,
    ) -> None:
        super().__init__()
        self.lr_scale = lr_scale
        self._prior_scale, self._frequency_scale, self._fan_in = prior_scale, frequency_scale, 2 * n_frequencies + 1
        self.frequency = nn.Parameter(torch.randn(spec.n_values, n_frequencies) * frequency_scale)
        self.weight = nn.Parameter(torch.randn(spec.n_values, self._fan_in, d_number) / sqrt(self._fan_in))
        self.bias = nn.Parameter(torch.zeros(spec.n_values, d_number))
        self.categories = Categories(spec.cardinalities, d_category)
        self.perceptron = perceptron(spec.n_values * (d_number + 1) + self.categories.d_out, hidden, d_model, dropout)

    def forward(self, part: Vector) -> Tokens:  # type: ignore[override]
        x = part.value.masked_fill(~part.observed, 0.0)
        angle = 2 * pi * x[..., None] * self.frequency
        waves = torch.cat([x[..., None], angle.sin(), angle.cos()], -1)
        e = torch.einsum("pfk,fkd->pfd", waves, self.weight) + self.bias
        e = e.relu() * part.observed[..., None]
        return one_token_each(self.perceptron(torch.cat([e.flatten(1), part.observed.to(e.dtype), self.categories(part.category)], 1)), part)

    def penalty(self) -> Tensor:
        own = gaussian(self.weight, self._prior_scale, self._fan_in) + gaussian(self.bias, self._prior_scale, 1)
        return of_layers(self, self._prior_scale) + own + gaussian(self.frequency, self._frequency_scale, 1)

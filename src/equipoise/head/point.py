"""The point head: one set of weights, no uncertainty about them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.tensors import Draws
from equipoise.head import OUTPUT_GAIN, Head


@final
class PointHead(Head):
    """A linear map, or a small perceptron with GELU, whose penalty makes it a maximum a posteriori estimate.

    Prior of a layer: w ~ N(0, prior_scale^2 / d_in), so that its meaning does not change with the width; the last bias ~ N(start, bias_scale^2).

    Args:
        d_in: width of z.
        n_params: K.
        bias: f32 (K,), where the parameters start.
        layers: number of hidden layers, each d_in wide; 0 = linear.
        prior_scale: > 0.
        bias_scale: > 0, wide: a base rate is not shrunk.

    Source: ours; fan-in scaling after Neal (1996), section 2.1.
    """

    start: Tensor

    def __init__(self, *, d_in: int, n_params: int, bias: Tensor, layers: int, prior_scale: float, bias_scale: float) -> None:
        super().__init__()
        self.prior_scale, self.bias_scale = float(prior_scale), float(bias_scale)
        self.hidden = nn.ModuleList(nn.Linear(d_in, d_in) for _ in range(layers))
        self.out = nn.Linear(d_in, n_params)
        for layer in self._hidden():
            nn.init.normal_(layer.weight, std=1 / math.sqrt(d_in))
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.out.weight, std=OUTPUT_GAIN / math.sqrt(d_in))
        self.register_buffer("start", bias.detach().clone().to(torch.float32))
        with torch.no_grad():
            self.out.bias.copy_(self.start)

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """One draw, (1, B, K), whatever is asked for."""
        for layer in self._hidden():
            z = F.gelu(layer(z))
        return Draws(self.out(z)[None])

    def kl(self) -> Tensor:
        """Zero: there is no posterior."""
        return self.start.new_zeros(())

    def penalty(self) -> Tensor:
        """Sum of w^2 d_in / (2 prior_scale^2) over layers, and of (b - start)^2 / (2 bias_scale^2); hidden biases as the output's, around 0."""
        total = (self.out.bias - self.start).square().sum() / (2 * self.bias_scale**2)
        for layer in [*self._hidden(), self.out]:
            total = total + layer.weight.square().sum() * layer.in_features / (2 * self.prior_scale**2)
        for layer in self._hidden():
            total = total + layer.bias.square().sum() / (2 * self.bias_scale**2)
        return total

    def _hidden(self) -> Iterator[nn.Linear]:
        return (layer for layer in self.hidden if isinstance(layer, nn.Linear))

"""The point head: one set of weights, no uncertainty about them."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from equipoise.contract.tensors import Draws
from equipoise.head import Head
from equipoise.head.layers import features, hidden_penalty, linear_layers, output_penalty


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
        self.register_buffer("start", bias.detach().clone().to(torch.float32))
        self.hidden, self.out = linear_layers(d_in, layers, self.start)

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """One draw, (1, B, K), whatever is asked for."""
        return Draws(self.out(features(self.hidden, z))[None])

    def kl(self) -> Tensor:
        """Zero: there is no posterior."""
        return self.start.new_zeros(())

    def penalty(self) -> Tensor:
        """Sum of w^2 d_in / (2 prior_scale^2) over layers, and of (b - start)^2 / (2 bias_scale^2); hidden biases as the output's, around 0."""
        output = output_penalty(self.out, self.start, self.prior_scale, self.bias_scale)
        return output + hidden_penalty(self.hidden, self.prior_scale, self.bias_scale)

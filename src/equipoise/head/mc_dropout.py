"""Monte-Carlo dropout: a draw is one mask over the inputs of every layer."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws
from equipoise.head import Head
from equipoise.head.layers import hidden_penalty, linear_layers, output_penalty
from equipoise.head.noise import DrawNoise, row_noise


@final
class McDropoutHead(Head):
    """A linear layer, or a small perceptron, whose layers' inputs are each kept with probability 1 - rate and divided by it, in prediction too.

    In evaluation mode draw s is one mask, shared by all rows; in training mode every row has a mask of its own, as usual for dropout. The rate
    is given and not learnt: how far draws differ is set by it more than by the data, so this is the cheapest and the least honest of the posteriors.

    Args:
        d_in: width of z.
        n_params: K.
        bias: f32 (K,), where the parameters start.
        layers: number of hidden layers, each d_in wide; 0 = linear.
        rate: share of inputs dropped, in (0, 1).
        prior_scale: > 0, of w ~ N(0, prior_scale^2 / fan-in).
        bias_scale: > 0.
        train_draws: draws in a training step.

    Raises:
        UserError: the rate is not between 0 and 1.

    Source: Gal and Ghahramani (2016), eq. 6 and appendix 3.2.
    """

    start: Tensor

    def __init__(self, *, d_in: int, n_params: int, bias: Tensor, layers: int, rate: float, prior_scale: float, bias_scale: float, train_draws: int) -> None:
        super().__init__()
        if not 0 < rate < 1:
            raise UserError("head.rate", expected="a number between 0 and 1", found=f"{rate:g}", mend="set head.rate, e.g. 0.1")
        self.train_draws, self.rate, self.prior_scale, self.bias_scale = train_draws, float(rate), float(prior_scale), float(bias_scale)
        self.register_buffer("start", bias.detach().clone().to(torch.float32))
        self.hidden, self.out = linear_layers(d_in, layers, self.start)
        self._threshold = float(torch.special.ndtri(torch.tensor(rate, dtype=torch.float64)))
        self._noise = DrawNoise()

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """Draws (n_draws, B, K); in evaluation mode draw s is one mask for all rows, in training mode rows have masks of their own."""
        layers = [*self.hidden, self.out]
        h, width = z.expand(n_draws, *z.shape), z.shape[-1]
        shared = None if self.training else self._noise(seed, n_draws, len(layers) * width, z).unflatten(1, (len(layers), 1, width))
        for i, layer in enumerate(layers):
            h = F.gelu(h) if i else h
            noise = row_noise(stream_seed("rows", seed, i), h) if shared is None else shared[:, i]
            h = layer(h * (noise > self._threshold) / (1 - self.rate))
        return Draws(h)

    def kl(self) -> Tensor:
        """Zero: what the masks' posterior adds to the prior's term stands in `penalty`."""
        return self.start.new_zeros(())

    def penalty(self) -> Tensor:
        """Mean over masks of the negative log prior of the masked weights, (), nats: a kept weight is w / (1 - rate), so sum(w^2) counts 1 / (1 - rate) times.

        It is the KL of narrow Gaussians around 0 and the kept weight, up to a constant.
        """
        scale = self.prior_scale * math.sqrt(1 - self.rate)
        return output_penalty(self.out, self.start, scale, self.bias_scale) + hidden_penalty(self.hidden, scale, self.bias_scale)

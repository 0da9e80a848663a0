"""The mean-field head: a diagonal Gaussian posterior over weights in plain torch, trained with noise for each row's outputs."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws
from equipoise.head import Head, Likelihood
from equipoise.head.divergence import gaussian_kl
from equipoise.head.layers import features, hidden_penalty, linear_draws, linear_layers
from equipoise.head.noise import DrawNoise, row_noise
from equipoise.head.settle import settle
from equipoise.head.whitening import Whitening


@final
class _Layer(nn.Module):
    """A linear layer with q(w) = N(loc, scale^2) for every weight; the last column of (d_out, d_in + 1) is the bias."""

    prior_loc: Tensor
    prior_sd: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, prior_scale: float, bias_scale: float, init_scale: float) -> None:
        super().__init__()
        d_out, d_in = weight.shape
        prior_sd = torch.full((d_out, d_in + 1), prior_scale / math.sqrt(d_in))
        prior_sd[:, -1] = bias_scale
        self.register_buffer("prior_sd", prior_sd)
        self.register_buffer("prior_loc", torch.cat([torch.zeros_like(weight), bias[:, None]], 1))
        self.loc = nn.Parameter(torch.cat([weight, bias[:, None]], 1))
        self.log_scale = nn.Parameter((init_scale * prior_sd).log())

    def with_row_noise(self, h: Tensor, seed: int) -> Tensor:
        """Outputs (S, B, d_out), each row's drawn from its own Gaussian: mean h loc, variance h^2 scale^2; h is (S, B, d_in)."""
        variance = (2 * self.log_scale).exp()
        mean = F.linear(h, self.loc[:, :-1], self.loc[:, -1])
        spread = F.linear(h.square(), variance[:, :-1], variance[:, -1]).sqrt()
        return mean + spread * row_noise(seed, mean)

    def sampled(self, noise: Tensor) -> Tensor:
        """Weights (S, d_out, d_in + 1) from standard normal numbers (S, d_out * (d_in + 1))."""
        return self.loc + self.log_scale.exp() * noise.unflatten(1, self.loc.shape)

    def kl(self) -> Tensor:
        return gaussian_kl(2 * (self.log_scale - self.prior_sd.log()), (self.loc - self.prior_loc) / self.prior_sd)


@final
class MeanFieldHead(Head):
    """A linear layer, or a small perceptron, with a factorised Gaussian posterior; no probabilistic language is needed to train it.

    Model: w ~ N(0, prior_scale^2 / d_in), output bias ~ N(base rate, bias_scale^2). q(w) = prod N(loc, scale^2).
    In training mode every row's pre-activations have noise of their own, drawn from the Gaussian that the weights' imply (local
    reparametrisation): the same lower bound with less noise in its gradient, but its draws are not weight samples. In evaluation mode draw s is one
    sample of all weights, shared by all rows.

    Args:
        d_in: width of z.
        n_params: K.
        bias: f32 (K,), where the parameters start.
        layers: number of hidden layers, each d_in wide; 0 = linear.
        bayesian: "all" layers have a posterior, or the "last" alone; then hidden weights are point estimates and draws are cheap.
        whiten: whether `fit` changes the inputs of the first layer that has a posterior to the basis of `Whitening`, and the prior with it; training's is
            over inputs as they come.
        prior_scale: > 0.
        bias_scale: > 0.
        init_scale: > 0, every posterior standard deviation before training, over that of the prior.
        train_draws: draws in a training step.

    Source: Kingma, Salimans and Welling (2015), eqs. 6 and 7; Blundell et al. (2015), eq. 1.
    """

    def __init__(
        self,
        *,
        d_in: int,
        n_params: int,
        bias: Tensor,
        layers: int,
        bayesian: str,
        whiten: bool,
        prior_scale: float,
        bias_scale: float,
        init_scale: float,
        train_draws: int,
    ) -> None:
        super().__init__()
        if bayesian not in ("all", "last"):
            raise UserError("head.bayesian", expected="all or last", found=repr(bayesian), mend="set head.bayesian=all")
        self.train_draws, self.prior_scale, self.bias_scale = train_draws, float(prior_scale), float(bias_scale)
        hidden, out = linear_layers(d_in, layers, bias.detach().to(torch.float32))
        own = [*hidden, out] if bayesian == "all" else [out]
        self.hidden = nn.ModuleList() if bayesian == "all" else hidden
        self.layers = nn.ModuleList(_Layer(layer.weight.detach(), layer.bias.detach(), prior_scale, bias_scale, init_scale) for layer in own)
        self.whitening = Whitening(whiten)
        self._noise = DrawNoise()

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """Draws (n_draws, B, K); in evaluation mode draw s is one weight sample, in training mode rows have noise of their own."""
        z = self.whitening(features(self.hidden, z))
        return Draws(self._in_training(z, n_draws, seed) if self.training else self._shared(z, n_draws, seed))

    def fit(self, z: Tensor, hessian: Likelihood, n: int, nll: Likelihood) -> None:
        """Brings the standard deviations to the lower bound's optimum at the trained means; see `settle`."""
        first = self._layers()[0]
        with torch.no_grad():
            self.whitening.fit(features(self.hidden, z))
            first.loc.copy_(self.whitening.moved(first.loc))
        settle(self, [layer.log_scale for layer in self._layers()], z, n, nll)

    def kl(self) -> Tensor:
        """KL(q || prior) in closed form, (), nats."""
        return torch.stack([layer.kl() for layer in self._layers()]).sum()

    def penalty(self) -> Tensor:
        """Negative log prior of hidden weights without a posterior, (), nats."""
        return hidden_penalty(self.hidden, self.prior_scale, self.bias_scale).to(self._layers()[0].loc)

    def posterior(self, layer: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of a layer's weights, each (d_out, d_in + 1), the bias last."""
        own = self._layers()[layer]
        return own.loc, own.log_scale.exp()

    def _in_training(self, z: Tensor, n_draws: int, seed: int) -> Tensor:
        h = z.expand(n_draws, *z.shape)
        for i, layer in enumerate(self._layers()):
            h = layer.with_row_noise(F.gelu(h) if i else h, stream_seed("rows", seed, i))
        return h

    def _shared(self, z: Tensor, n_draws: int, seed: int) -> Tensor:
        layers = self._layers()
        sizes = [layer.loc.numel() for layer in layers]
        noise = self._noise(seed, n_draws, sum(sizes), layers[0].loc).split(sizes, 1)
        value = linear_draws(z, layers[0].sampled(noise[0]))
        for layer, own in zip(layers[1:], noise[1:], strict=True):
            weight = layer.sampled(own)
            value = torch.baddbmm(weight[:, None, :, -1], F.gelu(value), weight[..., :-1].mT)
        return value

    def _layers(self) -> list[_Layer]:
        return [layer for layer in self.layers if isinstance(layer, _Layer)]

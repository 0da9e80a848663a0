"""The variational head: a diagonal Gaussian posterior over the weights, in Pyro."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from operator import attrgetter
from typing import Any, final

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoNormal
from pyro.nn import PyroModule, PyroSample
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.counter import stream_seed
from equipoise.contract.tensors import Draws, generator
from equipoise.head import OUTPUT_GAIN, Head

# Parameters live in their module, not in Pyro's global store, where the second model of a sweep would find the first one's.
pyro.settings.set(module_local_params=True)


def _weight_prior(layer: Any) -> Any:
    return dist.Normal(layer.weight_mean, layer.weight_sd).to_event(2)


def _bias_prior(layer: Any) -> Any:
    return dist.Normal(layer.bias_mean, layer.bias_sd).to_event(1)


class _Layer(PyroModule):
    """A linear layer with weight ~ N(0, prior_scale^2 / d_in) and bias ~ N(bias, bias_scale^2); leading dimensions of sampled weights are draws."""

    def __init__(self, d_in: int, bias: Tensor, prior_scale: float, bias_scale: float) -> None:
        super().__init__()
        d_out = bias.shape[0]
        # Buffers, so that the prior moves with the module and is saved with it.
        self.register_buffer("weight_mean", torch.zeros(d_out, d_in))
        self.register_buffer("weight_sd", torch.full((d_out, d_in), prior_scale / math.sqrt(d_in)))
        self.register_buffer("bias_mean", bias.detach().clone().to(torch.float32))
        self.register_buffer("bias_sd", torch.full((d_out,), float(bias_scale)))
        self.weight = PyroSample(_weight_prior)
        self.bias = PyroSample(_bias_prior)

    def forward(self, z: Tensor) -> Tensor:
        return torch.matmul(z, self.weight.transpose(-1, -2)) + self.bias.unsqueeze(-2)


class _Chain(PyroModule):
    """The generative model: layers with GELU between them."""

    def __init__(self, layers: list[_Layer]) -> None:
        super().__init__()
        self.layers = PyroModule[torch.nn.ModuleList](layers)

    def forward(self, z: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            z = F.gelu(layer(z))
        return self.layers[-1](z)

    def priors(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Site name, prior mean and prior standard deviation of every latent, the latter two in the site's shape."""
        for i, layer in enumerate(self.layers):
            yield f"layers.{i}.weight", layer.weight_mean, layer.weight_sd
            yield f"layers.{i}.bias", layer.bias_mean, layer.bias_sd


class _CountedNoise(Messenger):
    """Replaces Pyro's global random stream in the guide: draw s of every normal site is loc + scale * eps with eps from draw s's own generator."""

    def __init__(self, seed: int, n_draws: int) -> None:
        super().__init__()
        self.streams = [generator(stream_seed("draw", seed, s)) for s in range(n_draws)]

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["name"].endswith("_unconstrained"):
            return
        normal = msg["fn"].base_dist
        eps = torch.stack([torch.randn(normal.loc.shape[1:], generator=stream) for stream in self.streams])
        msg["value"] = normal.loc + normal.scale * eps.to(normal.loc)
        msg["done"] = True


def _kl(mean: Tensor, sd: Tensor, prior_mean: Tensor, prior_sd: Tensor) -> Tensor:
    """Sum of KL(N(mean, sd^2) || N(prior_mean, prior_sd^2)), nats, written out: building four distributions would cost more than their divergence."""
    log_ratio = 2 * (sd / prior_sd).log()
    # expm1(x) - x, not ratio - 1 - log(ratio): it does not round below zero.
    return 0.5 * (torch.expm1(log_ratio) - log_ratio + ((mean - prior_mean) / prior_sd).square()).sum()


def _start(site: Any, last: str) -> Tensor:
    """Where a site's posterior mean starts: biases at their prior mean, weights small and random, so that gradients reach what lies before."""
    mean = site["fn"].base_dist.mean
    if site["name"].endswith("bias"):
        return mean.clone()
    gain = OUTPUT_GAIN if site["name"] == last else 1.0
    return torch.randn_like(mean) * gain / math.sqrt(mean.shape[-1])


@final
class VariationalHead(Head):
    """A linear layer, or a small perceptron, whose weights have a factorised Gaussian posterior fitted by the evidence lower bound.

    Model: w ~ N(0, prior_scale^2 / d_in) in every layer, output bias ~ N(base rate, bias_scale^2). Guide: q(w) = prod N(loc, scale^2)
    (Pyro's AutoNormal). The posterior is that of these weights given the encoder and the fusion: it does not cover what those do not know.

    Args:
        d_in: width of z.
        n_params: K.
        bias: f32 (K,), where the parameters start.
        layers: number of hidden layers, each d_in wide; 0 = linear.
        prior_scale: > 0.
        bias_scale: > 0, wide.
        init_scale: > 0, every posterior standard deviation before training; small, or the first steps are noise.
        train_draws: draws in a training step.

    Source: Blundell et al. (2015), section 3.2, with draws shared by the rows of a batch; Bingham et al. (2019), Pyro.
    """

    def __init__(
        self, *, d_in: int, n_params: int, bias: Tensor, layers: int, prior_scale: float, bias_scale: float, init_scale: float, train_draws: int
    ) -> None:
        super().__init__()
        self.train_draws = train_draws
        hidden = [_Layer(d_in, torch.zeros(d_in), prior_scale, bias_scale) for _ in range(layers)]
        self.model = _Chain([*hidden, _Layer(d_in, bias, prior_scale, bias_scale)])
        self.guide = AutoNormal(self.model, init_loc_fn=partial(_start, last=f"layers.{layers}.weight"), init_scale=float(init_scale))
        # An autoguide makes its parameters when it first runs: now, so that the optimizer finds them.
        self.guide._setup_prototype(torch.zeros(1, d_in))

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """Draws (n_draws, B, K); draw s is one sample of all weights, from ``stream_seed("draw", seed, s)``, shared by all rows."""
        # Only the values are wanted: densities, which Pyro would add up beside them, are masked, because `kl` has them in closed form.
        with poutine.mask(mask=False), _CountedNoise(seed, n_draws), pyro.plate("draws", n_draws, dim=-1):
            return Draws(poutine.condition(self.model, data=self.guide(z))(z))

    def kl(self) -> Tensor:
        """KL(q || prior) in closed form, summed over sites, (), nats."""
        return torch.stack([_kl(*self.posterior(name), prior_mean, prior_sd) for name, prior_mean, prior_sd in self.model.priors()]).sum()

    def posterior(self, site: str) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of a site such as ``layers.0.weight``, each in the site's shape."""
        return attrgetter(site)(self.guide.locs), attrgetter(site)(self.guide.scales)

    def penalty(self) -> Tensor:
        """Zero: every weight has a posterior."""
        return self.model.layers[0].bias_mean.new_zeros(())

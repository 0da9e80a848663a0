"""Generative models of the variational head in Pyro: layers whose weights are Gaussian, or sparse by a horseshoe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, PyroSample
from torch import Tensor
from torch.nn import functional as F


def _weight_prior(layer: Any) -> Any:
    return dist.Normal(layer.weight_mean, layer.weight_sd).to_event(2)


def _bias_prior(layer: Any) -> Any:
    return dist.Normal(layer.bias_mean, layer.bias_sd).to_event(1)


class GaussianLayer(PyroModule):
    """A linear layer with weight ~ N(0, prior_scale^2 / d_in) and bias ~ N(bias, bias_scale^2); leading dimensions of sampled weights are draws."""

    latents: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def __init__(self, d_in: int, bias: Tensor, prior_scale: float, bias_scale: float) -> None:
        super().__init__()
        self.start_scale = 1.0
        """What the sampled weights are multiplied by before training."""
        d_out = bias.shape[0]
        # Buffers, so that the prior moves with the module and is saved with it.
        self.register_buffer("weight_mean", torch.zeros(d_out, d_in))
        self.register_buffer("weight_sd", torch.full((d_out, d_in), prior_scale / math.sqrt(d_in)))
        self.register_buffer("bias_mean", bias.detach().clone().to(torch.float32))
        self.register_buffer("bias_sd", torch.full((d_out,), float(bias_scale)))
        self.weight = PyroSample(_weight_prior)
        self.bias = PyroSample(_bias_prior)

    def forward(self, z: Tensor) -> Tensor:
        """Pyro's way in: the sites are sampled, or conditioned, as they are read."""
        return self.outputs(z, {name: getattr(self, name) for name in self.latents})

    def outputs(self, z: Tensor, latent: Mapping[str, Tensor]) -> Tensor:
        """(S, B, d_out) for values of the layer's latents, each with S in front."""
        return torch.matmul(z, latent["weight"].mT) + latent["bias"].unsqueeze(-2)


def _half_cauchy(layer: Any, name: str) -> Any:
    size = layer.weight_mean.shape[1] if name.startswith("local") else 1
    one = torch.ones(size, dtype=layer.weight_mean.dtype, device=layer.weight_mean.device)
    rate = one if name.endswith("mixing") else 1 / getattr(layer, f"{name}_mixing")
    return dist.InverseGamma(0.5 * torch.ones_like(rate), rate).to_event(1)


class HorseshoeLayer(GaussianLayer):
    """A linear layer whose inputs are mostly irrelevant: w_kj = s_j t_kj, t_kj ~ N(0, 1), s_j the prior scale of input j's weights.

    s_j^2 = c^2 (g l_j)^2 / (c^2 / tau^2 + (g l_j)^2) with l_j, g half-Cauchy(0, 1), tau = c r / (1 - r), c^2 = prior_scale^2 / (r d_in): without data
    about a share r of the inputs reaches the slab c, the others' weights are near 0, and no s_j exceeds c. A half-Cauchy's square is written as
    InverseGamma(1/2, 1/a) with a ~ InverseGamma(1/2, 1), so that its divergence has a closed form.

    Args:
        d_in: inputs.
        bias: f32 (K,), prior mean of the biases.
        prior_scale: standard deviation of an output with r d_in standardised inputs at the slab.
        bias_scale: of the biases.
        relevant: r, in (0, 1).

    Source: Piironen and Vehtari (2017), eqs. 2.8 and 3.12 with the slab as the noise: ours; Makalic and Schmidt (2016), eq. 4, for the mixture.
    """

    latents: ClassVar[tuple[str, ...]] = ("local_mixing", "local", "overall_mixing", "overall", "weight", "bias")

    def __init__(self, d_in: int, bias: Tensor, prior_scale: float, bias_scale: float, relevant: float) -> None:
        super().__init__(d_in, bias, prior_scale, bias_scale)
        self.weight_sd.fill_(1.0)
        self.slab, self.odds = prior_scale / math.sqrt(relevant * d_in), relevant / (1 - relevant)
        self.start_scale = float(self.scale({"overall": torch.ones(1), "local": torch.ones(1)}))
        self.local_mixing = PyroSample(partial(_half_cauchy, name="local_mixing"))
        self.local = PyroSample(partial(_half_cauchy, name="local"))
        self.overall_mixing = PyroSample(partial(_half_cauchy, name="overall_mixing"))
        self.overall = PyroSample(partial(_half_cauchy, name="overall"))

    def scale(self, latent: Mapping[str, Tensor]) -> Tensor:
        """s_j, (..., d_in)."""
        squared = latent["overall"] * latent["local"]
        return self.slab * (squared / (1 / self.odds**2 + squared)).sqrt()

    def outputs(self, z: Tensor, latent: Mapping[str, Tensor]) -> Tensor:
        return super().outputs(z, {**latent, "weight": self.scale(latent).unsqueeze(-2) * latent["weight"]})


class Chain(PyroModule):
    """The generative model: layers with GELU between them."""

    def __init__(self, layers: list[GaussianLayer]) -> None:
        super().__init__()
        self.layers = PyroModule[torch.nn.ModuleList](layers)

    def forward(self, z: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            z = F.gelu(layer(z))
        return self.layers[-1](z)

    def outputs(self, z: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """(S, B, K) for values of all sites: `forward` without Pyro's bookkeeping of densities, which nobody reads here."""
        for i, layer in enumerate(self.layers):
            own = {name: values[f"layers.{i}.{name}"] for name in layer.latents}
            z = layer.outputs(F.gelu(z) if i else z, own)
        return z

    def priors(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Site name, prior mean and prior standard deviation of every Gaussian latent, the latter two in the site's shape."""
        for i, layer in enumerate(self.layers):
            yield f"layers.{i}.weight", layer.weight_mean, layer.weight_sd
            yield f"layers.{i}.bias", layer.bias_mean, layer.bias_sd

    def half_cauchy(self) -> Iterator[tuple[str, str]]:
        """Site names of every squared half-Cauchy and of its mixing variable."""
        for i, layer in enumerate(self.layers):
            if isinstance(layer, HorseshoeLayer):
                yield from ((f"layers.{i}.{name}", f"layers.{i}.{name}_mixing") for name in ("local", "overall"))

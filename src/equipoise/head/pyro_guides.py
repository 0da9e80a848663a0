"""Guides of the variational head in Pyro: their draws from counted noise, and their divergence from the prior in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import pyro
import torch
from pyro.infer.autoguide import AutoGuide, AutoLowRankMultivariateNormal, AutoMultivariateNormal, AutoNormal
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from equipoise.head import OUTPUT_GAIN
from equipoise.head.divergence import gaussian_kl
from equipoise.head.noise import DrawNoise
from equipoise.head.pyro_layers import Chain

# Parameters live in their module, not in Pyro's global store, where the second model of a sweep would find the first one's.
pyro.settings.set(module_local_params=True)


def make_guide(kind: str, model: Chain, *, d_in: int, init_scale: float, rank: int) -> AutoGuide:
    """A guide with all its parameters, made now so that the optimizer finds them.

    Args:
        kind: "low_rank" and "full" join all weights in one Gaussian; any other word is factorised.
        model: the generative model.
        d_in: width of z.
        init_scale: every posterior standard deviation before training.
        rank: of the low-rank form.
    """
    scales = {f"layers.{i}.weight": layer.start_scale for i, layer in enumerate(model.layers)}
    start = partial(_start, last=f"layers.{len(model.layers) - 1}.weight", scales=scales)
    match kind:
        case "full":
            guide: AutoGuide = AutoMultivariateNormal(model, init_loc_fn=start, init_scale=init_scale)
        case "low_rank":
            guide = AutoLowRankMultivariateNormal(model, init_loc_fn=start, init_scale=init_scale, rank=rank)
        case _:
            guide = AutoNormal(model, init_loc_fn=start, init_scale=init_scale)
    guide._setup_prototype(torch.zeros(1, d_in))
    if kind == "low_rank":
        # Pyro starts with as much of the spread in random directions as in the diagonal; little of it is less noise in the first steps.
        with torch.no_grad():
            guide.cov_factor.mul_(0.1)
            guide.scale = torch.full_like(guide.loc, init_scale)
    return guide


def sampled(guide: AutoGuide, noise: DrawNoise, *, seed: int, n_draws: int) -> dict[str, Tensor]:
    """Values of all sites, (S, site's shape); draw s is a function of (seed, s), and not of Pyro's global random stream."""
    if isinstance(guide, AutoNormal):
        sites = [(name, *of_site(guide, name), site) for name, site in guide.prototype_trace.iter_stochastic_nodes()]
        eps = noise.by_shape(seed, n_draws, [loc.shape for _, loc, _, _ in sites], sites[0][1])
        values = {name: loc + scale * own for (name, loc, scale, _), own in zip(sites, eps, strict=True)}
        return {name: values[name] if site["fn"].support.base_constraint is constraints.real else values[name].exp() for name, _, _, site in sites}
    size = len(guide.loc)
    if isinstance(guide, AutoMultivariateNormal):
        deviation = noise(seed, n_draws, size, guide.loc) @ guide.scale_tril.T
    else:
        joint = noise(seed, n_draws, size + guide.cov_factor.shape[1], guide.loc)
        deviation = joint[:, :size] + joint[:, size:] @ guide.cov_factor.T
    return {site["name"]: value for site, value in guide._unpack_latent(guide.loc + guide.scale * deviation)}


def divergence(guide: AutoGuide, model: Chain) -> Tensor:
    """KL(q || prior) in closed form, (), nats."""
    if isinstance(guide, AutoNormal):
        gaussian = [_factorised(*of_site(guide, name), mean, sd) for name, mean, sd in model.priors()]
        return torch.stack([*gaussian, *(_half_cauchy(guide, *names) for names in model.half_cauchy())]).sum()
    priors = {name: (mean, sd) for name, mean, sd in model.priors()}
    order = [site["name"] for site, _ in guide._unpack_latent(guide.loc)]
    mean, sd = (torch.cat([priors[name][i].reshape(-1) for name in order]) for i in (0, 1))
    scale = guide.scale
    own = _factorised(guide.loc, scale, mean, sd)
    if isinstance(guide, AutoMultivariateNormal):
        # scale_tril has ones on its diagonal: its determinant is 1, and what lies below adds to the trace alone.
        return own + 0.5 * ((scale / sd).square() * guide.scale_tril.tril(-1).square().sum(1)).sum()
    factor = guide.cov_factor
    inner = torch.eye(factor.shape[1], dtype=factor.dtype, device=factor.device) + factor.T @ factor
    return own + 0.5 * ((scale / sd).square() * factor.square().sum(1)).sum() - torch.linalg.cholesky(inner).diagonal().log().sum()


def spreads(guide: AutoGuide) -> list[torch.nn.Parameter]:
    """The parameters of its standard deviations and covariances, of every guide."""
    return [p for name, p in guide.named_parameters() if name.startswith("scale") or name == "cov_factor"]


def of_site(guide: AutoGuide, site: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a site in unconstrained numbers, each in the site's shape."""
    if isinstance(guide, AutoNormal):
        return _unconstrained(guide.locs, site), F.softplus(_unconstrained(guide.scales, site))
    loc, scale = guide._loc_scale()
    found = {s["name"]: (m, sd) for (s, m), (_, sd) in zip(guide._unpack_latent(loc), guide._unpack_latent(scale), strict=True)}
    return found[site]


@torch.no_grad()
def move_mean(guide: AutoGuide, site: str, mean: Tensor) -> None:
    """Sets the mean of a site whose support is all real numbers, in the site's shape."""
    of_site(guide, site)[0].copy_(mean)


def _unconstrained(tree: Any, site: str) -> Tensor:
    """The parameter that Pyro keeps for a site; read through Pyro's own attributes it costs ten times as much, and a step reads dozens."""
    *path, leaf = site.split(".")
    for step in path:
        tree = tree._modules[step]
    found: Tensor = tree._parameters[f"{leaf}_unconstrained"]
    return found


def _factorised(mean: Tensor, sd: Tensor, prior_mean: Tensor, prior_sd: Tensor) -> Tensor:
    """Sum of KL(N(mean, sd^2) || N(prior_mean, prior_sd^2)), nats, written out: building four distributions would cost more than their divergence."""
    return gaussian_kl(2 * (sd / prior_sd).log(), (mean - prior_mean) / prior_sd)


def _half_cauchy(guide: AutoNormal, name: str, mixing: str) -> Tensor:
    """KL of log-normal x and a from InverseGamma(1/2, 1/a) and InverseGamma(1/2, 1), summed, nats.

    E log x = m, E 1/x = exp(-m + s^2 / 2), entropy m + log(s) + log(2 pi e) / 2; x and a are independent under the guide.

    Source: Ghosh, Yao and Doshi-Velez (2018), section 3.
    """
    (m, s), (m_a, s_a) = of_site(guide, name), of_site(guide, mixing)
    inverse, inverse_a = (0.5 * s.square() - m).exp(), (0.5 * s_a.square() - m_a).exp()
    expected = -0.5 * m_a - 1.5 * m - inverse * inverse_a - 1.5 * m_a - inverse_a - 2 * math.lgamma(0.5)
    entropy = m + s.log() + m_a + s_a.log() + math.log(2 * math.pi * math.e)
    return -(expected + entropy).sum()


def _start(site: Any, last: str, scales: Mapping[str, float]) -> Tensor:
    """Where a site's posterior starts: biases at their prior mean, scales at 1, weights random and, times their scale, as small as in other heads: with
    smaller ones no gradient reaches what lies before, with larger ones the first steps are noise."""
    prior = site["fn"].base_dist
    if site["name"].rpartition(".")[2] not in ("weight", "bias"):
        return torch.ones(prior.batch_shape)
    mean: Tensor = prior.mean
    if site["name"].endswith("bias"):
        return mean.clone()
    gain = OUTPUT_GAIN if site["name"] == last else 1.0
    return torch.randn_like(mean) * gain / (math.sqrt(mean.shape[-1]) * scales[site["name"]])

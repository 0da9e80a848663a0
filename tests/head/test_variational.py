from __future__ import annotations

import copy
import math
from operator import attrgetter
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from torch.distributions import HalfCauchy, InverseGamma, LowRankMultivariateNormal, MultivariateNormal, Normal, kl_divergence

from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import generator
from equipoise.head.noise import DrawNoise
from equipoise.head.pyro_guides import sampled
from equipoise.head.variational import GUIDES, VariationalHead
from head.linear_gaussian import D, exact, train


def variational(
    d_in: int = 4,
    n_params: int = 2,
    layers: int = 0,
    *,
    init_scale: float = 0.05,
    prior_scale: float = 0.8,
    guide: str = "diagonal",
    relevant: float = 0.3,
    whiten: bool = False,
) -> VariationalHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VariationalHead(
            d_in=d_in,
            n_params=n_params,
            bias=torch.linspace(-1, 1, n_params),
            layers=layers,
            guide=guide,
            rank=2,
            relevant=relevant,
            whiten=whiten,
            prior_scale=prior_scale,
            bias_scale=3.0,
            init_scale=init_scale,
            train_draws=4,
        )


def scattered(head: VariationalHead) -> VariationalHead:
    """The same head with a posterior away from where it starts, another scale for every weight."""
    with torch.no_grad():
        for i, parameter in enumerate(head.parameters()):
            parameter.add_(0.7 * torch.randn(parameter.shape, generator=generator(i)))
    return head


def test_kl_equals_torch_distributions_site_by_site() -> None:
    head = scattered(variational(layers=1))
    expected = torch.zeros(())
    for layer, last in (("layers.0", False), ("layers.1", True)):
        weight, bias = head.posterior(f"{layer}.weight"), head.posterior(f"{layer}.bias")
        expected = expected + kl_divergence(Normal(*weight), Normal(0.0, 0.8 / math.sqrt(4))).sum()
        expected = expected + kl_divergence(Normal(*bias), Normal(torch.linspace(-1, 1, 2) if last else torch.zeros(4), 3.0)).sum()
    assert torch.allclose(head.kl(), expected, rtol=1e-6)


def test_kl_equals_its_monte_carlo_estimate() -> None:
    head = scattered(variational())
    ratios = torch.zeros(20_000)
    for i, (name, prior_mean, prior_sd) in enumerate(head.model.priors()):
        q = Normal(*(x.detach() for x in head.posterior(name)))
        w = q.mean + q.stddev * torch.randn(20_000, *q.mean.shape, generator=generator(i))
        ratios += (q.log_prob(w) - Normal(prior_mean, prior_sd).log_prob(w)).flatten(1).sum(1)
    error = float(ratios.std() / math.sqrt(len(ratios)))
    assert abs(float(ratios.mean() - head.kl().detach())) < 4 * error


def test_kl_is_zero_where_the_posterior_is_the_prior() -> None:
    head = variational()
    for name, prior_mean, prior_sd in head.model.priors():
        loc, scale = head.guide.locs, head.guide.scales
        *path, leaf = name.split(".")
        for step in path:
            loc, scale = getattr(loc, step), getattr(scale, step)
        setattr(loc, leaf, prior_mean.clone())
        setattr(scale, leaf, prior_sd.clone())
    assert float(head.kl().detach().abs()) < 1e-5


@pytest.mark.reference
def test_the_evidence_lower_bound_is_that_of_pyro() -> None:
    head = scattered(variational(n_params=1))
    z, y = torch.randn(30, 4, generator=generator(0)), torch.randn(30, generator=generator(1))

    def model() -> None:
        mean = head.model(z)[..., 0]
        pyro.sample("y", pyro.distributions.Normal(mean, 1.0).to_event(1), obs=y)

    pyro.set_rng_seed(0)
    theirs = torch.tensor([TraceMeanField_ELBO().loss(model, lambda: head.guide(z)) for _ in range(600)])
    nll = -Normal(head(z, n_draws=600, seed=0).value[..., 0], 1.0).log_prob(y).sum(1)
    ours = (nll + head.kl()).detach()
    error = math.sqrt(float(ours.var() + theirs.var()) / 600)
    assert abs(float(ours.mean() - theirs.mean())) < 4 * error


def test_draws_are_the_guides_normals_with_the_counted_noise() -> None:
    head = scattered(variational())
    z = torch.randn(5, 4, generator=generator(0))
    value = head(z, n_draws=3, seed=11).value
    for s in range(3):
        stream = generator(stream_seed("draw", 11, s))
        weight, bias = (loc + scale * torch.randn(loc.shape, generator=stream) for loc, scale in map(head.posterior, ("layers.0.weight", "layers.0.bias")))
        assert torch.allclose(value[s], z @ weight.T + bias, atol=1e-5)


def test_many_draws_have_the_guides_mean_and_spread() -> None:
    head = scattered(variational())
    loc, scale = (x.detach() for x in head.posterior("layers.0.weight"))
    rows = torch.cat([torch.eye(4), torch.zeros(1, 4)])
    value = head(rows, n_draws=6000, seed=0).value.detach()
    weight = (value[:, :4] - value[:, 4:]).mT
    assert torch.allclose(weight.mean(0), loc, atol=float(4 * scale.max() / math.sqrt(6000)))
    assert torch.allclose(weight.std(0), scale, rtol=0.06)
    assert Normal(0, 1).cdf((weight - loc) / scale).histc(10, 0, 1).div(weight.numel()).sub(0.1).abs().max() < 0.01


def test_the_posterior_of_a_linear_gaussian_model_is_the_analytic_mean_field_one() -> None:
    head, known = variational(D, 1), exact()
    train(head, n_draws=16, steps=600)
    found, spread = (torch.cat([w[0], b]).detach().double() for w, b in zip(*map(head.posterior, ("layers.0.weight", "layers.0.bias")), strict=True))
    sd = known.precision.diagonal().rsqrt()
    assert torch.allclose(found, known.mean, atol=float(0.1 * sd.min()))
    assert torch.allclose(spread, sd, rtol=0.03)
    # A factorised posterior is narrower than the marginal wherever weights are correlated; the test must be able to see that.
    assert (known.precision.inverse().diagonal().sqrt() / sd).max() > 1.1


def test_nothing_is_kept_in_the_global_parameter_store() -> None:
    head = variational(layers=1)
    (head(torch.randn(3, 4), n_draws=2, seed=0).value.sum() + head.kl()).backward()
    assert pyro.settings.get("module_local_params")
    assert not list(pyro.get_param_store().keys())


def test_a_deep_copy_is_independent_and_equal() -> None:
    head, z = variational(layers=1), torch.randn(3, 4)
    twin = copy.deepcopy(head)
    before = twin(z, n_draws=2, seed=0).value
    assert torch.equal(before, head(z, n_draws=2, seed=0).value)
    scattered(head)
    assert torch.equal(before, twin(z, n_draws=2, seed=0).value)


def test_the_posterior_starts_with_the_declared_scale() -> None:
    head = variational(layers=1, init_scale=0.02)
    for name, _, _ in head.model.priors():
        mean, sd = head.posterior(name)
        assert torch.allclose(sd, torch.tensor(0.02), rtol=1e-4)
        assert torch.equal(mean, attrgetter(name)(head.guide.locs))
        assert torch.equal(sd, attrgetter(name)(head.guide.scales))


def joint_posterior(head: VariationalHead) -> MultivariateNormal | LowRankMultivariateNormal:
    """Pyro's own distribution of all weights."""
    own = head.guide.get_posterior()
    made: MultivariateNormal | LowRankMultivariateNormal = (
        MultivariateNormal(own.loc, scale_tril=own.scale_tril)
        if isinstance(own, MultivariateNormal)
        else LowRankMultivariateNormal(own.loc, own.cov_factor, own.cov_diag)
    )
    return made


@pytest.mark.parametrize("guide", GUIDES)
def test_outputs_are_those_of_the_pyro_model_conditioned_on_the_same_values(guide: str) -> None:
    head, z = scattered(variational(layers=1, guide=guide)), torch.randn(5, 4, generator=generator(0))
    values = sampled(head.guide, DrawNoise(), seed=3, n_draws=6)
    with pyro.plate("draws", 6, dim=-1):
        theirs = poutine.condition(head.model, data=values)(z)
    assert torch.allclose(head(z, n_draws=6, seed=3).value, theirs, atol=1e-6)


@pytest.mark.parametrize("guide", ["low_rank", "full"])
def test_kl_of_joint_guides_equals_torch_distributions(guide: str) -> None:
    head = scattered(variational(layers=1, guide=guide)).double()
    mean, sd = (torch.cat([x[i].flatten() for x in head.model.priors()]) for i in (1, 2))
    own = joint_posterior(head)
    expected = kl_divergence(MultivariateNormal(own.loc, own.covariance_matrix), MultivariateNormal(mean, torch.diag(sd**2)))
    assert torch.allclose(head.kl(), expected, rtol=1e-6)


@pytest.mark.parametrize("guide", ["low_rank", "full"])
def test_many_draws_of_joint_guides_have_pyros_mean_and_covariance(guide: str) -> None:
    head = scattered(variational(guide=guide))
    own = joint_posterior(head)
    rows = torch.cat([torch.eye(4), torch.zeros(1, 4)])
    value = head(rows, n_draws=8000, seed=0).value.detach()
    weight = torch.cat([(value[:, :4] - value[:, 4:]).mT.flatten(1), value[:, 4]], 1)
    covariance, mean = own.covariance_matrix.detach(), own.loc.detach()
    sd = covariance.diagonal().sqrt()
    assert torch.allclose(weight.mean(0), mean, atol=float(5 * sd.max() / math.sqrt(8000)))
    assert torch.allclose(torch.cov(weight.T) / torch.outer(sd, sd), covariance / torch.outer(sd, sd), atol=0.06)
    marginal = head.posterior("layers.0.weight")[1].detach().flatten()
    assert torch.allclose(marginal, sd[: len(marginal)], rtol=1e-4)


def test_kl_of_the_horseshoe_equals_its_monte_carlo_estimate() -> None:
    head = scattered(variational(layers=1, guide="horseshoe"))
    ratios = torch.zeros(20_000)
    drawn: dict[str, torch.Tensor] = {}
    for i, name in enumerate(site for site, _ in head.guide.prototype_trace.iter_stochastic_nodes()):
        loc, scale = (x.detach() for x in head.posterior(name))
        unconstrained = loc + scale * torch.randn(20_000, *loc.shape, generator=generator(i))
        gaussian = name.endswith(("weight", "bias"))
        drawn[name] = unconstrained if gaussian else unconstrained.exp()
        own = Normal(loc, scale).log_prob(unconstrained) - (0 if gaussian else unconstrained)
        ratios += own.flatten(1).sum(1)
    for name, mean, sd in head.model.priors():
        ratios -= Normal(mean, sd).log_prob(drawn[name]).flatten(1).sum(1)
    for name, mixing in head.model.half_cauchy():
        half = torch.tensor(0.5)
        ratios -= (InverseGamma(half, 1 / drawn[mixing]).log_prob(drawn[name]) + InverseGamma(half, torch.tensor(1.0)).log_prob(drawn[mixing])).sum(1)
    error = float(ratios.std() / math.sqrt(len(ratios)))
    assert abs(float(ratios.mean() - head.kl().detach())) < 4 * error


def test_the_square_root_of_the_mixture_is_half_cauchy() -> None:
    pyro.set_rng_seed(0)
    mixing = InverseGamma(torch.tensor(0.5), torch.tensor(1.0)).sample((40_000,))
    x = InverseGamma(torch.tensor(0.5), 1 / mixing).sample().sqrt()
    quantiles = torch.tensor([0.1, 0.5, 0.9])
    assert torch.allclose(x.quantile(quantiles), HalfCauchy(1.0).icdf(quantiles), rtol=0.05)


@pytest.mark.slow
def test_the_horseshoe_finds_the_inputs_that_matter() -> None:
    z = torch.randn(80, 20, generator=generator(1))
    y = 2 * z[:, 0] - 1.5 * z[:, 1] + 0.5 * torch.randn(80, generator=generator(2))
    error = {}
    for guide in ("diagonal", "horseshoe"):
        head = variational(20, 1, guide=guide, prior_scale=3.0, relevant=0.1)
        optimizer = torch.optim.Adam(head.parameters(), lr=0.03)
        for step in range(1200):
            optimizer.zero_grad()
            mean = head(z, n_draws=4, seed=step).value[..., 0]
            (((y - mean) ** 2).sum(1).mean() / (2 * 0.5**2) + head.kl()).div(80).backward()
            optimizer.step()
        rows = torch.cat([torch.eye(20), torch.zeros(1, 20)])
        value = head(rows, n_draws=400, seed=0).value[..., 0].detach()
        weight = (value[:, :20] - value[:, 20:]).mean(0)
        assert abs(float(weight[0]) - 2) < 0.25
        error[guide] = float(weight[2:].square().mean().sqrt())
    assert error["horseshoe"] < 0.6 * error["diagonal"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"guide": "flat"}, "diagonal, low_rank, full, horseshoe"),
        ({"guide": "full", "d_in": 64, "layers": 1}, r"at most 3000 weights.*4290"),
        ({"guide": "horseshoe", "whiten": True}, "set head.whiten=false"),
    ],
)
def test_unknown_and_too_large_guides_are_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        variational(**words)

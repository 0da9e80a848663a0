from __future__ import annotations

import math

import torch
from torch.distributions import MultivariateNormal, kl_divergence

from equipoise.contract.counter import stream_seed
from equipoise.contract.tensors import generator
from equipoise.head.variational_last_layer import VariationalLastLayerHead
from head.linear_gaussian import D, exact, train


def last_layer(d_in: int = 4, n_params: int = 2, layers: int = 0) -> VariationalLastLayerHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bias = torch.linspace(-1, 1, n_params)
        return VariationalLastLayerHead(
            d_in=d_in, n_params=n_params, bias=bias, layers=layers, whiten=False, prior_scale=0.8, bias_scale=3.0, init_scale=0.1, train_draws=1
        )


def scattered(head: VariationalLastLayerHead) -> VariationalLastLayerHead:
    """The same head with a posterior away from where it starts; in evaluation mode."""
    with torch.no_grad():
        for i, parameter in enumerate(head.parameters()):
            parameter.add_(0.6 * torch.randn(parameter.shape, generator=generator(i)))
    return head.eval()


def prior(n_params: int = 2, d: int = 4) -> list[MultivariateNormal]:
    sd = torch.tensor([0.8 / math.sqrt(d)] * d + [3.0]).double()
    return [MultivariateNormal(torch.tensor([0.0] * d + [float(b)]).double(), torch.diag(sd**2)) for b in torch.linspace(-1, 1, n_params)]


def test_kl_equals_torch_distributions() -> None:
    head = scattered(last_layer(layers=1)).double()
    loc, covariance = head.posterior()
    expected = sum(kl_divergence(MultivariateNormal(loc[k], covariance[k]), prior()[k]) for k in range(2))
    assert torch.allclose(head.kl(), torch.as_tensor(expected), rtol=1e-5)


def test_kl_is_zero_at_the_prior() -> None:
    head = last_layer()
    with torch.no_grad():
        head.loc.copy_(head.prior_loc)
        head.log_diagonal.zero_()
    assert float(head.kl().detach()) == 0


def test_a_draw_is_one_sample_of_the_posterior() -> None:
    head, z = scattered(last_layer()).double(), torch.randn(5, 4, generator=generator(0)).double()
    loc, covariance = head.posterior()
    value = head(z, n_draws=3, seed=11).value
    x = torch.cat([z, torch.ones(5, 1).double()], 1)
    for s in range(3):
        noise = torch.randn(10, generator=generator(stream_seed("draw", 11, s))).double().view(2, 5, 1)
        weight = loc + (torch.linalg.cholesky(covariance) @ noise)[..., 0]
        assert torch.allclose(value[s], x @ weight.T, atol=1e-4)


def test_in_training_a_rows_noise_has_the_moments_that_weight_samples_give_it() -> None:
    head, z = scattered(last_layer()), torch.randn(6, 4, generator=generator(5))
    loc, covariance = (x.detach() for x in head.posterior())
    x = torch.cat([z, torch.ones(6, 1)], 1)
    spread = torch.einsum("bf,kfg,bg->bk", x, covariance, x).sqrt()
    own = head.train()(z, n_draws=8000, seed=0).value.detach()
    assert torch.allclose(own.mean(0), x @ loc.T, atol=float(5 * spread.max() / math.sqrt(8000)))
    assert torch.allclose(own.std(0), spread, rtol=0.05)
    assert float((torch.corrcoef(own[..., 0].T) - torch.eye(6)).abs().max()) < 0.06


def test_for_a_linear_gaussian_model_it_is_the_analytic_posterior_with_its_covariances() -> None:
    head, known = last_layer(D, 1), exact()
    train(head, n_draws=4, steps=400)
    loc, covariance = (w[0].detach().double() for w in head.posterior())
    expected = known.precision.inverse()
    sd = expected.diagonal().sqrt()
    assert torch.allclose(loc, known.mean, atol=float(0.1 * sd.min()))
    assert torch.allclose(covariance / torch.outer(sd, sd), expected / torch.outer(sd, sd), atol=0.05)
    # A factorised posterior could not have these correlations.
    assert (expected / torch.outer(sd, sd) - torch.eye(D + 1)).abs().max() > 0.3

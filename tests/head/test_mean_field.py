from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import generator
from equipoise.head.mean_field import MeanFieldHead
from head.linear_gaussian import D, exact, train


def mean_field(d_in: int = 4, n_params: int = 2, layers: int = 0, bayesian: str = "all", init_scale: float = 0.1) -> MeanFieldHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MeanFieldHead(
            d_in=d_in,
            n_params=n_params,
            bias=torch.linspace(-1, 1, n_params),
            layers=layers,
            bayesian=bayesian,
            whiten=False,
            prior_scale=0.8,
            bias_scale=3.0,
            init_scale=init_scale,
            train_draws=1,
        )


def scattered(head: MeanFieldHead) -> MeanFieldHead:
    """The same head with a posterior away from where it starts, another scale for every weight; in evaluation mode."""
    with torch.no_grad():
        for i, parameter in enumerate(head.parameters()):
            parameter.add_(0.7 * torch.randn(parameter.shape, generator=generator(i)))
    return head.eval()


def test_kl_equals_torch_distributions() -> None:
    head = scattered(mean_field(layers=1))
    expected = torch.zeros(())
    for layer, start in enumerate((torch.zeros(4), torch.linspace(-1, 1, 2))):
        loc, scale = head.posterior(layer)
        expected = expected + kl_divergence(Normal(loc[:, :-1], scale[:, :-1]), Normal(0.0, 0.8 / math.sqrt(4))).sum()
        expected = expected + kl_divergence(Normal(loc[:, -1], scale[:, -1]), Normal(start, 3.0)).sum()
    assert torch.allclose(head.kl(), expected, rtol=1e-6)


def test_with_a_posterior_of_the_last_layer_alone_the_hidden_weights_have_a_penalty() -> None:
    head = scattered(mean_field(layers=2, bayesian="last"))
    (loc, scale), weights = head.posterior(0), [p for name, p in head.named_parameters() if name.startswith("hidden")]
    assert loc.shape == (2, 5)
    expected = (
        kl_divergence(Normal(loc[:, :-1], scale[:, :-1]), Normal(0.0, 0.4)).sum()
        + kl_divergence(Normal(loc[:, -1], scale[:, -1]), Normal(torch.linspace(-1, 1, 2), 3.0)).sum()
    )
    assert torch.allclose(head.kl(), expected, rtol=1e-6)
    assert len(weights) == 4
    assert torch.allclose(head.penalty(), sum((w**2).sum() / (2 * (0.16 if w.ndim == 2 else 9.0)) for w in weights), rtol=1e-6)


@pytest.mark.parametrize("bayesian", ["all", "last"])
def test_a_draw_is_the_network_with_the_counted_weights(bayesian: str) -> None:
    head, z = scattered(mean_field(layers=1, bayesian=bayesian)), torch.randn(5, 4, generator=generator(0))
    value = head(z, n_draws=3, seed=11).value
    for s in range(3):
        stream = generator(stream_seed("draw", 11, s))
        layers = [head.posterior(i) for i in range(2 if bayesian == "all" else 1)]
        flat = torch.randn(sum(loc.numel() for loc, _ in layers), generator=stream).split([loc.numel() for loc, _ in layers])
        weights = [loc + scale * eps.view_as(loc) for (loc, scale), eps in zip(layers, flat, strict=True)]
        h = F.gelu(F.linear(z, weights[0][:, :-1], weights[0][:, -1])) if bayesian == "all" else F.gelu(head.hidden[0](z))
        assert torch.allclose(value[s], F.linear(h, weights[-1][:, :-1], weights[-1][:, -1]), atol=1e-5)


def test_in_training_a_rows_noise_has_the_moments_that_weight_samples_give_it() -> None:
    head, z = scattered(mean_field()), torch.randn(6, 4, generator=generator(5))
    shared = head(z, n_draws=8_000, seed=0).value.detach()
    own = head.train()(z, n_draws=8_000, seed=0).value.detach()
    spread = shared.std(0)
    assert torch.allclose(own.mean(0), shared.mean(0), atol=float(5 * spread.max() / math.sqrt(8_000)))
    assert torch.allclose(own.std(0), spread, rtol=0.05)

    def largest_correlation(value: torch.Tensor) -> float:
        return float((torch.corrcoef(value[..., 0].T) - torch.eye(6)).abs().max())

    # Rows are independent in training and share their weights at prediction.
    assert largest_correlation(own) < 0.06
    assert largest_correlation(shared) > 0.5


def test_the_posterior_of_a_linear_gaussian_model_is_the_analytic_mean_field_one() -> None:
    head, known = mean_field(D, 1), exact()
    train(head, n_draws=2, steps=250)
    found, spread = (w[0].detach().double() for w in head.posterior(0))
    sd = known.precision.diagonal().rsqrt()
    assert torch.allclose(found, known.mean, atol=float(0.1 * sd.min()))
    assert torch.allclose(spread, sd, rtol=0.03)


def test_an_unknown_extent_of_the_posterior_is_refused() -> None:
    with pytest.raises(UserError, match=r"head\.bayesian.*'some'"):
        mean_field(bayesian="some")

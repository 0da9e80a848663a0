from __future__ import annotations

import math

import torch

from equipoise.contract.tensors import generator
from equipoise.head import Head
from equipoise.head.point import PointHead


def point(d_in: int, bias: list[float], layers: int = 0, prior_scale: float = 0.7, bias_scale: float = 2.0) -> PointHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PointHead(d_in=d_in, n_params=len(bias), bias=torch.tensor(bias), layers=layers, prior_scale=prior_scale, bias_scale=bias_scale)


def log_prior(head: PointHead) -> torch.Tensor:
    """The prior's log density, by torch.distributions."""
    normal = torch.distributions.Normal
    total = torch.zeros(())
    for name, parameter in head.named_parameters():
        if name.endswith("weight"):
            total = total + normal(0.0, head.prior_scale / math.sqrt(parameter.shape[1])).log_prob(parameter).sum()
        else:
            total = total + normal(head.start if name == "out.bias" else torch.zeros_like(parameter), head.bias_scale).log_prob(parameter).sum()
    return total


def test_the_penalty_is_the_negative_log_prior_up_to_a_constant() -> None:
    a, b = point(5, [0.3, -1.0], layers=2), point(5, [0.3, -1.0], layers=2)
    with torch.no_grad():
        for i, parameter in enumerate(b.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=generator(i)))
    assert torch.allclose(a.penalty() - b.penalty(), log_prior(b) - log_prior(a), rtol=1e-5)


def test_a_trained_linear_head_is_the_ridge_estimate() -> None:
    n, d, sigma = 60, 4, 0.5
    z = torch.randn(n, d, generator=generator(1), dtype=torch.float64)
    y = z @ torch.tensor([1.0, -0.5, 0.0, 2.0], dtype=torch.float64) + 3 + sigma * torch.randn(n, generator=generator(2), dtype=torch.float64)
    head = point(d, [1.0]).double()
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        mean = head(z, n_draws=1, seed=0).value[0, :, 0]
        loss = ((y - mean) ** 2).sum() / (2 * sigma**2) + head.penalty()
        loss.backward()
        return loss

    optimizer.step(closure)
    x = torch.cat([z, torch.ones(n, 1, dtype=torch.float64)], 1)
    prior = torch.diag(torch.tensor([d / 0.7**2] * d + [1 / 2.0**2], dtype=torch.float64))
    shift = torch.tensor([0.0] * d + [1 / 2.0**2], dtype=torch.float64)  # the bias is shrunk to its start, 1
    expected = torch.linalg.solve(x.T @ x / sigma**2 + prior, x.T @ y / sigma**2 + shift)
    found = torch.cat([head.out.weight[0], head.out.bias]).detach()
    assert torch.allclose(found, expected, atol=1e-6)


def test_hidden_layers_make_the_head_bend() -> None:
    z = torch.linspace(-3, 3, 7)[:, None].repeat(1, 4)
    straight, bent = point(4, [0.0]), point(4, [0.0], layers=1)

    def curvature(head: Head) -> float:
        return float(head(z, n_draws=1, seed=0).value[0, :, 0].detach().diff(n=2).abs().max())

    assert curvature(straight) < 1e-5
    assert curvature(bent) > 1e-3

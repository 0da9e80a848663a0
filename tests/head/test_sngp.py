from __future__ import annotations

import torch
from torch import Tensor

from equipoise.contract.tensors import generator
from equipoise.head.sngp import SngpHead


def sngp(d_in: int = 3, *, n_features: int = 4000, length_scale: float = 0.8, prior_scale: float = 1.5, structure: str = "kron") -> SngpHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SngpHead(
            d_in=d_in,
            n_params=1,
            bias=torch.zeros(1),
            n_features=n_features,
            length_scale=length_scale,
            structure=structure,
            whiten=False,
            prior="fixed",
            prior_scale=prior_scale,
            bias_scale=2.0,
        ).eval()


def zero(params: Tensor) -> Tensor:
    return params.sum(1) * 0


def test_the_features_have_the_gaussian_kernel() -> None:
    head, z = sngp(), torch.randn(12, 3, generator=generator(1))
    phi = head.features(z)
    assert torch.allclose(phi @ phi.T, torch.exp(-torch.cdist(z, z).square() / (2 * 0.8**2 * 3)), atol=0.06)


def test_the_penalty_is_the_negative_log_prior_up_to_a_constant() -> None:
    head = sngp(n_features=20)
    with torch.no_grad():
        before = head.penalty()
        w, b = head.out.weight.clone(), head.out.bias.clone()
        head.out.weight.add_(0.3)
        head.out.bias.add_(1.0)
        weight, bias = torch.distributions.Normal(0.0, 1.5), torch.distributions.Normal(0.0, 2.0)
        expected = weight.log_prob(w).sum() - weight.log_prob(head.out.weight).sum() + bias.log_prob(b).sum() - bias.log_prob(head.out.bias).sum()
        assert torch.allclose(head.penalty() - before, expected, rtol=1e-4)


def test_its_spread_is_that_of_the_gaussian_process_and_reaches_the_prior_far_away() -> None:
    n, sigma = 40, 0.5
    head, z = sngp(n_features=1500), torch.randn(n, 3, generator=generator(1))
    head.fit(z, lambda p: torch.full((n, 1, 1), 1 / sigma**2), n, zero)
    new = torch.cat([z[:5], torch.randn(5, 3, generator=generator(2)), 30 + torch.zeros(1, 3)])
    spread = head(new, n_draws=3000, seed=0).value[..., 0].detach().var(0)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return 1.5**2 * torch.exp(-torch.cdist(a, b).square() / (2 * 0.8**2 * 3)) + 2.0**2

    gram = kernel(z, z) + sigma**2 * torch.eye(n)
    exact = (kernel(new, new) - kernel(new, z) @ torch.linalg.solve(gram, kernel(z, new))).diagonal()
    assert torch.allclose(spread, exact, rtol=0.2, atol=0.02)
    assert spread[-1] > 4 * spread[:5].max()
    assert float(exact[-1]) > 1.5**2

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.distributions import MultivariateNormal

from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import generator
from equipoise.head.laplace import LaplaceHead
from equipoise.head.last_layer import LastLayerPosterior
from equipoise.task.multiclass import MulticlassTask

PRIOR_SCALE, BIAS_SCALE = 0.7, 2.0


def laplace(d_in: int, n_params: int = 1, *, layers: int = 0, structure: str = "full", prior: str = "fixed", whiten: bool = False) -> LaplaceHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LaplaceHead(
            d_in=d_in,
            n_params=n_params,
            bias=torch.zeros(n_params),
            layers=layers,
            structure=structure,
            whiten=whiten,
            prior=prior,
            prior_scale=PRIOR_SCALE,
            bias_scale=BIAS_SCALE,
        ).eval()


def set_weights(head: LaplaceHead, weight: Tensor) -> None:
    with torch.no_grad():
        head.out.weight.copy_(weight[:, :-1])
        head.out.bias.copy_(weight[:, -1])


def zero(params: Tensor) -> Tensor:
    return params.sum(1) * 0


def with_ones(z: Tensor) -> Tensor:
    return torch.cat([z, torch.ones(len(z), 1)], 1).double()


def prior_precision(d: int) -> Tensor:
    return torch.tensor([d / PRIOR_SCALE**2] * d + [1 / BIAS_SCALE**2]).double()


@pytest.mark.parametrize("structure", ["full", "kron"])
def test_for_a_gaussian_outcome_it_is_the_analytic_posterior(structure: str) -> None:
    n, d, sigma = 60, 4, 0.5
    z = torch.randn(n, d, generator=generator(1))
    y = z @ torch.tensor([1.0, -0.5, 0.0, 2.0]) + 0.3 + sigma * torch.randn(n, generator=generator(2))
    x = with_ones(z)
    precision = x.T @ x / sigma**2 + torch.diag(prior_precision(d))
    mean = torch.linalg.solve(precision, x.T @ y.double() / sigma**2)
    head = laplace(d, structure=structure)
    set_weights(head, mean[None].float())
    head.fit(z, lambda p: torch.full((n, 1, 1), 1 / sigma**2), n, zero)
    assert torch.allclose(head.posterior.covariance().double(), precision.inverse(), rtol=1e-4, atol=1e-7)
    # Draws are that posterior's: weights read off from basis rows.
    rows = torch.cat([torch.eye(d), torch.zeros(1, d)])
    value = head(rows, n_draws=8000, seed=0).value[..., 0].double().detach()
    weight = torch.cat([value[:, :d] - value[:, d:], value[:, d:]], 1)
    assert torch.allclose(weight.mean(0), mean, atol=float(4 * precision.inverse().diagonal().max().sqrt() / math.sqrt(8000)))
    assert torch.allclose(torch.cov(weight.T), precision.inverse(), atol=0.06 * float(precision.inverse().diagonal().max()))


def test_for_a_binary_outcome_it_is_the_inverse_hessian_at_the_mode() -> None:
    n, d = 80, 3
    z = torch.randn(n, d, generator=generator(1))
    x, outcome = with_ones(z).numpy(), (torch.rand(n, generator=generator(2)) < torch.sigmoid(z[:, 0] - 0.5)).double().numpy()
    precision = prior_precision(d).numpy()

    def loss(w: np.ndarray) -> float:
        f = x @ w
        return float(np.logaddexp(0, f).sum() - outcome @ f + 0.5 * (precision * w**2).sum())

    mode = torch.tensor(minimize(loss, np.zeros(d + 1), method="BFGS", options={"gtol": 1e-8}).x)
    by_autograd = torch.autograd.functional.hessian(
        lambda w: (
            (torch.nn.functional.softplus(torch.tensor(x) @ w) - torch.tensor(outcome * 1.0) * (torch.tensor(x) @ w)).sum()
            + 0.5 * (torch.tensor(precision) * w**2).sum()
        ),
        mode,
    )
    head = laplace(d)
    set_weights(head, mode[None].float())

    def hessian(params: Tensor) -> Tensor:
        p = torch.sigmoid(params)
        return (p * (1 - p))[..., None]

    head.fit(z, hessian, n, zero)
    assert torch.allclose(head.posterior.covariance().double(), by_autograd.inverse(), rtol=1e-4, atol=1e-6)
    value = head(z, n_draws=6000, seed=0).value[..., 0].detach()
    assert torch.allclose(value.mean(0), (torch.tensor(x) @ mode).float(), atol=float(5 * value.std(0).max() / math.sqrt(6000)))


def test_for_classes_the_full_form_is_the_inverse_hessian_and_the_kronecker_form_is_exact_where_curvature_is_shared() -> None:
    n, d, k = 50, 2, 3
    z, weight = torch.randn(n, d, generator=generator(3)), torch.randn(3, 3, generator=generator(4))
    head = laplace(d, k)
    set_weights(head, weight)
    task = MulticlassTask(target="y")
    outcome = torch.randint(0, k, (n,), generator=generator(5))

    def total(w: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(with_ones(z) @ w.view(k, d + 1).T, outcome, reduction="sum")

    expected = torch.autograd.functional.hessian(total, weight.double().flatten()) + torch.diag(prior_precision(d).repeat(k))
    head.fit(z, task.hessian, n, zero)
    assert torch.allclose(head.posterior.covariance().double(), expected.inverse(), rtol=1e-3, atol=1e-5)

    shared = torch.tensor([[2.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 0.7]]).expand(n, k, k)
    both = [laplace(d, k, structure=structure) for structure in ("full", "kron")]
    for own in both:
        own.fit(z, lambda p: shared, n, zero)
    assert torch.allclose(both[0].posterior.covariance(), both[1].posterior.covariance(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("structure", ["full", "kron"])
def test_the_prior_with_the_largest_evidence_is_found(structure: str) -> None:
    n, d, sigma = 40, 5, 0.6
    z, w = torch.randn(n, d, generator=generator(1)), 0.2 * torch.randn(d, generator=generator(2))
    y = (z @ w + sigma * torch.randn(n, generator=generator(3))).double()
    x = with_ones(z)

    def marginal_likelihood(log_factor: float) -> float:
        """Of the data, by the normal density of y itself; the bias has mean 0."""
        scale = prior_precision(d)
        scale[:-1] *= math.exp(log_factor)
        return float(MultivariateNormal(torch.zeros(n).double(), sigma**2 * torch.eye(n).double() + x @ torch.diag(1 / scale) @ x.T).log_prob(y))

    # At the optimum the weights are the posterior's mean under the prior that is found: iterate as training and fitting would.
    log_factor, found = 0.0, laplace(d, structure=structure, prior="evidence")
    for _ in range(60):
        scale = prior_precision(d)
        scale[:-1] *= math.exp(log_factor)
        mean = torch.linalg.solve(x.T @ x / sigma**2 + torch.diag(scale), x.T @ y / sigma**2)
        set_weights(found, mean[None].float())
        found.fit(z, lambda p: torch.full((n, 1, 1), 1 / sigma**2), n, zero)
        log_factor = float(found.posterior.log_factor)
    grid = torch.linspace(-4, 4, 401)
    best = float(grid[torch.tensor([marginal_likelihood(float(g)) for g in grid]).argmax()])
    assert abs(log_factor - best) < 0.05
    assert abs(best) < 3.9


def test_a_draw_is_the_last_layer_with_the_counted_weights() -> None:
    head, z = laplace(4, 2, layers=1), torch.randn(30, 4, generator=generator(0))
    head.fit(z, lambda p: torch.eye(2).expand(30, 2, 2), 30, zero)
    value = head(z, n_draws=3, seed=11).value
    h = torch.cat([torch.nn.functional.gelu(head.hidden[0](z)), torch.ones(30, 1)], 1)
    mean = torch.cat([head.out.weight, head.out.bias[:, None]], 1)
    for s in range(3):
        noise = torch.randn(10, generator=generator(stream_seed("draw", 11, s)))
        weight = mean + (head.posterior.root[0] @ noise).view(2, 5)
        assert torch.allclose(value[s], h @ weight.T, atol=1e-5)


def test_a_full_covariance_that_is_too_large_is_refused_before_training() -> None:
    with pytest.raises(UserError, match=r"3000 weights.*5140: 20 outputs of 257 features.*structure=kron"):
        LastLayerPosterior(n_params=20, n_features=257, structure="full", prior="fixed")


def test_auto_is_full_as_long_as_that_is_small() -> None:
    sizes = {257: "full", 258 * 12: "kron"}
    assert {f: LastLayerPosterior(n_params=1, n_features=f, structure="auto", prior="fixed").structure for f in sizes} == sizes


@pytest.mark.parametrize(("words", "said"), [({"structure": "band"}, "auto, full or kron"), ({"prior": "none"}, "fixed or evidence")])
def test_unknown_words_are_refused(words: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        laplace(3, **words)

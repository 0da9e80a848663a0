from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Product
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import generator
from equipoise.head import Likelihood
from equipoise.head.gaussian_process import GaussianProcessHead
from equipoise.head.laplace_process import Curvature, find_mode
from equipoise.task.multiclass import MulticlassTask

N, D, SIGMA, SCALE, LENGTH = 50, 3, 0.4, 1.3, 0.8


def process(
    n_params: int = 1, *, prior: str = "fixed", start: float = 0.0, most_rows: int = 2000, mean: str = "process", whiten: bool = False
) -> GaussianProcessHead:
    return GaussianProcessHead(
        d_in=D,
        n_params=n_params,
        bias=torch.full((n_params,), start),
        most_rows=most_rows,
        mean=mean,
        whiten=whiten,
        prior=prior,
        scale=SCALE,
        length_scale=LENGTH,
        prior_scale=1.0,
        bias_scale=1.0,
    ).eval()


def theirs() -> Product:
    return ConstantKernel(SCALE**2) * RBF(LENGTH * math.sqrt(D))


def rows() -> tuple[Tensor, Tensor, Tensor]:
    z = torch.randn(N, D, generator=generator(1))
    y = torch.sin(2 * z[:, 0]) + 0.5 * z[:, 1] + SIGMA * torch.randn(N, generator=generator(2))
    return z, y, torch.cat([z[:4], torch.randn(6, D, generator=generator(3)), torch.full((1, D), 20.0)])


def gaussian_nll(y: Tensor) -> Likelihood:
    return lambda p: 0.5 * ((y - p[:, 0]) / SIGMA) ** 2 + math.log(SIGMA) + 0.5 * math.log(2 * math.pi)


def gaussian_hessian(p: Tensor) -> Tensor:
    return torch.full((len(p), 1, 1), 1 / SIGMA**2)


def test_for_a_gaussian_outcome_means_and_covariances_are_scikit_learns() -> None:
    z, y, new = rows()
    head = process(start=0.3)
    head.fit(z, gaussian_hessian, N, gaussian_nll(y))
    reference = GaussianProcessRegressor(theirs(), alpha=SIGMA**2, optimizer=None).fit(z.double().numpy(), y.double().numpy() - 0.3)
    mean, covariance = reference.predict(new.double().numpy(), return_cov=True)
    mode = find_mode(head.kernel(z, z), head.start.double(), gaussian_nll(y), gaussian_hessian)
    assert torch.allclose(0.3 + head.kernel(new, z) @ mode.alpha[:, 0], torch.tensor(mean + 0.3), atol=1e-6)
    assert mode.log_evidence == pytest.approx(reference.log_marginal_likelihood_value_, rel=1e-6)
    s = 6000
    value = head(new, n_draws=s, seed=0).value[..., 0].detach().double()
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(value.mean(0).numpy() - mean - 0.3) < 5 * sd / math.sqrt(s))
    found = torch.cov(value.T).numpy()
    # The standard error of a covariance of normal numbers.
    error = np.sqrt((np.outer(sd**2, sd**2) + covariance**2) / s)
    assert np.all(np.abs(found - covariance) < 5 * error)
    assert sd[-1] == pytest.approx(SCALE, rel=1e-6)


def test_the_posterior_covariance_is_scikit_learns_without_monte_carlo_error() -> None:
    z, y, new = rows()
    reference = GaussianProcessRegressor(theirs(), alpha=SIGMA**2, optimizer=None).fit(z.double().numpy(), y.double().numpy())
    covariance = torch.tensor(reference.predict(new.double().numpy(), return_cov=True)[1])
    head = process()
    cross = head.kernel(z, new)
    curvature = Curvature.of(head.kernel(z, z), gaussian_hessian(y[:, None]).double())
    # gram - cross^T W^(1/2) B^-1 W^(1/2) cross, with (I + W K)^-1 W = W^(1/2) B^-1 W^(1/2).
    inner = curvature.inside(cross[:, None] / SIGMA**2)[:, 0]
    assert torch.allclose(head.kernel(new, new) - cross.T @ inner, covariance, atol=1e-8)


def test_around_the_networks_mean_the_covariance_stays_scikit_learns() -> None:
    z, y, new = rows()
    head = process(mean="network", start=0.3)
    torch.nn.init.normal_(head.out.weight, generator=generator(5))
    head.fit(z, gaussian_hessian, N, gaussian_nll(y))
    reference = GaussianProcessRegressor(theirs(), alpha=SIGMA**2, optimizer=None).fit(z.double().numpy(), y.double().numpy())
    covariance = reference.predict(new.double().numpy(), return_cov=True)[1]
    s = 6000
    value = head(new, n_draws=s, seed=0).value[..., 0].detach().double()
    variance = np.diag(covariance)
    with torch.no_grad():
        assert np.all(np.abs((value.mean(0) - head.out(new)[:, 0]).numpy()) < 5 * np.sqrt(variance / s))
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / s)
    assert np.all(np.abs(torch.cov(value.T).numpy() - covariance) < 5 * error)


def test_for_a_binary_outcome_the_networks_own_curvature_is_that_of_the_covariance() -> None:
    z, y, new = rows()
    head = process(mean="network")
    torch.nn.init.constant_(head.out.weight, 1.5)

    def hessian(p: Tensor) -> Tensor:
        return (torch.sigmoid(p) * (1 - torch.sigmoid(p)))[..., None]

    head.fit(z, hessian, N, gaussian_nll(y))
    with torch.no_grad():
        w = hessian(head.out(z))[:, 0, 0].double()
    cross = head.kernel(z, new)
    dense = head.kernel(new, new) - cross.T @ torch.linalg.solve(head.kernel(z, z) + torch.diag(1 / w), cross)
    value = head(new, n_draws=6000, seed=0).value[..., 0].detach().double()
    variance = dense.diagonal()
    error = ((variance[:, None] * variance + dense.square()) / 6000).sqrt()
    assert bool(((torch.cov(value.T) - dense).abs() < 5 * error).all())


def test_whitened_the_process_does_not_depend_on_how_training_scaled_its_features() -> None:
    z, y, new = rows()
    stretched = torch.tensor([[3.0, 0.0, 0.0], [0.4, 0.05, 0.0], [0.0, 0.0, 1.0]])

    def draws(move: Tensor, *, whiten: bool) -> Tensor:
        head = process(whiten=whiten)
        head.fit(z @ move, gaussian_hessian, N, gaussian_nll(y))
        mode = find_mode(head.kernel(head.rows, head.rows), head.start.double(), gaussian_nll(y), gaussian_hessian)
        return head.kernel(head.whitening(new @ move), head.rows) @ mode.alpha

    moved = {whiten: float((draws(stretched, whiten=whiten) - draws(torch.eye(D), whiten=whiten)).abs().max()) for whiten in (True, False)}
    assert moved[True] < 0.1  # the covariance is shrunk towards equal variances
    assert moved[False] > 0.5


def test_the_kernel_with_the_largest_evidence_is_scikit_learns() -> None:
    z, y, _ = rows()
    head = process(prior="evidence")
    head.log_kernel.zero_()  # where scipy would take too small a first step
    head.fit(z, gaussian_hessian, N, gaussian_nll(y))
    reference = GaussianProcessRegressor(theirs(), alpha=SIGMA**2)
    reference.fit(z.double().numpy(), y.double().numpy())
    mode = find_mode(head.kernel(z, z), head.start.double(), gaussian_nll(y), gaussian_hessian)
    assert mode.log_evidence == pytest.approx(reference.log_marginal_likelihood_value_, abs=0.02)


def test_for_a_binary_outcome_the_evidence_and_the_mode_are_scikit_learns() -> None:
    z, y, new = rows()
    label = (y > 0).float()
    head = process()

    def nll(p: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(p[:, 0], label, reduction="none")

    def hessian(p: Tensor) -> Tensor:
        return (torch.sigmoid(p) * (1 - torch.sigmoid(p)))[..., None]

    head.fit(z, hessian, N, nll)
    mode = find_mode(head.kernel(z, z), head.start.double(), nll, hessian)
    reference = GaussianProcessClassifier(theirs(), optimizer=None).fit(z.double().numpy(), label.numpy())
    assert mode.log_evidence == pytest.approx(reference.log_marginal_likelihood_value_, abs=1e-6)
    latent = head.kernel(new, z) @ mode.alpha[:, 0]
    at_new = reference.base_estimator_
    expected = at_new.kernel_(at_new.X_train_, new.double().numpy()).T @ (at_new.y_train_ - at_new.pi_)
    assert torch.allclose(latent, torch.tensor(expected), atol=1e-5)
    value = head(new, n_draws=6000, seed=0).value[..., 0].detach().double()
    assert torch.allclose(value.mean(0), latent, atol=float(5 * value.std(0).max() / math.sqrt(6000)))


def test_a_start_that_is_far_off_is_not_taken() -> None:
    """As a mode under one kernel can be under another of twice its scale and length: from there 100 steps were not enough once."""
    z, y, _ = rows()
    label, steps = (y > 0).float(), {"far": 0, "zero": 0}
    far = 500 * torch.randn(N, 1, generator=generator(4), dtype=torch.float64)

    def nll(p: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(p[:, 0], label, reduction="none")

    for name, alpha in (("far", far), ("zero", None)):

        def hessian(p: Tensor, name: str = name) -> Tensor:
            steps[name] += 1
            return (torch.sigmoid(p) * (1 - torch.sigmoid(p)))[..., None]

        find_mode(process().kernel(z, z), torch.zeros(1).double(), nll, hessian, alpha=alpha)
    assert steps["far"] == steps["zero"]


def test_joint_classes_agree_with_a_dense_computation() -> None:
    n, k = 14, 3
    z, outcome = torch.randn(n, D, generator=generator(1)), torch.randint(0, 3, (n,), generator=generator(2))
    head, task = process(k), MulticlassTask(target="y")

    def nll(p: Tensor) -> Tensor:
        return F.cross_entropy(p, outcome, reduction="none")

    mode = find_mode(head.kernel(z, z), head.start.double(), nll, task.hessian)
    gram = torch.kron(head.kernel(z, z), torch.eye(k).double())
    f = (gram @ mode.alpha.flatten()).view(n, k)
    w = torch.block_diag(*task.hessian(f))
    # At the mode alpha = -gradient; the evidence by a dense determinant.
    assert torch.allclose(mode.alpha, F.one_hot(outcome, 3).double() - torch.softmax(f, 1), atol=1e-6)
    dense = -float(nll(f).sum()) - 0.5 * float(f.flatten() @ mode.alpha.flatten()) - 0.5 * float(torch.logdet(torch.eye(n * k).double() + w @ gram))
    assert mode.log_evidence == pytest.approx(dense, abs=1e-6)
    assert mode.curvature.factor.shape == (1, n * k, n * k)
    head.fit(z, task.hessian, n, nll)
    value = head(z, n_draws=8000, seed=0).value.detach().double().flatten(1)
    posterior = gram - gram @ torch.linalg.solve(torch.eye(n * k).double() + w @ gram, w @ gram)
    assert torch.allclose(torch.cov(value.T), posterior, atol=0.12)
    assert torch.allclose(value.mean(0), f.flatten(), atol=5 * 1.3 / math.sqrt(8000))


def test_rows_without_an_outcome_change_nothing() -> None:
    z, y, new = rows()
    seen = torch.arange(N) < 30

    def nll(p: Tensor) -> Tensor:
        return gaussian_nll(y)(p) * seen

    def hessian(p: Tensor) -> Tensor:
        return gaussian_hessian(p) * seen[:, None, None]

    whole = find_mode(process().kernel(z, z), torch.zeros(1).double(), nll, hessian)
    part = find_mode(process().kernel(z[:30], z[:30]), torch.zeros(1).double(), gaussian_nll(y[:30]), gaussian_hessian)
    assert torch.allclose(process().kernel(new, z) @ whole.alpha, process().kernel(new, z[:30]) @ part.alpha, atol=1e-5)
    assert whole.log_evidence == pytest.approx(part.log_evidence, rel=1e-5)


def test_too_many_rows_are_refused_with_the_count() -> None:
    z, y, _ = rows()
    with pytest.raises(UserError, match=r"at most 40 rows.*50 train rows.*head\.most_rows"):
        process(most_rows=40).fit(z, gaussian_hessian, N, gaussian_nll(y))
    with pytest.raises(UserError, match=r"at most 80 rows times outputs.*50 train rows of 3 outputs"):
        process(3, most_rows=40).fit(z, MulticlassTask(target="y").hessian, N, lambda p: p.sum(1))


def test_an_unknown_mean_or_prior_is_refused() -> None:
    with pytest.raises(UserError, match="network or process"):
        process(mean="zero")
    with pytest.raises(UserError, match="fixed or evidence"):
        process(prior="wide")

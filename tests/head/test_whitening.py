"""A prior over whitened features is one over outputs, whatever scale training gave the features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import ShrunkCovariance
from torch import Tensor

from equipoise.contract.tensors import generator
from equipoise.head import Head
from equipoise.head.whitening import SHRINKAGE, Whitening, shrunk_covariance
from equipoise.testing.discovery import options
from equipoise.testing.head_laws import new_head

N, D = 300, 5
WHITENED = sorted(name for name, node in options("head").items() if "whiten" in node and name != "variational_horseshoe")


def rows() -> Tensor:
    """(N, D), correlated, of unequal spread, far from 0."""
    g = generator(0)
    return torch.randn(N, D, generator=g) @ torch.randn(D, D, generator=g) * torch.tensor([3.0, 1.0, 0.3, 0.1, 1.0]) + 2.0


def covariance_of(z: Tensor) -> Tensor:
    value, vector = shrunk_covariance(z.double())
    return (vector * value) @ vector.T


def fitted(h: Tensor) -> Whitening:
    basis = Whitening(True)
    basis.fit(h)
    return basis


def after_fit(option: str, z: Tensor, *, curvature: float = 1.0, **words: object) -> Head:
    """A head fitted to a Gaussian outcome of mean 0 and precision ``curvature``."""
    head = new_head({**options("head")[option], "whiten": True, **words}, seed=0, d_in=z.shape[1], bias=torch.zeros(1))

    def nll(params: Tensor) -> Tensor:
        return 0.5 * curvature * params[..., 0].square().reshape(-1, len(z)).mean(0)

    head.fit(z, lambda p: torch.full((*p.shape, 1), curvature), len(z), nll)
    return head


def spread(head: Head, z: Tensor) -> Tensor:
    return head(z, n_draws=2000, seed=0).value[..., 0].detach().std(0)


def test_train_rows_become_centred_and_their_shrunk_covariance_the_identity() -> None:
    z = rows()
    basis = fitted(z)
    white = basis(z)
    assert torch.allclose(white.mean(0), torch.zeros(D), atol=1e-4)
    covariance = covariance_of(z)
    assert torch.allclose(basis.matrix.double().T @ covariance @ basis.matrix.double(), torch.eye(D).double(), atol=1e-4)


def test_moved_weights_give_the_same_outputs_and_can_be_brought_back() -> None:
    z, weight = rows(), torch.randn(3, D + 1, generator=generator(1))
    basis = fitted(z)
    moved = basis.moved(weight)
    torch.testing.assert_close(basis(z) @ moved[:, :-1].T + moved[:, -1], z @ weight[:, :-1].T + weight[:, -1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close((moved.double() @ basis.back(D).T).float(), weight, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("z", [torch.zeros(0, D), torch.ones(1, D), torch.ones(7, D)], ids=["none", "one row", "rows all alike"])
def test_without_a_spread_features_stay_as_they_are(z: Tensor) -> None:
    basis, weight = fitted(z), torch.ones(2, D + 1)
    assert torch.equal(basis(rows()), rows())
    assert torch.equal(basis.moved(weight), weight)
    assert torch.equal(basis.back(D), torch.eye(D + 1).double())


@pytest.mark.parametrize(("n", "d"), [(30, 20), (60, 20), (2000, 20)])
def test_the_shrinkage_is_the_one_under_which_left_out_rows_are_likeliest(n: int, d: int) -> None:
    g = generator(n)
    z = (torch.randn(n, d, generator=g) * torch.logspace(0, -3, d)).double()
    folds = [fold.numpy() for fold in torch.arange(n).chunk(5)]

    def likelihood(shrinkage: float) -> float:
        rest = [np.delete(z.numpy(), fold, axis=0) for fold in folds]
        return sum(ShrunkCovariance(shrinkage=shrinkage).fit(own).score(z.numpy()[fold]) * len(fold) for own, fold in zip(rest, folds, strict=True))

    best = max(SHRINKAGE, key=likelihood)
    expected = torch.from_numpy(ShrunkCovariance(shrinkage=best).fit(z.numpy()).covariance_)
    torch.testing.assert_close(covariance_of(z.float()), expected, rtol=1e-3, atol=1e-7)


def test_directions_of_small_variance_count_as_much_as_large_ones_once_rows_are_many() -> None:
    scale = torch.tensor([10.0, 1.0, 0.1, 0.03])
    z = torch.randn(2000, 4, generator=generator(3)) * scale
    white = torch.cov(fitted(z)(z).T)
    torch.testing.assert_close(white, torch.eye(4), rtol=0.0, atol=0.05)


def test_few_rows_in_many_directions_are_shrunk_to_a_common_scale() -> None:
    z = torch.randn(12, 60, generator=generator(4))
    basis, new = fitted(z), torch.randn(500, 60, generator=generator(5))
    assert float(basis(new).square().mean()) < 2, "directions that 12 rows do not span are not taken for narrow ones"


def test_a_direction_in_which_no_row_varied_is_neither_ruled_out_nor_blown_up() -> None:
    z = torch.cat([rows(), torch.full((N, 1), 0.3)], 1)
    basis, typical = fitted(z), rows().var(0).mean().sqrt()
    assert basis.matrix.isfinite().all()
    assert torch.linalg.eigvalsh(torch.cov(basis(z).T)).max() < 1.1
    moved = z[:1].clone()
    moved[0, -1] += typical
    assert float((basis(moved) - basis(z[:1])).norm()) == pytest.approx(1.0, rel=0.25)


@pytest.mark.parametrize("structure", ["full", "kron"])
def test_laplace_is_the_analytic_posterior_under_the_g_prior(structure: str) -> None:
    z, curvature, prior_scale, bias_scale = rows(), 0.2, 0.7, 2.0
    words = {"structure": structure, "prior": "fixed", "prior_scale": prior_scale, "bias_scale": bias_scale}
    found = after_fit("laplace", z, curvature=curvature, **words).posterior.covariance().double()
    x = torch.cat([z, torch.ones(N, 1)], 1).double()
    covariance = covariance_of(z)
    prior = torch.block_diag(D / prior_scale**2 * covariance, torch.zeros(1, 1).double())
    centre = x.mean(0)  # the bias's prior is one of the output at the mean row
    precision = curvature * x.T @ x + prior + torch.outer(centre, centre) / bias_scale**2
    torch.testing.assert_close(found, precision.inverse(), rtol=2e-3, atol=1e-5)


def test_without_data_the_outputs_of_the_train_rows_have_the_declared_spread() -> None:
    z = 2 + 0.01 * torch.randn(5000, D, generator=generator(2)) @ (torch.eye(D) + 0.3)
    variance = spread(after_fit("laplace", z, curvature=0.0, prior="fixed", prior_scale=1.5, bias_scale=0.5), z).square().mean()
    assert float(variance) == pytest.approx(1.5**2 + 0.5**2, rel=0.1)


@pytest.mark.parametrize("option", [name for name in WHITENED if name != "sngp"])  # its cosines have a length scale of their own
def test_an_interval_does_not_depend_on_the_scale_that_training_gave_the_features(option: str) -> None:
    z = rows()
    words = {"prior": "fixed"} if option in ("laplace", "gaussian_process") else {}  # evidence reads the weights, or the outcomes, too
    found = [spread(after_fit(option, scale * z, **words), scale * z) for scale in (1.0, 0.02)]
    # A low rank leaves a choice of directions, and settling some noise.
    torch.testing.assert_close(found[0], found[1], rtol=0.25, atol=0.0)
    assert float(found[1].mean()) == pytest.approx(float(found[0].mean()), rel=0.05)
    plain = [spread(after_fit(option, scale * z, whiten=False, **words), scale * z) for scale in (1.0, 0.02)]
    assert float((plain[1] / plain[0]).mean()) < 0.7, "without whitening a small scale is taken for knowledge"


@pytest.mark.parametrize("option", WHITENED)
def test_the_mean_stays(option: str) -> None:
    z = rows()
    with torch.no_grad():
        before = new_head(options("head")[option], seed=0, d_in=D, bias=torch.zeros(1))(z, n_draws=4000, seed=0).value[..., 0].mean(0)
        words = {"prior": "fixed"} if option == "gaussian_process" else {}  # seeking its kernel takes long, and moves no mean
        draws = after_fit(option, z, **words)(z, n_draws=4000, seed=0).value[..., 0]
    # The head before fitting has a spread of its own, as wide as its features.
    assert ((draws.mean(0) - before).abs() < 5 * draws.std(0) / 4000**0.5 + 0.05).all()


def test_mean_field_whitens_the_inputs_of_the_first_layer_that_has_a_posterior() -> None:
    z = rows()
    for bayesian in ("all", "last"):
        head = after_fit("mean_field", z, layers=1, bayesian=bayesian)
        first = head.hidden[0](z) if bayesian == "last" else z
        expected = torch.nn.functional.gelu(first) if bayesian == "last" else first
        torch.testing.assert_close(head.whitening.shift, expected.mean(0))

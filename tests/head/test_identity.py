"""Priors behind the identity head are those of the encoders; behind a head with weights they are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import GenotypesSpec
from equipoise.encoder.linear_genotype import LinearGenotype
from equipoise.fusion.additive import Additive
from equipoise.head import Head
from equipoise.head.identity import IdentityHead
from equipoise.head.point import PointHead
from genotypes_for_tests import drawn_copies, moments, part_of, standardised

N, V, NOISE, BIAS = 80, 150, 1.0, 2.0
SCALES = {"a": 0.3, "b": 0.6}
COPIES = {view: drawn_copies(N, V, seed=i) for i, view in enumerate(SCALES)}
SPEC = {view: GenotypesSpec(V, *moments(copies)) for view, copies in COPIES.items()}
CALLS = {view: standardised(COPIES[view], SPEC[view]) / np.sqrt(V - 1) for view in SCALES}


def test_nothing_is_learnt_but_biases() -> None:
    head = IdentityHead(d_in=3, n_params=2, bias=torch.tensor([0.5, -1.0]), bias_scale=2.0)
    z = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(head(z, n_draws=9, seed=0).value, torch.tensor([[[0.5, 0.0], [3.5, 3.0]]]))
    with torch.no_grad():
        head.bias += 1
    assert float(head.penalty().detach()) == pytest.approx(2 / (2 * 2.0**2))


def test_a_vector_that_is_too_narrow_is_refused() -> None:
    with pytest.raises(UserError, match=r"at least 3.*Found: 2.*d_model to 3"):
        IdentityHead(d_in=2, n_params=3, bias=torch.zeros(3), bias_scale=1.0)


def trained(head: Head, y: np.ndarray) -> np.ndarray:
    """Fitted values (N,) of two genotype views, their sum and this head, at the optimum."""
    torch.manual_seed(0)
    encoders = {view: LinearGenotype(spec=SPEC[view], d_model=1, n_scores=1, prior_scale=scale, lr_scale=1.0) for view, scale in SCALES.items()}
    fusion = Additive(views={"a": 0, "b": 1}, n_evidences=2, d_model=1, first=[], mapped=False, residual=False, prior_scale=1.0).train()
    fusion.empty.data.zero_()
    fusion.empty.requires_grad_(False)  # a second bias
    parts = {view: part_of(copies) for view, copies in COPIES.items()}
    parameters = [p for part in (*encoders.values(), fusion, head) for p in part.parameters() if p.requires_grad]
    optimizer = torch.optim.LBFGS(parameters, max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-13, line_search_fn="strong_wolfe")

    def value() -> torch.Tensor:
        z = fusion({view: encoder(parts[view]) for view, encoder in encoders.items()}, torch.ones(N, 2, dtype=torch.bool))
        return head(z, n_draws=1, seed=0).value[0, :, 0]

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = sum((encoder.penalty() for encoder in encoders.values()), head.penalty())
        total = (value() - torch.from_numpy(y).float()).square().sum() / (2 * NOISE**2) + penalty
        total.backward()
        return total

    optimizer.step(loss)
    return value().detach().double().numpy()


def test_behind_a_sum_each_encoders_prior_is_that_of_its_contribution() -> None:
    """Two genomes of different heritability and a bias: GBLUP with two variance components."""
    rng = np.random.default_rng(3)
    y = 0.5 + sum(scale * CALLS[view] @ rng.standard_normal(V) for view, scale in SCALES.items()) + NOISE * rng.standard_normal(N)
    covariance = sum((scale**2 * CALLS[view] @ CALLS[view].T for view, scale in SCALES.items()), np.full((N, N), BIAS**2))
    expected = covariance @ np.linalg.solve(covariance + NOISE**2 * np.eye(N), y)
    found = trained(IdentityHead(d_in=1, n_params=1, bias=torch.zeros(1), bias_scale=BIAS), y)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert expected.std() > 0.1


def test_behind_a_head_with_weights_the_same_priors_shrink_too_little() -> None:
    """The reason for this head: of a product of two Gaussian weights, the joint mode is penalised by its size and not by its square."""
    rng = np.random.default_rng(4)
    y = sum(scale * CALLS[view] @ rng.standard_normal(V) for view, scale in SCALES.items()) + NOISE * rng.standard_normal(N)
    point = PointHead(d_in=1, n_params=1, bias=torch.zeros(1), layers=0, prior_scale=1.0, bias_scale=BIAS)
    own = trained(IdentityHead(d_in=1, n_params=1, bias=torch.zeros(1), bias_scale=BIAS), y)
    assert trained(point, y).std() > 2 * own.std()

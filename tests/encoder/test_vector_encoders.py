"""Embeddings of numbers against their formulas."""

import numpy as np
import pytest
import torch

from equipoise.contract.tensors import Vector, VectorSpec
from equipoise.encoder.categories import Categories
from equipoise.encoder.linear import Linear
from equipoise.encoder.mlp import Mlp
from equipoise.encoder.periodic import Periodic
from equipoise.encoder.piecewise_linear import PiecewiseLinear
from equipoise.testing.network_laws import seeded

EDGES = np.array([[-1.0, 0.0, 0.5, 2.0]], np.float32)
SPEC = VectorSpec(1, (), EDGES)


def _vector(value: list[float]) -> Vector:
    n = len(value)
    x = torch.tensor(value)[:, None]
    return Vector(rows=torch.arange(n), size=n, value=x, observed=torch.ones(n, 1, dtype=torch.bool), category=torch.zeros(n, 0, dtype=torch.int32))


def test_piecewise_linear_embeddings_follow_their_formula_with_open_outer_bins() -> None:
    encoder = PiecewiseLinear(spec=SPEC, d_model=3, d_number=3, hidden=[], d_category=1, dropout=0.0, prior_scale=1.0, lr_scale=1.0)
    with torch.no_grad():
        encoder.weight.copy_(torch.eye(3)[None])
        encoder.bias.fill_(2.0)
        encoder.perceptron[0].weight.copy_(torch.eye(3, 4))
        encoder.perceptron[0].bias.fill_(-2.0)
    x = [-2.0, -1.0, -0.25, 0.0, 0.3, 0.5, 1.25, 2.0, 5.0]
    expected = [[-1, 0, 0], [0, 0, 0], [0.75, 0, 0], [1, 0, 0], [1, 0.6, 0], [1, 1, 0], [1, 1, 0.5], [1, 1, 1], [1, 1, 3]]
    torch.testing.assert_close(encoder(_vector(x)).h, torch.tensor(expected), rtol=1e-6, atol=1e-6)


def test_periodic_embeddings_follow_their_formula() -> None:
    with seeded(1):
        encoder = Periodic(
            spec=SPEC, d_model=4, n_frequencies=2, frequency_scale=0.5, d_number=4, hidden=[], d_category=1, dropout=0.0, prior_scale=1.0, lr_scale=1.0
        )
    x, c = np.array([-1.3, 0.0, 2.1]), encoder.frequency.detach().numpy()[0]
    waves = np.concatenate([x[:, None], np.sin(2 * np.pi * x[:, None] * c), np.cos(2 * np.pi * x[:, None] * c)], 1)
    e = np.maximum(waves @ encoder.weight.detach().numpy()[0] + encoder.bias.detach().numpy(), 0)
    layer = encoder.perceptron[0]
    expected = np.concatenate([e, np.ones((3, 1))], 1) @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(encoder(_vector(x.tolist())).h.detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["periodic", "piecewise_linear"])
def test_a_curve_that_no_line_fits_is_learnt(name: str) -> None:
    with seeded(2):
        x = torch.rand(200) * 4 - 2
        spec = VectorSpec(1, (), np.quantile(x, np.linspace(0, 1, 9))[None].astype(np.float32))
        shared = {"spec": spec, "d_model": 1, "d_number": 8, "hidden": [], "d_category": 1, "dropout": 0.0, "prior_scale": 3.0, "lr_scale": 1.0}
        encoder = PiecewiseLinear(**shared) if name == "piecewise_linear" else Periodic(**shared, n_frequencies=6, frequency_scale=0.3)
    y = (3 * x).sin() * (x > -0.5)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.02)
    for _ in range(300):
        loss = (encoder(_vector(x.tolist())).h[:, 0] - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * y.var().item()


def test_the_linear_encoder_is_linear_in_the_values() -> None:
    encoder = Linear(spec=SPEC, d_model=3, missing_effects=True, prior_scale=1.0, lr_scale=1.0)
    h = encoder(_vector([0.0, 1.0, 2.5])).h
    torch.testing.assert_close(h[2] - h[0], 2.5 * (h[1] - h[0]))


def test_the_linear_encoder_trained_to_the_end_is_ridge_regression() -> None:
    rng = np.random.default_rng(3)
    x, scale, noise = rng.normal(size=(40, 6)), 0.7, 0.9
    y = x @ rng.normal(size=6) + noise * rng.normal(size=40)
    encoder = Linear(spec=VectorSpec(6, (), np.tile(EDGES, (6, 1))), d_model=1, missing_effects=False, prior_scale=scale, lr_scale=1.0)
    everything = torch.ones(40, 6, dtype=torch.bool)
    part = Vector(rows=torch.arange(40), size=40, value=torch.from_numpy(x).float(), observed=everything, category=torch.zeros(40, 0, dtype=torch.int32))
    optimizer = torch.optim.LBFGS(encoder.parameters(), max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = (encoder(part).h[:, 0] - torch.from_numpy(y).float()).square().sum() / (2 * noise**2) + encoder.penalty()
        value.backward()
        return value

    optimizer.step(loss)
    design = np.concatenate([x, np.ones((40, 1))], 1)
    precision = np.diag([*[6 / scale**2] * 6, 1 / scale**2])
    expected = design @ np.linalg.solve(design.T @ design / noise**2 + precision, design.T @ y / noise**2)
    np.testing.assert_allclose(encoder(part).h[:, 0].detach().numpy(), expected, atol=1e-3)


def test_levels_of_different_columns_have_different_vectors() -> None:
    categories = Categories((3, 2, 4), 5)
    every = torch.tensor([[0, 0, 0], [1, 1, 1], [2, 0, 2], [0, 1, 3]], dtype=torch.int32)
    vectors = categories(every).reshape(-1, 5)
    assert categories.d_out == 15
    assert torch.unique(vectors, dim=0).shape[0] == 9


def test_a_view_of_categories_alone_is_encoded() -> None:
    spec = VectorSpec(0, (3, 2), np.zeros((0, 5), np.float32))
    part = Vector(
        rows=torch.tensor([1]), size=2, value=torch.zeros(1, 0), observed=torch.zeros(1, 0, dtype=torch.bool), category=torch.ones(1, 2, dtype=torch.int32)
    )
    common = {"spec": spec, "d_model": 4, "hidden": [6], "d_category": 3, "dropout": 0.0, "prior_scale": 1.0, "lr_scale": 1.0}
    for encoder in (
        Mlp(**common),
        PiecewiseLinear(**common, d_number=2),
        Periodic(**common, d_number=2, n_frequencies=2, frequency_scale=1.0),
        Linear(spec=spec, d_model=4, missing_effects=True, prior_scale=1.0, lr_scale=1.0),
    ):
        assert encoder(part).h.shape == (1, 4)
        assert torch.isfinite(encoder.penalty())

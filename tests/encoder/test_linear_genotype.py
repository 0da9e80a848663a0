"""The polygenic encoder against dense arithmetic and closed-form ridge regression."""

import numpy as np
import pytest
import torch

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Genotypes, GenotypesSpec
from equipoise.encoder.linear_genotype import LinearGenotype
from equipoise.modality.calls import pack

RNG = np.random.default_rng(5)
N, V = 60, 201


def _data(missing: float = 0.05) -> tuple[Genotypes, GenotypesSpec, np.ndarray]:
    """Genotypes, their moments, and the standardised calls f64 (N, V), missing ones 0; the last variant does not vary."""
    copies = RNG.binomial(2, RNG.uniform(0.1, 0.9, V), (N, V)).astype(float)
    copies[:, -1] = 2
    copies[RNG.random((N, V)) < missing] = np.nan
    call = np.where(np.isnan(copies), 1, np.array([3, 2, 0])[np.nan_to_num(copies).astype(int)]).astype(np.uint8)
    mean, sd = np.nanmean(copies, 0), np.nanstd(copies, 0)
    x = np.nan_to_num((copies - mean) / np.where(sd > 0, sd, 1))
    part = Genotypes(rows=torch.arange(N), size=N, packed=torch.from_numpy(pack(call)), n_variants=V)
    return part, GenotypesSpec(V, mean.astype(np.float32), sd.astype(np.float32)), x


def test_scores_equal_those_of_dense_standardised_calls_with_missing_ones_at_the_mean() -> None:
    part, spec, x = _data()
    encoder = LinearGenotype(spec=spec, d_model=5, n_scores=3, prior_scale=0.7, lr_scale=1.0)
    h = encoder(part).h.detach().numpy()
    expected = x @ encoder.u.detach().double().numpy().T * 0.7 / np.sqrt(V - 1)
    np.testing.assert_allclose(h[:, :3], expected, atol=1e-6)
    assert (h[:, 3:] == 0).all()


def test_a_variant_that_does_not_vary_contributes_nothing() -> None:
    part, spec, _ = _data()
    encoder = LinearGenotype(spec=spec, d_model=2, n_scores=1, prior_scale=1.0, lr_scale=1.0)
    before = encoder(part).h
    with torch.no_grad():
        encoder.u[:, -1] = 1e6
    torch.testing.assert_close(encoder(part).h, before, rtol=0, atol=0)


def test_a_score_has_the_prior_standard_deviation_that_the_yaml_says() -> None:
    part, spec, _ = _data(missing=0.0)
    encoder = LinearGenotype(spec=spec, d_model=400, n_scores=400, prior_scale=0.6, lr_scale=1.0)
    torch.nn.init.normal_(encoder.u, generator=torch.Generator().manual_seed(1))
    # The mean over people and draws of a standardised score's square.
    assert encoder(part).h.square().mean().sqrt().item() == pytest.approx(0.6, rel=0.03)


def test_trained_to_the_end_it_is_closed_form_ridge_regression() -> None:
    part, spec, x = _data()
    scale, noise = 0.8, 0.5
    y = x @ RNG.normal(size=V) / np.sqrt(V) * scale + noise * RNG.normal(size=N)
    encoder = LinearGenotype(spec=spec, d_model=1, n_scores=1, prior_scale=scale, lr_scale=1.0)
    optimizer = torch.optim.LBFGS(encoder.parameters(), max_iter=300, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe")
    target = torch.from_numpy(y).float()

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = (encoder(part).h[:, 0] - target).square().sum() / (2 * noise**2) + encoder.penalty()
        value.backward()
        return value

    optimizer.step(loss)
    kernel = x @ x.T / (V - 1) * scale**2
    expected = kernel @ np.linalg.solve(kernel + noise**2 * np.eye(N), y)
    np.testing.assert_allclose(encoder(part).h[:, 0].detach().numpy(), expected, atol=1e-3)
    assert np.corrcoef(expected, y)[0, 1] < 0.999


def test_adam_with_its_own_learning_rate_comes_near_ridge_regression_within_few_hundred_steps() -> None:
    part, spec, x = _data()
    y = x @ RNG.normal(size=V) / np.sqrt(V) + 0.5 * RNG.normal(size=N)
    encoder = LinearGenotype(spec=spec, d_model=1, n_scores=1, prior_scale=1.0, lr_scale=3.0)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.003 * encoder.lr_scale)
    for _ in range(400):
        loss = (encoder(part).h[:, 0] - torch.from_numpy(y).float()).square().sum() / (2 * 0.25) + encoder.penalty()
        optimizer.zero_grad()
        (loss / N).backward()
        optimizer.step()
    kernel = x @ x.T / (V - 1)
    expected = kernel @ np.linalg.solve(kernel + 0.25 * np.eye(N), y)
    assert np.abs(encoder(part).h[:, 0].detach().numpy() - expected).max() < 0.02


@pytest.mark.parametrize("n_scores", [0, 9])
def test_a_number_of_scores_that_does_not_fit_the_token_is_refused(n_scores: int) -> None:
    with pytest.raises(UserError, match="n_scores"):
        LinearGenotype(spec=_data()[1], d_model=8, n_scores=n_scores, prior_scale=1.0, lr_scale=1.0)

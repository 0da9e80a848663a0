"""Sparse scores against scikit-learn's elastic net: the same minimum, and as good on a truth of ten effects among two thousand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet as Reference
from sklearn.linear_model import ElasticNetCV

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Vector, VectorSpec
from equipoise.encoder import Encoder
from equipoise.encoder.elastic_net import ElasticNet
from equipoise.encoder.linear import Linear
from equipoise.head.point import PointHead
from equipoise.testing.network_laws import seeded


def _spec(n_values: int) -> VectorSpec:
    return VectorSpec(n_values, (), np.zeros((n_values, 3), np.float32))


def _part(x: np.ndarray) -> Vector:
    n = x.shape[0]
    observed = torch.from_numpy(np.isfinite(x))
    return Vector(rows=torch.arange(n), size=n, value=torch.from_numpy(x).float(), observed=observed, category=torch.zeros(n, 0, dtype=torch.int32))


def _made(n_values: int, **changed: object) -> ElasticNet:
    with seeded(1):
        return ElasticNet(**{"spec": _spec(n_values), "d_model": 1, "n_scores": 1, "laplace_scale": 0.02, "gaussian_scale": 0.5, "lr_scale": 1.0, **changed})


@pytest.mark.parametrize(("n", "n_values"), [(60, 8), (40, 120)])
def test_trained_to_the_end_it_is_scikit_learns_elastic_net(n: int, n_values: int) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((n, n_values))
    y = x[:, :3] @ [1.0, -0.7, 0.4] + 0.5 * rng.standard_normal(n)
    laplace, gaussian, noise = 0.03, 0.4, 0.5
    lasso, ridge = noise**2 / (n * laplace), noise**2 / (n * gaussian**2)
    expected = Reference(alpha=lasso + ridge, l1_ratio=lasso / (lasso + ridge), fit_intercept=False, tol=1e-10, max_iter=100_000).fit(x, y).coef_
    encoder = _made(n_values, laplace_scale=laplace, gaussian_scale=gaussian).double()
    part = replace(_part(x), value=torch.from_numpy(x))
    optimizer = torch.optim.LBFGS(encoder.parameters(), max_iter=3000, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = (encoder(part).h[:, 0] - torch.from_numpy(y)).square().sum() / (2 * noise**2) + encoder.penalty()
        value.backward()
        return value

    optimizer.step(loss)
    found = encoder.effect.detach().numpy()[0]
    assert (expected == 0).sum() >= 3
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(encoder.penalty().item(), np.abs(expected).sum() / laplace + (expected**2).sum() / (2 * gaussian**2), rtol=1e-4)


def test_a_value_that_was_not_observed_counts_as_the_mean() -> None:
    encoder, x = _made(4), np.array([[1.0, np.nan, -2.0, 0.5]])
    w = encoder.effect[0]
    torch.testing.assert_close(encoder(_part(x)).h[0, 0], w[0] - 2 * w[2] + 0.5 * w[3])


def test_scores_stand_in_the_first_entries_of_the_token() -> None:
    encoder = _made(6, n_scores=2, d_model=5)
    h = encoder(_part(np.random.default_rng(0).standard_normal((7, 6)))).h
    assert (h[:, :2] != 0).all()
    assert (h[:, 2:] == 0).all()


def test_adam_reaches_the_minimum_from_a_tenfold_range_of_learning_rates() -> None:
    x, y, _, _ = _sparse_truth(seed=0, n=200, n_values=400, n_held_out=0)
    found = [_trained(_made(400, laplace_scale=0.02), x, y, lr=lr, epochs=60).effect.detach().numpy()[0] for lr in (0.004, 0.04)]
    lasso, ridge = 1 / (200 * 0.02), 1 / (200 * 0.5**2)
    expected = Reference(alpha=lasso + ridge, l1_ratio=lasso / (lasso + ridge), fit_intercept=False).fit(x, y).coef_
    for w in found:
        assert np.corrcoef(w, expected)[0, 1] > 0.97


def _sparse_truth(seed: int, *, n: int, n_values: int, n_held_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x and y of the train rows, x and y of the held-out rows: ten effects of +-0.4 on an outcome with noise 1, r at best .78."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n + n_held_out, n_values))
    y = x[:, :10] @ rng.choice([-0.4, 0.4], 10) + rng.standard_normal(n + n_held_out)
    return x[:n], y[:n], x[n:], y[n:]


def _trained(encoder: Encoder, x: np.ndarray, y: np.ndarray, *, lr: float, epochs: int) -> Encoder:
    """As the learner does: Adam on batches of 64, the penalty divided by n; noise variance 1 and a head of weight 1."""
    n, target, part = x.shape[0], torch.from_numpy(y).float(), torch.from_numpy(x).float()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=lr)
    order = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for row in torch.randperm(n, generator=order).split(64):
            loss = (encoder(_part(part[row].numpy())).h[:, 0] - target[row]).square().mean() / 2 + encoder.penalty() / n
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return encoder


def test_with_a_head_that_starts_near_zero_the_scores_do_not_die() -> None:
    assert _held_out_r(_made(2000, d_model=8, laplace_scale=0.03, lr_scale=3.0), *_sparse_truth(1, n=300, n_values=2000, n_held_out=1000)) > 0.65


def _held_out_r(encoder: Encoder, x: np.ndarray, y: np.ndarray, x_new: np.ndarray, y_new: np.ndarray) -> float:
    """r on new rows after training with a point head as the learner does: Adam, 40 epochs in batches of 64, all penalties divided by n; noise variance 1."""
    n, target, rows = x.shape[0], torch.from_numpy(y).float(), torch.from_numpy(x).float()
    with seeded(3):
        head = PointHead(d_in=8, n_params=1, bias=torch.zeros(1), layers=0, prior_scale=1.0, bias_scale=10.0)
    own = {"params": list(encoder.parameters()), "lr": 0.002 * encoder.lr_scale}
    optimizer, order = torch.optim.Adam([own, {"params": list(head.parameters())}], lr=0.002), torch.Generator().manual_seed(0)
    for _ in range(40):
        for row in torch.randperm(n, generator=order).split(64):
            found = head(encoder(_part(rows[row].numpy())).h, n_draws=1, seed=0).value[0, :, 0]
            loss = (found - target[row]).square().mean() / 2 + (encoder.penalty() + head.penalty()) / n
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return float(np.corrcoef(head(encoder(_part(x_new)).h, n_draws=1, seed=0).value[0, :, 0], y_new)[0, 1])


@pytest.mark.slow
def test_ten_effects_among_two_thousand_are_found_as_well_as_by_scikit_learns_cross_validated_elastic_net() -> None:
    found: dict[str, list[float]] = {"elastic_net": [], "ElasticNetCV": [], "linear": []}
    for seed in range(10, 15):  # the scale 0.03 was chosen on seeds 0 to 4
        x, y, x_new, y_new = _sparse_truth(seed, n=300, n_values=2000, n_held_out=1000)
        found["elastic_net"].append(_held_out_r(_made(2000, d_model=8, laplace_scale=0.03, lr_scale=3.0), x, y, x_new, y_new))
        # The best of three scales on the held-out rows: more than it could know.
        found["linear"].append(max(_held_out_r(_linear(scale), x, y, x_new, y_new) for scale in (0.3, 1.0, 3.0)))
        chosen = ElasticNetCV(l1_ratio=[0.5, 0.9, 1.0], alphas=30, cv=5).fit(x, y)
        found["ElasticNetCV"].append(float(np.corrcoef(chosen.predict(x_new), y_new)[0, 1]))
    mean = {name: float(np.mean(r)) for name, r in found.items()}
    assert mean["elastic_net"] > mean["ElasticNetCV"] - 0.02
    assert mean["elastic_net"] > mean["linear"] + 0.2


def _linear(scale: float) -> Linear:
    with seeded(1):
        return Linear(spec=_spec(2000), d_model=8, missing_effects=False, prior_scale=scale, lr_scale=0.1)


@pytest.mark.parametrize(("wrong", "named"), [({"n_scores": 0}, "n_scores"), ({"n_scores": 2}, "n_scores"), ({"laplace_scale": 0.0}, "prior scale")])
def test_what_does_not_fit_is_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named):
        _made(3, **wrong)

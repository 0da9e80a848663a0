"""Scores of groups against a dense masked layer and the group lasso."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Vector, VectorSpec
from equipoise.encoder import Encoder
from equipoise.encoder.elastic_net import ElasticNet
from equipoise.encoder.pathway import Pathway
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import random_part

COMMON = {"group_scale": 0.05, "prior_scale": 1.0, "lr_scale": 1.0}


def _made(*, one_token: bool, spec: VectorSpec | None = None, d_model: int = 4) -> tuple[Pathway, Vector]:
    part, found = random_part(Vector, size=6, seed=4, absent=(2,))
    with seeded(1):
        encoder = Pathway(spec=spec or found, d_model=d_model, one_token=one_token, **COMMON)
        torch.nn.init.normal_(encoder.v)
    return encoder, part


def _dense(encoder: Pathway, spec: VectorSpec) -> torch.Tensor:
    """w (F, G), 0 outside the groups."""
    w, at = torch.zeros(spec.n_values, len(spec.groups)), 0
    for g, members in enumerate(spec.groups.values()):
        for f in members:
            w[f, g] = encoder.gate[g] * encoder.v[at]
            at += 1
    return w


@pytest.mark.parametrize("one_token", [True, False])
def test_tokens_are_those_of_a_dense_masked_layer(one_token: bool) -> None:
    encoder, part = _made(one_token=one_token)
    s = (part.value * part.observed) @ _dense(encoder, random_part(Vector, size=6, seed=4)[1])
    torch.testing.assert_close(encoder.scores(part), s, rtol=1e-5, atol=1e-6)
    token = s[..., None] * encoder.readout[:, 0] + F.silu(s)[..., None] * encoder.readout[:, 1]
    level = sum(encoder.categories.table.weight[part.category[:, c] + encoder.categories.first[c]] for c in range(2))
    expected = token.sum(1) + level if one_token else torch.cat([token + encoder.place, level[:, None]], 1).flatten(0, 1)
    tokens = encoder(part)
    torch.testing.assert_close(tokens.h, expected, rtol=1e-5, atol=1e-5)
    assert tokens.offsets.tolist() == ([0, 1, 2, 2, 3, 4, 5] if one_token else [0, 3, 6, 6, 9, 12, 15])


def test_a_value_in_no_group_contributes_nothing() -> None:
    encoder, part = _made(one_token=True)
    value = part.value.clone()
    value[:, 3] += 5
    torch.testing.assert_close(encoder(replace(part, value=value)).h, encoder(part).h, rtol=0, atol=0)


def test_trained_to_the_end_the_scores_are_the_group_lasso_of_an_orthonormal_design() -> None:
    rng = np.random.default_rng(0)
    groups = {"both": np.array([0, 1, 2]), "none": np.array([3, 4]), "one": np.array([5]), "weak": np.array([6, 7, 8, 9])}
    x, scale, noise = np.linalg.qr(rng.standard_normal((40, 10)))[0], 0.4, 0.7
    z = np.array([3.0, -2, 1, 0.2, -0.3, 2.5, 0.9, -0.8, 0.7, 1.0])
    y = x @ z
    expected = np.concatenate([z[at] * max(0, 1 - noise**2 * np.sqrt(at.size) / scale / np.linalg.norm(z[at])) for at in groups.values()])
    encoder = Pathway(spec=VectorSpec(10, (), np.zeros((10, 3), np.float32), groups), d_model=1, one_token=True, **{**COMMON, "group_scale": scale}).double()
    encoder.readout.requires_grad_(False).zero_()
    part = replace(_complete(x), value=torch.from_numpy(x))
    optimizer = torch.optim.LBFGS([encoder.gate, encoder.v], max_iter=3000, tolerance_grad=1e-11, tolerance_change=1e-15, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = (encoder.scores(part).sum(1) - torch.from_numpy(y)).square().sum() / (2 * noise**2) + encoder.penalty()
        value.backward()
        return value

    optimizer.step(loss)
    found = (encoder.gate[encoder.group_of] * encoder.v).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (expected[3:5] == 0).all()
    assert (expected[:3] != 0).all()
    norms = sum(np.sqrt(at.size) * np.linalg.norm(z[at]) * max(0, 1 - noise**2 * np.sqrt(at.size) / scale / np.linalg.norm(z[at])) for at in groups.values())
    assert encoder.penalty().item() == pytest.approx(norms / scale, rel=1e-5)


@pytest.mark.slow
def test_two_pathways_among_fifty_are_worth_more_than_sparse_scores_and_than_shuffled_pathways() -> None:
    found: dict[str, list[float]] = {"pathway": [], "shuffled": [], "elastic_net": []}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((1300, 1000))
        y = x[:, :40] @ rng.choice([-0.2, 0.2], 40) + rng.standard_normal(1300)
        order = rng.permutation(1000)
        for name, column in (("pathway", np.arange(1000)), ("shuffled", order)):
            groups = {f"g{i}": np.sort(column[20 * i : 20 * i + 20]) for i in range(50)}
            spec = VectorSpec(1000, (), np.zeros((1000, 3), np.float32), groups)
            with seeded(1):
                encoder: Encoder = Pathway(spec=spec, d_model=1, one_token=True, **COMMON)
            found[name].append(_held_out_r(encoder, x, y, lr=0.004))
        with seeded(1):
            sparse = [ElasticNet(spec=spec, d_model=1, n_scores=1, laplace_scale=b, gaussian_scale=0.5, lr_scale=1.0) for b in (0.015, 0.02, 0.03)]
        # The best of three scales on the held-out rows: more than it could know.
        found["elastic_net"].append(max(_held_out_r(encoder, x, y, lr=0.004) for encoder in sparse))
    mean = {name: float(np.mean(r)) for name, r in found.items()}
    assert mean["pathway"] > 0.7  # the truth itself has .78
    assert mean["pathway"] > mean["elastic_net"] + 0.1
    assert mean["pathway"] > mean["shuffled"] + 0.2


def _held_out_r(encoder: Encoder, x: np.ndarray, y: np.ndarray, *, lr: float) -> float:
    """r on the rows behind the first 300, which train the encoder as the learner does: Adam on batches of 64, a head of weight 1."""
    optimizer, order, target = torch.optim.Adam(encoder.parameters(), lr=lr), torch.Generator().manual_seed(0), torch.from_numpy(y).float()
    for _ in range(40):
        for row in torch.randperm(300, generator=order).split(64):
            loss = (encoder(_complete(x[row.numpy()])).h[:, 0] - target[row]).square().mean() / 2 + encoder.penalty() / 300
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return float(np.corrcoef(encoder(_complete(x[300:])).h[:, 0].detach().numpy(), y[300:])[0, 1])


def _complete(x: np.ndarray) -> Vector:
    n = x.shape[0]
    observed = torch.ones(x.shape, dtype=torch.bool)
    return Vector(rows=torch.arange(n), size=n, value=torch.from_numpy(x).float(), observed=observed, category=torch.zeros(n, 0, dtype=torch.int32))


def test_a_view_without_groups_and_a_scale_of_nothing_are_refused() -> None:
    spec = random_part(Vector, size=2, seed=1)[1]
    with pytest.raises(UserError, match="knows no groups"):
        _made(one_token=True, spec=replace(spec, groups={}))
    with pytest.raises(UserError, match="group_scale"):
        Pathway(spec=spec, d_model=2, one_token=True, **{**COMMON, "group_scale": 0.0})

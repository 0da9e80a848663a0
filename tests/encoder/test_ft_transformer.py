"""The transformer over columns against torch's own multi-head attention, one row at a time, and on a product that no sum of columns gives."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Vector, VectorSpec
from equipoise.encoder.ft_transformer import FtTransformer
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import random_part

COMMON = {"d_model": 8, "n_heads": 2, "feedforward": 1.5, "dropout": 0.0, "prior_scale": 10.0, "lr_scale": 1.0}


def _made(output: str, n_layers: int = 2) -> tuple[FtTransformer, Vector]:
    part, spec = random_part(Vector, size=6, seed=4, absent=(2,))
    with seeded(1):
        return FtTransformer(spec=spec, output=output, n_layers=n_layers, **COMMON).eval(), part


def _by_hand(encoder: FtTransformer, part: Vector, row: int) -> Tensor:
    """All tokens of a row, (1 + F + C, D), column by column and with torch's attention."""
    n_values = part.value.shape[1]
    x = [encoder.summary[0]]
    for f in range(n_values):
        x.append(encoder.bias[f] + part.value[row, f] * encoder.weight[f] if part.observed[row, f] else encoder.missing[f])
    for c, level in enumerate(part.category[row]):
        x.append(encoder.bias[n_values + c] + encoder.categories.table.weight[encoder.categories.first[c] + level])
    x = torch.stack(x)
    for i, block in enumerate(encoder.blocks):
        attention = nn.MultiheadAttention(8, 2)
        attention.in_proj_weight.data = torch.cat([block.query.weight, block.key_value.weight])
        attention.in_proj_bias.data = torch.cat([block.query.bias, block.key_value.bias])
        attention.out_proj = block.project
        seen = F.layer_norm(x, (8,)) if i else x
        x = x + attention(seen, seen, seen)[0]
        wide = F.layer_norm(x, (8,)) @ block.widen.weight.T + block.widen.bias
        x = x + (wide[:, :12].clamp(min=0) * wide[:, 12:]) @ block.narrow.weight.T + block.narrow.bias
    return F.layer_norm(x, (8,))


@pytest.mark.parametrize("n_layers", [0, 1, 2])
def test_tokens_equal_those_of_torchs_attention_row_by_row(n_layers: int) -> None:
    encoder, part = _made("sequence", n_layers)
    tokens = encoder(part)
    expected = torch.cat([_by_hand(encoder, part, row) for row in range(5)])
    torch.testing.assert_close(tokens.h, expected, rtol=1e-5, atol=1e-5)
    assert tokens.offsets.tolist() == [0, 8, 16, 16, 24, 32, 40]


def test_the_summary_is_the_first_token_of_the_sequence() -> None:
    (whole, part), (summary, _) = _made("sequence"), _made("summary")
    torch.testing.assert_close(summary(part).h, whole(part).h[::8], rtol=1e-5, atol=1e-6)


def test_the_order_of_columns_means_nothing_once_their_vectors_move_with_them() -> None:
    encoder, part = _made("summary")
    before = encoder(part).h
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        encoder.weight.copy_(encoder.weight[order])
        encoder.missing.copy_(encoder.missing[order])
        encoder.bias[:5] = encoder.bias[:5][order]
    moved = Vector(rows=part.rows, size=part.size, value=part.value[:, order], observed=part.observed[:, order], category=part.category)
    torch.testing.assert_close(encoder(moved).h, before, rtol=1e-5, atol=1e-5)


def test_the_prior_counts_every_parameter_at_its_own_scale() -> None:
    encoder, _ = _made("summary")
    scale, expected = COMMON["prior_scale"], 0.0
    for name, p in encoder.named_parameters():
        norm = "norm" in name or "before" in name
        fan_in = 1 if norm or name.endswith(".bias") else p.shape[1]
        gain = float(norm and name.endswith("weight"))
        expected += fan_in * (p - gain).square().sum().item() / (2 * scale**2)
    assert encoder.penalty().item() == pytest.approx(expected, rel=1e-5)


def test_a_product_of_two_columns_among_ten_is_learnt() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((1500, 10))).float()
    y = x[:, 0] * x[:, 1]
    spec = VectorSpec(10, (), np.zeros((10, 3), np.float32))
    with seeded(2):
        encoder = FtTransformer(spec=spec, output="summary", n_layers=2, **COMMON)
        readout = nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*encoder.parameters(), *readout.parameters()], lr=0.01)
    for _ in range(200):
        row = torch.from_numpy(rng.integers(0, 1000, 128))
        loss = (readout(encoder(_complete(x[row])).h)[:, 0] - y[row]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    left = (readout(encoder(_complete(x[1000:])).h)[:, 0] - y[1000:]).square().mean() / y[1000:].var()
    assert left.item() < 0.2


def _complete(x: Tensor) -> Vector:
    n = x.shape[0]
    return Vector(rows=torch.arange(n), size=n, value=x, observed=torch.ones_like(x, dtype=torch.bool), category=torch.zeros(n, 0, dtype=torch.int32))


def test_a_view_of_categories_alone_is_encoded() -> None:
    spec = VectorSpec(0, (3, 2), np.zeros((0, 5), np.float32))
    part = Vector(
        rows=torch.tensor([1]), size=2, value=torch.zeros(1, 0), observed=torch.zeros(1, 0, dtype=torch.bool), category=torch.ones(1, 2, dtype=torch.int32)
    )
    tokens = FtTransformer(spec=spec, output="sequence", n_layers=1, **COMMON)(part)
    assert tokens.offsets.tolist() == [0, 0, 3]


@pytest.mark.parametrize(("wrong", "named"), [({"n_heads": 3}, "n_heads 3"), ({"output": "mean"}, "Output 'mean'")])
def test_a_shape_that_does_not_fit_is_refused(wrong: dict[str, object], named: str) -> None:
    _, spec = random_part(Vector, size=2, seed=1)
    with pytest.raises(UserError, match=named):
        FtTransformer(**{"spec": spec, "output": "summary", "n_layers": 1, **COMMON, **wrong})

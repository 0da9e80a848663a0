"""What each fusion says it computes."""

import pytest
import torch
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Tokens
from equipoise.fusion.attention import Attention
from equipoise.fusion.concat import Concat
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import random_tokens, row_tokens

VIEWS = {"a": 0, "b": 1, "c": 1}
SIZE, WIDTH = 6, 8
PRESENT = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1], [0, 0], [1, 1]], dtype=torch.bool)
ATTENTION = {"n_queries": 3, "layers": 2, "feedforward": 2, "dropout": 0.0, "prior_scale": 1.0}


def _tokens() -> dict[str, Tokens]:
    return {view: random_tokens(size=SIZE, width=WIDTH, seed=30 + i) for i, view in enumerate(VIEWS)}


def test_concat_without_layers_is_the_means_and_the_flags_themselves() -> None:
    tokens = _tokens()
    fusion = Concat(views=VIEWS, n_evidences=2, d_model=WIDTH, layers=0, hidden=64, dropout=0.0, prior_scale=1.0)
    z = fusion(tokens, PRESENT)
    assert fusion.d_out == 3 * WIDTH + 2
    assert [name for name, _ in fusion.named_parameters()] == ["empty"]
    for row in range(SIZE):
        means = [row_tokens(tokens[view], row).mean(0) * PRESENT[row, column] for view, column in VIEWS.items()]
        expected = torch.cat([*means, PRESENT[row].float()]) if PRESENT[row].any() else fusion.empty
        torch.testing.assert_close(z[row], expected)


def test_concat_without_layers_is_additive_in_the_tokens() -> None:
    one, two = _tokens(), {view: random_tokens(size=SIZE, width=WIDTH, seed=30 + i) for i, view in enumerate(VIEWS)}
    double = {view: Tokens(t.h * 2, t.offsets) for view, t in two.items()}
    fusion = Concat(views=VIEWS, n_evidences=2, d_model=WIDTH, layers=0, hidden=64, dropout=0.0, prior_scale=1.0)
    some = PRESENT.any(1)
    a, b = fusion(one, PRESENT)[some, : 3 * WIDTH], fusion(double, PRESENT)[some, : 3 * WIDTH]
    torch.testing.assert_close(b, 2 * a)


def test_packed_attention_equals_attention_written_out_row_by_row() -> None:
    tokens = _tokens()
    with seeded(2):
        fusion = Attention(views=VIEWS, n_evidences=2, d_model=WIDTH, n_heads=2, **ATTENTION)
    z = fusion(tokens, PRESENT)
    for row in range(SIZE):
        if not PRESENT[row].any():
            continue
        there = [(row_tokens(tokens[view], row) + fusion.view[i]) for i, (view, column) in enumerate(VIEWS.items()) if PRESENT[row, column]]
        h, q = fusion.norm(torch.cat(there)), fusion.query
        for step in fusion.rounds:
            asked, key, value = step.q(step.before_attention(q)), step.k(h), step.v(h)
            heads = [F.scaled_dot_product_attention(asked[:, s], key[:, s], value[:, s]) for s in (slice(0, 4), slice(4, 8))]
            q = q + step.project(torch.cat(heads, 1))
            q = q + step.feedforward(step.before_feedforward(q))
        torch.testing.assert_close(z[row], q.flatten(), rtol=1e-5, atol=1e-5)


def test_attention_refuses_a_width_that_its_heads_do_not_divide() -> None:
    with pytest.raises(UserError, match="divisible"):
        Attention(views=VIEWS, n_evidences=2, d_model=WIDTH, n_heads=3, **ATTENTION)

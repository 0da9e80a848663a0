"""Packed attention against torch's own layers, row by row."""

import pytest
import torch
from torch import nn

from equipoise.contract.errors import UserError
from equipoise.contract.packed import lengths, segment_index
from equipoise.fusion.packed_attention import Block, Round, joined
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import random_tokens, row_tokens

WIDTH, HEADS = 8, 2
TOKENS = random_tokens(size=9, width=WIDTH, seed=3, absent=(2, 8), most=5)


def test_a_block_is_torchs_encoder_layer_on_each_row_alone() -> None:
    with seeded(1):
        block = Block(WIDTH, HEADS, 12, 0.0, "test")
    theirs = nn.TransformerEncoderLayer(WIDTH, HEADS, 12, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    names = {
        "before_attention": "norm1",
        "before_feedforward": "norm2",
        "feedforward.0": "linear1",
        "feedforward.2": "linear2",
        "project": "self_attn.out_proj",
        "qkv": "self_attn.in_proj",
    }
    renamed = {}
    for name, weight in block.state_dict().items():
        ours, kind = name.rsplit(".", 1)
        renamed[f"{names[ours]}_{kind}" if ours == "qkv" else f"{names[ours]}.{kind}"] = weight
    theirs.load_state_dict(renamed)
    out = block(TOKENS.h, TOKENS.offsets)
    expected = torch.cat([theirs(row_tokens(TOKENS, row)[None])[0] for row in range(9) if len(row_tokens(TOKENS, row))])
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)


def test_a_round_is_torchs_attention_of_the_queries_to_each_rows_tokens() -> None:
    with seeded(2):
        step, q = Round(WIDTH, HEADS, 12, 0.0, "test"), torch.randn(9, 3, WIDTH)
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([step.q.weight, step.k.weight, step.v.weight]))
        theirs.in_proj_bias.copy_(torch.cat([step.q.bias, step.k.bias, step.v.bias]))
    theirs.out_proj.load_state_dict(step.project.state_dict())
    out = step(q, TOKENS.h, TOKENS.offsets)
    for row in range(9):
        own = row_tokens(TOKENS, row)[None]
        asked = step.before_attention(q[row])[None]
        # torch refuses to attend to nothing; ours finds 0 there, and the map's bias is left.
        found = theirs(asked, own, own, need_weights=False)[0][0] if own.shape[1] else step.project.bias
        after = q[row] + found
        torch.testing.assert_close(out[row], after + step.feedforward(step.before_feedforward(after)), rtol=1e-5, atol=1e-6)


def test_nothing_at_all_passes_through() -> None:
    block = Block(WIDTH, HEADS, 12, 0.0, "test")
    assert block(torch.zeros(0, WIDTH), torch.zeros(4, dtype=torch.int64)).shape == (0, WIDTH)
    assert block(torch.zeros(0, WIDTH), torch.zeros(1, dtype=torch.int64)).shape == (0, WIDTH)


def test_joined_tokens_stand_row_by_row_and_without_absent_evidences() -> None:
    tokens = {v: random_tokens(size=4, width=WIDTH, seed=i) for i, v in enumerate("ab")}
    present = torch.tensor([[1, 1], [0, 1], [1, 0], [0, 0]], dtype=torch.bool)
    vector = torch.stack([torch.zeros(WIDTH), torch.ones(WIDTH)])
    every = joined(tokens, present, {"a": 0, "b": 1}, vector)
    for row in range(4):
        expected = [row_tokens(tokens[v], row) + vector[i] for i, v in enumerate("ab") if present[row, i]]
        own = every.h[int(every.offsets[row]) : int(every.offsets[row + 1])]
        torch.testing.assert_close(own, torch.cat(expected) if expected else own[:0], rtol=0, atol=0)
    one, other = every.only(1), every.without(1)
    assert set(segment_index(one.offsets).tolist()) == {0, 1}
    assert set(segment_index(other.offsets).tolist()) == {0, 2}
    assert torch.equal(lengths(one.offsets) + lengths(other.offsets), lengths(every.offsets))


@pytest.mark.parametrize("layer", [Round, Block])
def test_heads_must_divide_the_width(layer: type[Round] | type[Block]) -> None:
    with pytest.raises(UserError, match="divisible by the test's n_heads 3"):
        layer(WIDTH, 3, 12, 0.0, "test")

"""Fusions whose views look at each other: what each says it computes, written out row by row."""

import torch
from torch import Tensor

from equipoise.contract.tensors import Tokens
from equipoise.fusion.bottleneck import Bottleneck
from equipoise.fusion.cross_attention import CrossAttention
from equipoise.fusion.perceiver import Perceiver
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import random_tokens, row_tokens

VIEWS = {"a": 0, "b": 1, "c": 1}
SIZE, WIDTH = 6, 8
PRESENT = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1], [0, 0], [1, 1]], dtype=torch.bool)
SHAPE = {"views": VIEWS, "n_evidences": 2, "d_model": WIDTH, "n_heads": 2, "layers": 2, "feedforward": 2, "dropout": 0.0, "prior_scale": 1.0}


def _tokens() -> dict[str, Tokens]:
    return {view: random_tokens(size=SIZE, width=WIDTH, seed=30 + i) for i, view in enumerate(VIEWS)}


def _there(row: int) -> list[int]:
    return [i for i, column in enumerate(VIEWS.values()) if PRESENT[row, column]]


def _own(tokens: dict[str, Tokens], row: int, view: int) -> Tensor:
    return row_tokens(tokens[list(VIEWS)[view]], row)


def _whole(h: Tensor) -> Tensor:
    return torch.tensor([0, h.shape[0]])


def test_bottleneck_written_out_row_by_row() -> None:
    tokens = _tokens()
    with seeded(1):
        fusion = Bottleneck(**SHAPE, n_bottlenecks=3)
    z = fusion(tokens, PRESENT)
    for row in range(SIZE):
        h, q = {i: _own(tokens, row, i) for i in _there(row)}, fusion.bottleneck
        for blocks in fusion.layers:
            x = {i: blocks[i](torch.cat([h[i], q]), _whole(torch.cat([h[i], q]))) for i in h}
            h, q = {i: v[:-3] for i, v in x.items()}, torch.stack([v[-3:] for v in x.values()]).mean(0) if x else q
        torch.testing.assert_close(z[row], fusion.norm(q.flatten()) if h else fusion.empty, rtol=1e-5, atol=1e-6)


def test_views_hear_of_each_other_from_the_second_layer_of_the_bottleneck_on() -> None:
    """With one layer the mean over views is additive in them; with two it is not."""
    tokens = {view: Tokens(t.h[t.offsets[:-1]], torch.arange(SIZE + 1)) for view, t in _tokens().items()}
    all_there = torch.ones_like(PRESENT)
    for layers, apart in ((1, True), (2, False)):
        with seeded(2):
            fusion = Bottleneck(**{**SHAPE, "layers": layers}, n_bottlenecks=2)
            fusion.norm = torch.nn.Identity()  # type: ignore[assignment]
        fusion.empty = torch.nn.Parameter(torch.zeros(2 * WIDTH))
        other = {v: Tokens(t.h.flip(0), t.offsets) for v, t in tokens.items()}
        z = [fusion({"a": a["a"], "b": b["b"], "c": tokens["c"]}, all_there) for a in (tokens, other) for b in (tokens, other)]
        interaction = (z[0] - z[1] - z[2] + z[3]).abs().max()
        assert (interaction < 1e-6) == apart


def test_cross_attention_written_out_row_by_row() -> None:
    tokens = _tokens()
    with seeded(3):
        fusion = CrossAttention(**SHAPE)
    z = fusion(tokens, PRESENT)
    for row in range(SIZE):
        h = {i: fusion.norm(_own(tokens, row, i) + fusion.view[i]) for i in _there(row)}
        expected = fusion.bias
        for i in h:
            others = torch.cat([torch.zeros(0, WIDTH), *(h[j] for j in h if j != i)])
            q = h[i].mean(0)[None, None]
            for step in fusion.rounds[i]:
                q = step(q, others, _whole(others))
            expected = expected + fusion.maps[i](q[0, 0])
        torch.testing.assert_close(z[row], expected if h else fusion.empty, rtol=1e-5, atol=1e-6)


def test_perceiver_written_out_row_by_row() -> None:
    tokens = _tokens()
    with seeded(4):
        fusion = Perceiver(**SHAPE, n_latents=3, self_layers=2)
    z = fusion(tokens, PRESENT)
    for row in range(SIZE):
        h = fusion.norm(torch.cat([torch.zeros(0, WIDTH), *(_own(tokens, row, i) + fusion.view[i] for i in _there(row))]))
        x = fusion.latent
        for read, blocks in zip(fusion.read, fusion.think, strict=True):
            x = read(x[None], h, _whole(h))[0]
            for block in blocks:
                x = block(x, _whole(x))
        torch.testing.assert_close(z[row], fusion.last(x.mean(0)) if len(h) else fusion.empty, rtol=1e-5, atol=1e-6)

"""The packed set transformer against a loop over rows, and that it reads sets."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Events, EventsSpec
from equipoise.encoder.set_transformer import SetTransformer
from equipoise.encoder.time_perceptron import TimePerceptron
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import N_CODES, random_part, row_tokens


def _events() -> Events:
    part, _ = random_part(Events, size=12, seed=21, absent=(3,))
    assert isinstance(part, Events)
    return part


def _made(d_model: int = 8) -> SetTransformer:
    with seeded(0):
        made = SetTransformer(
            spec=EventsSpec(N_CODES), d_model=d_model, n_layers=2, n_heads=2, feedforward=2, n_time=5, shortest_days=0.05, dropout=0.0, prior_scale=1.0
        )
        made.score[2].weight.data.normal_(std=3.0)
    return made.eval()


def _one_row(made: SetTransformer, part: Events, p: int) -> torch.Tensor:
    """One row through the same weights; time, attention and pooling written out."""
    own = slice(int(part.offsets[p]), int(part.offsets[p + 1]))
    x = made.events(part.code[own], part.value[own], part.observed[own])
    top = torch.log(torch.tensor(1 + 3650 / 0.05))
    t = 2 * torch.log(1 + part.time_days[own] / 0.05) / top - 1
    time = torch.tanh(t[:, None] * made.time.hidden.weight[:, 0] + made.time.hidden.bias) @ made.time.out.weight.T
    x = torch.cat([x + torch.where(part.timed[own][:, None], time, made.time.static), made.member[None]])
    for block in made.blocks:
        q, k, v = block.qkv(block.before_attention(x)).chunk(3, 1)
        heads = [F.softmax(q[:, s] @ k[:, s].T / 2.0, 1) @ v[:, s] for s in (slice(0, 4), slice(4, 8))]
        x = x + block.project(torch.cat(heads, 1))
        x = x + block.feedforward(block.before_feedforward(x))
    score = torch.tanh(made.before_pooling(x) @ made.score[0].weight.T + made.score[0].bias) @ made.score[2].weight[0]
    return made.norm(F.softmax(score, 0) @ x)


def test_the_packed_set_transformer_equals_a_loop_over_rows() -> None:
    part, made = _events(), _made()
    tokens = made(part)
    for p, row in enumerate(part.rows.tolist()):
        torch.testing.assert_close(row_tokens(tokens, row)[0], _one_row(made, part, p), rtol=1e-5, atol=1e-5)


def test_the_order_of_a_rows_events_changes_nothing_and_their_times_do() -> None:
    part, made = _events(), _made()
    with seeded(2):
        order = torch.cat([int(a) + torch.randperm(int(b - a)) for a, b in zip(part.offsets, part.offsets[1:], strict=False)])
    mixed = replace(part, **{k: getattr(part, k)[order] for k in ("code", "value", "observed", "time_days", "timed")})
    assert not torch.equal(mixed.code, part.code)
    torch.testing.assert_close(made(mixed).h, made(part).h, rtol=1e-5, atol=1e-5)
    other = replace(mixed, time_days=torch.where(mixed.timed, part.time_days[part.timed].mean(), 0.0))
    assert (made(other).h - made(part).h).abs().max() > 0.01


def test_the_perceptron_tells_times_apart_from_an_hour_to_ten_years_and_gives_statics_none() -> None:
    with seeded(0):
        time = TimePerceptron(8, 1 / 24, 16)
    days = torch.tensor([0.0, 0.05, 1.0, 30.0, 365.0, 3650.0])
    vectors = time(days, torch.ones(6, dtype=torch.bool))
    assert torch.cdist(vectors, vectors)[~torch.eye(6, dtype=torch.bool)].min() > 0.1
    statics = time(days, torch.zeros(6, dtype=torch.bool))
    torch.testing.assert_close(statics, time.static.expand_as(statics))
    # Each unit bends, tanh = 0, at its own place in t, evenly from -1 to 1.
    bends = -time.hidden.bias / time.hidden.weight[:, 0]
    torch.testing.assert_close(bends, torch.linspace(-7 / 8, 7 / 8, 8))


def test_half_precision_gives_nearly_the_same_and_a_gradient() -> None:
    part, made = _events(), _made()
    exact = made(part).h
    with torch.autocast("cpu", torch.bfloat16):
        half = made(part).h
    torch.testing.assert_close(half.float(), exact, rtol=0.1, atol=0.1)
    half.float().sin().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match="divisible"):
        _made(9)

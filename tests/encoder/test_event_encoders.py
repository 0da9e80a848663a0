"""The packed event encoders against plain loops over rows."""

import pytest
import torch
from torch.nn import functional as F

from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.tensors import Events, EventsSpec
from equipoise.encoder.event_time import TimeTurns, turned
from equipoise.encoder.gru import Gru
from equipoise.encoder.transformer import Transformer
from equipoise.testing.discovery import options
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import N_CODES, random_part, row_tokens, taken

SIZE = 12
GRU = {"d_hidden": 10, "n_layers": 2, "bin_days": 7.0, "dropout": 0.0, "prior_scale": 1.0}
TRANSFORMER = {"n_layers": 2, "n_heads": 2, "feedforward": 2, "n_waves": 3, "shortest_days": 0.05, "dropout": 0.0, "prior_scale": 1.0}


def _events() -> Events:
    part, _ = random_part(Events, size=SIZE, seed=21, absent=(3,))
    assert isinstance(part, Events)
    return part


def _gru(pooling: str) -> Gru:
    with seeded(0):
        return Gru(spec=EventsSpec(N_CODES), d_model=6, pooling=pooling, **GRU).eval()


def _transformer(output: str, time: str = "waves") -> Transformer:
    with seeded(0):
        return Transformer(spec=EventsSpec(N_CODES), d_model=8, output=output, time=time, **TRANSFORMER).eval()


def _own(part: Events, p: int) -> slice:
    return slice(int(part.offsets[p]), int(part.offsets[p + 1]))


def _read_one_row(gru: Gru, part: Events, p: int, pooling: str) -> torch.Tensor:
    """Bins gathered in a dictionary, states from a plain loop of unpacked steps."""
    own = _own(part, p)
    x = gru.events(part.code[own], part.value[own], part.observed[own])
    state = gru.start(x[~part.timed[own]].sum(0) + gru.no_statics).reshape(gru.gru.num_layers, -1)
    by_code: dict[tuple[int, int], list[torch.Tensor]] = {}
    for vector, code, days, timed in zip(x, part.code[own].tolist(), part.time_days[own], part.timed[own], strict=True):
        if timed:
            by_code.setdefault((int(days // 7.0), code), []).append(vector)
    bins: dict[int, torch.Tensor] = {}
    for (age, _), vectors in by_code.items():
        bins[age] = bins.get(age, torch.zeros(10)) + torch.stack(vectors).mean(0)
    states, before = [], None
    for age in sorted(bins, reverse=True):
        gap = 0.0 if before is None else float(before - age)
        step = torch.cat([gru.norm(bins[age]), torch.log1p(torch.tensor([gap, float(age)]))])
        out, state = gru.gru(step[None], state)
        states.append(out[0])
        before = age
    last = state[-1]
    if pooling == "last":
        return gru.out(last)
    every = torch.stack(states) if states else last[None]
    return gru.out(torch.cat([last, every.mean(0), every.amax(0)]))


@pytest.mark.parametrize("pooling", ["last", "all"])
def test_the_packed_recurrent_unit_equals_a_loop_over_rows_and_bins(pooling: str) -> None:
    part, gru = _events(), _gru(pooling)
    tokens = gru(part)
    for p, row in enumerate(part.rows.tolist()):
        torch.testing.assert_close(row_tokens(tokens, row)[0], _read_one_row(gru, part, p, pooling), rtol=1e-5, atol=1e-5)


def test_rows_of_which_none_has_timed_events_are_read_by_the_recurrent_unit() -> None:
    part = _events()
    few = taken(part, part.rows[:2].tolist())
    for pooling in ("last", "all"):
        gru = _gru(pooling)
        torch.testing.assert_close(gru(few).h, gru(part).h[:2], rtol=1e-5, atol=1e-5)


def test_events_of_one_bin_may_come_in_any_order() -> None:
    part, gru = _events(), _gru("all")
    wide = Gru(spec=EventsSpec(N_CODES), d_model=6, pooling="all", **{**GRU, "bin_days": 1e9}).eval()
    wide.load_state_dict(gru.state_dict())
    order = torch.cat([torch.arange(int(a), int(b)).flip(0) for a, b in zip(part.offsets, part.offsets[1:], strict=False)])
    fields = {k: getattr(part, k)[order] for k in ("code", "value", "observed", "time_days", "timed")}
    turned = Events(rows=part.rows, size=part.size, offsets=part.offsets, **fields)
    torch.testing.assert_close(wide(turned).h, wide(part).h, rtol=1e-5, atol=1e-5)


def _turned(x: torch.Tensor, days: torch.Tensor, time: TimeTurns) -> torch.Tensor:
    """Each plane (i, i + 2) of both heads as complex numbers, times exp(i f t)."""
    turn = torch.exp(1j * torch.log1p(days / 0.05)[:, None] * time.log_frequency.exp())
    heads = [torch.complex(x[:, s : s + 2], x[:, s + 2 : s + 4]) * turn for s in (0, 4)]
    return torch.cat([part for head in heads for part in (head.real, head.imag)], 1)


def _attend_one_row(transformer: Transformer, part: Events, p: int) -> torch.Tensor:
    """One row through the same weights, attention written out with a softmax."""
    own = _own(part, p)
    x = transformer.events(part.code[own], part.value[own], part.observed[own]) + transformer.time(part.time_days[own], part.timed[own])
    x = torch.cat([x, transformer.summary[None]])
    for block in transformer.blocks:
        q, k, v = block.qkv(block.before_attention(x)).chunk(3, 1)
        if isinstance(transformer.time, TimeTurns):
            days = torch.cat([part.time_days[own], torch.zeros(1)])
            q, k = _turned(q, days, transformer.time), _turned(k, days, transformer.time)
        heads = [F.softmax(q[:, s] @ k[:, s].T / 2.0, 1) @ v[:, s] for s in (slice(0, 4), slice(4, 8))]
        x = x + block.project(torch.cat(heads, 1))
        x = x + block.feedforward(block.before_feedforward(x))
    return transformer.norm(x)


@pytest.mark.parametrize("time", ["waves", "rotary"])
def test_the_packed_transformer_equals_a_loop_over_rows(time: str) -> None:
    part = _events()
    sequence, summary = _transformer("sequence", time)(part), _transformer("summary", time)(part)
    for p, row in enumerate(part.rows.tolist()):
        expected = _attend_one_row(_transformer("sequence", time), part, p)
        torch.testing.assert_close(row_tokens(sequence, row), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(row_tokens(summary, row), expected[-1:], rtol=1e-5, atol=1e-5)


def test_the_transformer_tells_times_apart_and_gives_statics_none() -> None:
    transformer = _transformer("summary")
    days = torch.tensor([0.0, 0.01, 1.0, 30.0, 3000.0])
    waves = transformer.time(days, torch.ones(5, dtype=torch.bool))
    assert torch.cdist(waves, waves)[~torch.eye(5, dtype=torch.bool)].min() > 0.01
    statics = transformer.time(days, torch.zeros(5, dtype=torch.bool))
    torch.testing.assert_close(statics, statics[:1].expand_as(statics))


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match="divisible"):
        Transformer(spec=EventsSpec(N_CODES), d_model=9, output="summary", time="waves", **TRANSFORMER)


def test_turned_queries_and_keys_know_differences_of_time_alone_and_statics_have_their_vector() -> None:
    time = _transformer("summary", "rotary").time
    assert isinstance(time, TimeTurns)
    with seeded(1):
        qkv, t = torch.randn(6, 24), 5 * torch.rand(6, 1)

    def scores(t: torch.Tensor) -> torch.Tensor:
        q, k, v = turned(qkv, 2, *time.turns(t)).reshape(6, 3, 2, 4).unbind(1)
        torch.testing.assert_close(v, qkv.reshape(6, 3, 2, 4)[:, 2])
        return torch.einsum("qhd,khd->hqk", q, k)

    timed = torch.tensor([True, False])
    torch.testing.assert_close(time(torch.tensor([3.0, 0.0]), timed), torch.stack([torch.zeros(8), time.static]))
    torch.testing.assert_close(scores(t + 3.0), scores(t), rtol=1e-4, atol=1e-4)
    assert (scores(2 * t) - scores(t)).abs().max() > 0.1


def test_what_cannot_be_turned_and_an_unknown_time_are_refused() -> None:
    with pytest.raises(UserError, match="pairs"):
        Transformer(spec=EventsSpec(N_CODES), d_model=6, output="summary", time="rotary", **TRANSFORMER)
    with pytest.raises(UserError, match="waves or rotary"):
        Transformer(spec=EventsSpec(N_CODES), d_model=8, output="summary", time="sundial", **TRANSFORMER)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("half", [False, True], ids=["single", "half"])
@pytest.mark.parametrize("name", ["gru", "grud", "set_transformer", "state_space", "transformer"])
def test_a_gpu_gives_the_processors_tokens_and_gradients(name: str, half: bool) -> None:
    part, loose = _events(), 0.1 if half else 1e-4
    with seeded(0):
        made = make(options("encoder")[name], spec=EventsSpec(N_CODES), d_model=32).eval()
    expected = made(part).h
    expected.sin().sum().backward()
    true = {k: p.grad.clone() for k, p in made.named_parameters()}
    made.zero_grad()
    # cuDNN takes gradients of a recurrent unit in training mode only; without dropout the two modes are one.
    made.train()
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    there = made.to("cuda")
    with torch.autocast("cuda", torch.bfloat16, enabled=half):
        got = there(part.to("cuda")).h
    got.float().sin().sum().backward()
    torch.testing.assert_close(got.float().cpu(), expected, rtol=loose, atol=loose)
    for key, p in there.named_parameters():
        assert p.grad is not None
        apart = (p.grad.cpu() - true[key]).norm() / true[key].norm().clamp(min=1e-3)
        assert apart < (0.2 if half else 1e-3), key

"""GRU-D against plain loops over rows and times."""

from dataclasses import replace

import pytest
import torch

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Events, EventsSpec
from equipoise.encoder.decay import Decay
from equipoise.encoder.grud import GruD
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import N_CODES, random_part, row_tokens, taken

WIDTH, BIN = 10, 7.0


def _events() -> Events:
    part, _ = random_part(Events, size=12, seed=21, absent=(3,))
    assert isinstance(part, Events)
    return part


def _gru_d(pooling: str = "all", bin_days: float = BIN) -> GruD:
    with seeded(0):
        made = GruD(
            spec=EventsSpec(N_CODES),
            d_model=6,
            d_hidden=WIDTH,
            bin_days=bin_days,
            value_half_life_days=20.0,
            state_half_life_days=[5.0, 100.0],
            pooling=pooling,
            dropout=0.0,
            prior_scale=1.0,
        )
        for decay in (made.value_left, made.state_left):
            decay.shift.data.normal_()
        made.norm.bias.data.normal_()
    return made.double().eval()


def _left(decay: Decay, days: float, i: int | slice) -> torch.Tensor:
    return torch.exp(-torch.clamp(days * decay.log_rate.exp() + decay.shift, min=0))[i]


def _cell(gru: GruD, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """The gated unit written out: reset r, update z, candidate n."""
    (rx, zx, nx), (rh, zh, nh) = gru.input(x).chunk(3), gru.memory(h).chunk(3)
    r, z = torch.sigmoid(rx + rh), torch.sigmoid(zx + zh)
    return (1 - z) * torch.tanh(nx + r * nh) + z * h


def _read_one_row(gru: GruD, part: Events, p: int, pooling: str, bin_days: float) -> torch.Tensor:
    """Bins gathered in a dictionary, the last value of every code kept in another, one time after the other."""
    own = slice(int(part.offsets[p]), int(part.offsets[p + 1]))
    x = gru.events(part.code[own], part.value[own].double(), part.observed[own])
    first = state = gru.start(x[~part.timed[own]].sum(0) + gru.no_statics)
    bins: dict[int, list[tuple[int, bool, torch.Tensor]]] = {}
    for vector, code, observed, days, timed in zip(x, part.code[own].tolist(), part.observed[own], part.time_days[own], part.timed[own], strict=True):
        if timed:
            bins.setdefault(int(torch.floor(days / bin_days)), []).append((code, bool(observed), vector))
    last: dict[int, tuple[int, torch.Tensor]] = {}
    states, before = [], None
    for age in sorted(bins, reverse=True):
        here, carried = torch.zeros(WIDTH, dtype=torch.float64), torch.zeros(WIDTH, dtype=torch.float64)
        measured = {}
        for code in {c for c, _, _ in bins[age]}:
            here = here + torch.stack([v for c, _, v in bins[age] if c == code]).mean(0)
            values = [v for c, seen, v in bins[age] if c == code and seen]
            if values:
                measured[code] = torch.stack(values).mean(0)
        for code, (when, vector) in last.items():
            if code not in measured:
                carried = carried + _left(gru.value_left, (when - age) * bin_days, code) * vector
        last |= {code: (age, vector) for code, vector in measured.items()}
        gap = 0 if before is None else before - age
        state = _cell(gru, gru.norm(torch.cat([here, carried])), _left(gru.state_left, gap * bin_days, slice(None)) * state)
        states.append(state)
        before = age
    now = state if before is None else _left(gru.state_left, before * bin_days, slice(None)) * state
    if pooling == "last":
        return gru.out(now)
    every = torch.stack(states) if states else first[None]
    return gru.out(torch.cat([now, every.mean(0), every.amax(0)]))


@pytest.mark.parametrize(("pooling", "bin_days"), [("last", BIN), ("all", BIN), ("all", 0.01)])
def test_packed_gru_d_equals_a_loop_over_rows_and_times(pooling: str, bin_days: float) -> None:
    part, gru = _events(), _gru_d(pooling, bin_days)
    whole = replace(part, value=part.value.double())
    tokens = gru(whole)
    for p, row in enumerate(part.rows.tolist()):
        torch.testing.assert_close(row_tokens(tokens, row)[0], _read_one_row(gru, part, p, pooling, bin_days), rtol=1e-7, atol=1e-7)


def _row(code: list[int], value: list[float], days: list[float]) -> Events:
    n = len(code)
    seen = torch.tensor([v == v for v in value], dtype=torch.bool)
    return Events(
        rows=torch.tensor([0]),
        size=1,
        code=torch.tensor(code, dtype=torch.int32),
        value=torch.nan_to_num(torch.tensor(value, dtype=torch.float64)),
        observed=seen,
        time_days=torch.tensor(days),
        timed=torch.ones(n, dtype=torch.bool),
        offsets=torch.tensor([0, n]),
    )


def _carried(gru: GruD, part: Events) -> torch.Tensor:
    """What reaches the norm of each bin's carried half, (T, H)."""
    kept: list[torch.Tensor] = []
    hook = gru.norm.register_forward_hook(lambda module, inputs, output: kept.append(inputs[0][:, WIDTH:]))
    gru(part)
    hook.remove()
    return kept[0]


def test_a_last_value_halves_in_its_half_life_and_a_new_one_takes_its_place() -> None:
    gru = _gru_d()
    gru.value_left.shift.data.zero_()
    nan = float("nan")
    part = _row([1, 2, 2, 1, 2], [1.5, nan, nan, -2.0, nan], [70.0, 63.0, 49.0, 28.0, 7.0])
    x = gru.events(part.code, part.value, part.observed)
    expected = torch.stack([0 * x[0], x[0] * 0.5 ** (7 / 20), x[0] * 0.5 ** (21 / 20), 0 * x[0], x[3] * 0.5 ** (21 / 20)])
    torch.testing.assert_close(_carried(gru, part), expected)


def test_a_value_and_all_memory_fade_when_their_time_is_long_over() -> None:
    gru = _gru_d("last")
    old = _row([1, 3], [1.5, 0.3], [7e6, 3.5e6])
    none = _row([], [], [])
    torch.testing.assert_close(_carried(gru, old), torch.zeros(2, WIDTH, dtype=torch.float64))
    torch.testing.assert_close(gru(old).h, gru.out.bias[None])
    assert (gru(none).h - gru.out.bias).abs().max() > 0.01


def test_rows_of_which_none_has_timed_events_or_values_are_read() -> None:
    part, gru = _events(), _gru_d().float()
    few = taken(part, part.rows[:2].tolist())
    torch.testing.assert_close(gru(few).h, gru(part).h[:2], rtol=1e-5, atol=1e-5)
    bare = replace(part, observed=torch.zeros_like(part.observed))
    assert torch.isfinite(gru(bare).h).all()


def test_half_precision_gives_nearly_the_same_and_a_gradient() -> None:
    part, gru = _events(), _gru_d().float()
    exact = gru(part).h
    with torch.autocast("cpu", torch.bfloat16):
        half = gru(part).h
    torch.testing.assert_close(half.float(), exact, rtol=0.1, atol=0.05)
    half.float().sin().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in gru.parameters())


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(UserError, match="last or all"):
        _gru_d("first")

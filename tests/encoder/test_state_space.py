"""The packed state space against its closed form: sums over all earlier events, row by row."""

from dataclasses import replace

import torch
from torch.nn import functional as F

from equipoise.contract.tensors import Events, EventsSpec
from equipoise.encoder.state_space import StateSpace
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import N_CODES, random_part, row_tokens

FIELDS = ("code", "value", "observed", "time_days", "timed")


def _events() -> Events:
    """Times rounded to weeks, so that some events share a moment, a few of them the prediction time."""
    part, _ = random_part(Events, size=12, seed=21, absent=(3,))
    assert isinstance(part, Events)
    return replace(part, time_days=torch.floor(part.time_days / 7) * 7)


def _made() -> StateSpace:
    with seeded(0):
        made = StateSpace(spec=EventsSpec(N_CODES), d_model=8, n_layers=2, state=2, half_life_days=[2.0, 200.0], dropout=0.0, prior_scale=1.0)
        for p in made.parameters():
            p.data.add_(0.1 * torch.randn_like(p))
    return made.double().eval()


def _double(part: Events) -> Events:
    return replace(part, value=part.value.double(), time_days=part.time_days.double())


def _one_row(made: StateSpace, part: Events, p: int) -> torch.Tensor:
    own = slice(int(part.offsets[p]), int(part.offsets[p + 1]))
    x, timed = made.events(part.code[own], part.value[own], part.observed[own]), part.timed[own]
    x = torch.cat([x[timed], made.statics(x[~timed].sum(0) + made.no_statics)[None]])
    days = torch.cat([part.time_days[own][timed], torch.zeros(1, dtype=torch.float64)])
    ago = days[None, :] - days[:, None]
    for layer in made.layers:
        value, gate, asked = layer.inner(layer.before(x)).chunk(3, 1)
        fading = torch.exp(-layer.left.log_rate.exp() * ago[:, :, None]) * (ago >= 0)[:, :, None]
        state = (fading * (torch.sigmoid(gate) * value)[None]).sum(1)
        x = x + layer.project(state / torch.sqrt(1 + state.abs()) * F.silu(asked))
    return made.norm(x[-1])


def test_the_packed_state_space_equals_sums_over_all_earlier_events() -> None:
    part, made = _double(_events()), _made()
    tokens = made(part)
    for p, row in enumerate(part.rows.tolist()):
        torch.testing.assert_close(row_tokens(tokens, row)[0], _one_row(made, part, p), rtol=1e-10, atol=1e-10)


def test_events_of_one_moment_may_lie_in_any_order() -> None:
    part, made = _double(_events()), _made()
    row = torch.repeat_interleave(torch.arange(11), part.offsets.diff())
    order = torch.arange(row.shape[0]).flip(0)
    for key in (-part.time_days[order], part.timed[order].double()[torch.argsort(-part.time_days[order], stable=True)]):
        order = order[torch.argsort(key, stable=True)]
    order = order[torch.argsort(row[order], stable=True)]
    mixed = replace(part, **{k: getattr(part, k)[order] for k in FIELDS})
    assert torch.equal(mixed.time_days, part.time_days)
    assert not torch.equal(mixed.code, part.code)
    torch.testing.assert_close(made(mixed).h, made(part).h, rtol=1e-10, atol=1e-10)


def test_all_that_lies_longer_back_than_any_half_life_is_forgotten() -> None:
    part, made = _double(_events()), _made()
    # Nothing of what they add is left; the events themselves still see each other.
    old = replace(part, time_days=torch.where(part.timed, part.time_days + 1e6, 0.0))
    statics = [slice(int(a), int(b)) for a, b in zip(part.offsets, part.offsets[1:], strict=False)]
    for p, (row, own) in enumerate(zip(part.rows.tolist(), statics, strict=True)):
        keep = ~part.timed[own]
        alone = replace(part, rows=torch.tensor([0]), size=1, offsets=torch.tensor([0, int(keep.sum())]), **{k: getattr(part, k)[own][keep] for k in FIELDS})
        torch.testing.assert_close(row_tokens(made(old), row), made(alone).h)
        assert int(part.offsets[p]) == own.start


def test_half_precision_gives_nearly_the_same_and_a_gradient() -> None:
    part, made = _events(), _made().float()
    exact = made(part).h
    with torch.autocast("cpu", torch.bfloat16):
        half = made(part).h
    torch.testing.assert_close(half.float(), exact, rtol=0.1, atol=0.1)
    half.float().sin().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())

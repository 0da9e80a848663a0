"""The ways of attending within rows against each other and against a loop over rows."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.tensors import Events, EventsSpec
from equipoise.encoder import attention, transformer
from equipoise.encoder.attention import Padded, Runs, Varlen, Within, flash, within
from equipoise.encoder.transformer import Transformer
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import N_CODES, random_part

OFFSETS = torch.tensor([0, 5, 6, 9, 14, 15, 22])
N, WIDTH, HEADS = 22, 12, 3


def _loop(q: Tensor, k: Tensor, v: Tensor, of_q: Tensor, of_k: Tensor, longest_q: int, longest_k: int) -> Tensor:
    """Stands in for torch's flash attention, which no processor runs: same arguments, same demands, a loop over rows."""
    assert of_q.dtype == of_k.dtype == torch.int32
    assert q.stride(-1) == k.stride(-1) == v.stride(-1) == 1
    assert q.shape == k.shape == v.shape
    out = []
    for a, b in zip(of_q.tolist(), of_q.tolist()[1:], strict=False):
        assert b - a <= longest_q == longest_k
        weight = F.softmax(torch.einsum("qhd,khd->hqk", q[a:b], k[a:b]) / q.shape[-1] ** 0.5, -1)
        out.append(torch.einsum("hqk,khd->qhd", weight, v[a:b]))
    return torch.cat(out)


def _ways(longest: int) -> dict[str, Callable[[Tensor, Tensor], Within]]:
    return {
        "runs": lambda offsets, x: Runs(offsets),
        "padded": lambda offsets, x: Padded(offsets, longest, x.shape[0]),
        "varlen": lambda offsets, x: Varlen(offsets, longest),
    }


@pytest.fixture(autouse=True)
def _varlen_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "varlen_attn", _loop)


@pytest.mark.parametrize("longest", [7, 10], ids=["exact", "a bound above it"])
@pytest.mark.parametrize("name", ["runs", "padded", "varlen"])
def test_every_way_gives_the_attention_of_each_row_alone_and_its_gradient(name: str, longest: int) -> None:
    with seeded(0):
        qkv, direction = torch.randn(N, 3 * WIDTH, dtype=torch.float64, requires_grad=True), torch.randn(N, WIDTH, dtype=torch.float64)
    rows = _ways(longest)[name](OFFSETS, qkv)
    got = rows.leave(rows.attend(rows.enter(qkv), HEADS))
    q, k, v = qkv.reshape(N, 3, HEADS, -1).unbind(1)
    expected = _loop(q, k, v, OFFSETS.int(), OFFSETS.int(), 7, 7).flatten(1)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad((got * direction).sum(), qkv, retain_graph=True)
    (true,) = torch.autograd.grad((expected * direction).sum(), qkv)
    torch.testing.assert_close(gradient, true, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["runs", "padded", "varlen"])
def test_every_way_gives_tokens_back_in_order_and_finds_each_rows_last(name: str) -> None:
    x = torch.arange(N, dtype=torch.float32)[:, None]
    rows = _ways(7)[name](OFFSETS, x)
    torch.testing.assert_close(rows.leave(rows.enter(x)), x)
    torch.testing.assert_close(rows.last(rows.enter(x))[:, 0], OFFSETS[1:] - 1.0)


@pytest.mark.parametrize("output", ["summary", "sequence"])
@pytest.mark.parametrize("name", ["padded", "varlen"])
def test_the_transformer_is_the_same_by_every_way(name: str, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part, _ = random_part(Events, size=12, seed=21, absent=(3,))
    with seeded(0):
        made = Transformer(
            spec=EventsSpec(N_CODES),
            d_model=8,
            n_layers=2,
            n_heads=2,
            feedforward=2,
            time="waves",
            n_waves=3,
            shortest_days=0.05,
            output=output,
            dropout=0.0,
            prior_scale=1.0,
        )
    expected = made(part)
    (expected.h.sin().sum()).backward()
    true = {k: p.grad.clone() for k, p in made.named_parameters() if p.grad is not None}
    made.zero_grad()
    monkeypatch.setattr(transformer, "within", lambda offsets, x, **_: _ways(11)[name](offsets, x))
    got = made(part)
    (got.h.sin().sum()).backward()
    assert torch.equal(got.offsets, expected.offsets)
    torch.testing.assert_close(got.h, expected.h, rtol=1e-5, atol=1e-5)
    for key, parameter in made.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, true[key], rtol=1e-4, atol=1e-5, msg=key)


def test_the_processor_attends_in_runs_and_flash_takes_half_precision_on_new_gpus_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            assert isinstance(within(OFFSETS, torch.zeros(N, WIDTH), d_head=4, longest=None), Runs)
    assert flash(torch.bfloat16, 64, (9, 0))
    assert flash(torch.float16, 256, (8, 0))
    for dtype, d_head, capability in ((torch.float32, 64, (9, 0)), (torch.bfloat16, 4, (9, 0)), (torch.bfloat16, 264, (9, 0)), (torch.bfloat16, 64, (7, 5))):
        assert not flash(dtype, d_head, capability)
    monkeypatch.setattr(attention, "varlen_attn", None)
    assert not flash(torch.bfloat16, 64, (9, 0))


@pytest.mark.parametrize("autocast", [True, False])
def test_a_gpu_attends_by_flash_in_half_precision_and_padded_in_single(autocast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice alone, on a stand-in for a GPU's tensor."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: autocast)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))

    class OnGpu:
        device, dtype, shape = torch.device("cuda"), torch.float32, (N, WIDTH)

    rows = within(OFFSETS, OnGpu(), d_head=8, longest=7)  # type: ignore[arg-type]
    assert type(rows) is (Varlen if autocast else Padded)
    assert isinstance(within(torch.zeros(1, dtype=torch.int64), OnGpu(), d_head=8, longest=0), Runs)  # type: ignore[arg-type]


def test_rows_of_a_gpu_batch_are_counted_where_the_host_does_not_know_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))

    class OnGpu:
        device, dtype, shape = torch.device("cuda"), torch.float32, (N, WIDTH)

    rows = within(OFFSETS, OnGpu(), d_head=8, longest=None)  # type: ignore[arg-type]
    assert isinstance(rows, Padded)
    assert rows._real.shape[-1] == 7

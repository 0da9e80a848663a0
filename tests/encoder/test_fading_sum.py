"""The packed recurrence against a plain loop, its gradient against numerical ones, and both ways of computing it against each other."""

import pytest
import torch
from torch import Tensor

from equipoise.contract.packed import lengths
from equipoise.encoder import fading_sum as module
from equipoise.encoder.fading_sum import fading_sum
from equipoise.encoder.steps import Steps
from equipoise.testing.network_laws import seeded

OFFSETS = torch.tensor([0, 5, 6, 6, 9, 14, 14, 25])
WIDTH = 3


def _given() -> tuple[Tensor, Tensor]:
    with seeded(0):
        return torch.rand(25, WIDTH, dtype=torch.float64), torch.randn(25, WIDTH, dtype=torch.float64)


def _loop(kept: Tensor, added: Tensor) -> Tensor:
    out = []
    for a, b in zip(OFFSETS.tolist(), OFFSETS.tolist()[1:], strict=False):
        h = torch.zeros(WIDTH, dtype=torch.float64)
        for t in range(a, b):
            h = kept[t] * h + added[t]
            out.append(h)
    return torch.stack(out)


@pytest.mark.parametrize("way", ["steps", "doubling"])
def test_the_packed_recurrence_and_its_gradient_equal_a_loop(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, added = (x.requires_grad_() for x in _given())
    steps = Steps(OFFSETS)
    monkeypatch.setattr(module, "steps_are_cheap", lambda device: way == "steps")
    got, true = fading_sum(kept, added, steps), _loop(kept, added)
    torch.testing.assert_close(got, true, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(torch.autograd.grad(got.sin().sum(), (kept, added)), torch.autograd.grad(true.sin().sum(), (kept, added)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


def test_rows_still_running_are_the_first_ones_of_every_step() -> None:
    steps = Steps(OFFSETS)
    assert steps.rows.tolist() == [6, 0, 4, 3, 1]
    assert steps.sizes.tolist() == [5, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1]
    for t, own in enumerate(steps.order.split(steps.sizes.tolist())):
        assert own.tolist() == [int(OFFSETS[r]) + t for r in steps.rows.tolist() if lengths(OFFSETS)[r] > t]
    x = torch.arange(25.0)
    torch.testing.assert_close(steps.back(x[steps.order]), x)


def test_what_is_kept_at_a_rows_start_is_not_looked_at() -> None:
    kept, added = _given()
    other = kept.index_fill(0, torch.tensor([0, 5, 6, 9, 14]), float("inf"))
    torch.testing.assert_close(fading_sum(other, added, Steps(OFFSETS)), fading_sum(kept, added, Steps(OFFSETS)), rtol=0, atol=0)


def test_no_rows_give_no_sums() -> None:
    nothing = torch.zeros(0, WIDTH)
    assert fading_sum(nothing, nothing, Steps(torch.zeros(1, dtype=torch.int64))).shape == (0, WIDTH)

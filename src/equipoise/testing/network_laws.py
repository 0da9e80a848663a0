"""Checks that any network part must pass, whatever it computes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's generator at this seed inside, untouched outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def check_gradients(module: nn.Module, loss: Callable[[], Tensor]) -> None:
    """Every parameter gets a finite gradient that is not zero."""
    module.zero_grad()
    loss().backward()
    for name, p in module.named_parameters():
        assert p.numel() == 0 or (p.grad is not None and bool(torch.isfinite(p.grad).all()) and bool((p.grad != 0).any())), f"no gradient reaches {name}"


def check_penalty(module: nn.Module, penalty: Callable[[], Tensor]) -> None:
    """The penalty is one finite number >= 0, every parameter has a prior in it, and far from the prior it grows."""
    module.zero_grad()
    value = penalty()
    assert value.shape == ()
    assert torch.isfinite(value)
    assert value.item() >= 0
    value.backward()
    for name, p in module.named_parameters():
        assert p.grad is not None, f"{name} has no prior"
    with torch.no_grad():
        for p in module.parameters():
            p.add_(10.0)
        assert penalty().item() > value.item()


def check_state_round_trip(made: nn.Module, other: nn.Module, output: Callable[[nn.Module], Tensor]) -> None:
    """Saved and loaded with ``weights_only=True`` into a fresh part, the weights give equal output."""
    made.eval(), other.eval()
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(output(other), output(made), rtol=0, atol=0)


def check_training_reduces(module: nn.Module, output: Callable[[], Tensor], target: Tensor, steps: int = 2) -> None:
    """A few Adam steps on a squared error from a linear readout reduce it."""
    with seeded(5):
        readout = nn.Linear(output().shape[1], 1)
    optimizer = torch.optim.Adam([*module.parameters(), *readout.parameters()], lr=3e-3)
    first = None
    for _ in range(steps + 1):
        loss = (readout(output())[:, 0] - target).square().mean()
        first = loss.item() if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < first


def check_noise_is_seeded(module: nn.Module, output: Callable[[], Tensor]) -> None:
    """In training mode equal seeds give equal bits: the part holds no randomness of its own. In evaluation there is none."""
    module.train()
    results = []
    for _ in range(2):
        with seeded(11):
            results.append(output())
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    module.eval()
    torch.testing.assert_close(output(), output(), rtol=0, atol=0)

"""How far apart an encoder of vectors moves rows, beside how far apart they were."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from equipoise.contract.tensors import Vector
from equipoise.encoder import Encoder

_STEPS = (1e-2, 1.0, 30.0)  # small ones see slopes, large ones what bends


def largest_ratio(encoder: Encoder, part: Vector, *, tries: int = 8, seed: int = 0) -> float:
    """The largest distance of two rows' tokens over that of their numbers and observed flags that was found, categories equal.

    Pairs are random, or the second lies where the first's derivative is largest: random directions alone would miss that one in many dimensions.

    Args:
        encoder: in evaluation mode, of one token a row.
        part: the first of each pair.
        tries: random pairs of each row and size of step.
        seed: of the random pairs.
    """
    draw = torch.Generator().manual_seed(seed)
    directions = [_steepest(encoder, part), *(torch.randn(part.value.shape, generator=draw) for _ in range(tries))]
    flips = [torch.zeros_like(part.observed), *(torch.rand(part.observed.shape, generator=draw) < 0.3 for _ in range(tries))]
    moved = [replace(part, value=part.value + step * d, observed=part.observed ^ flip) for step in _STEPS for d in directions for flip in flips]
    return max(float(_ratio(encoder, part, other).max()) for other in moved)


@torch.no_grad()
def _ratio(encoder: Encoder, one: Vector, other: Vector) -> Tensor:
    there = torch.cat([one.value * one.observed - other.value * other.observed, one.observed.float() - other.observed.float()], 1).norm(dim=1)
    return (encoder(one).h - encoder(other).h).norm(dim=1)[there > 0] / there[there > 0]


def _steepest(encoder: Encoder, part: Vector) -> Tensor:
    """For each row the direction of its numbers in which the token moves most, (P, F)."""
    jacobian = torch.autograd.functional.jacobian(lambda value: encoder(replace(part, value=value)).h.sum(0), part.value)
    return torch.linalg.svd(jacobian.transpose(0, 1))[2][:, 0]


def settle_spectral_norms(encoder: Encoder, part: Vector) -> None:
    """Turns the power iteration of spectral norms until it stands; training does a step with each batch."""
    encoder.train()
    for _ in range(200):
        encoder(part)
    encoder.eval()

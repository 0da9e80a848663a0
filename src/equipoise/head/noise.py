"""Noise of draws: draw s is a function of (seed, s) alone, whatever the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from equipoise.contract.counter import stream_seed
from equipoise.contract.tensors import generator


@final
class DrawNoise:
    """Standard normal numbers of every draw; the last answer is kept, because predicting asks for the same draws batch after batch.

    What is kept is a function of counters and of no weight, so it is never out of date.
    """

    def __init__(self) -> None:
        self._asked: tuple[object, ...] = ()
        self._kept: list[Tensor] = []

    def __call__(self, seed: int, n_draws: int, size: int, like: Tensor) -> Tensor:
        """(n_draws, size); row s comes from ``stream_seed("draw", seed, s)``.

        Args:
            seed: of the draws.
            n_draws: S.
            size: numbers a draw.
            like: gives dtype and device.
        """
        return self.by_shape(seed, n_draws, [torch.Size([size])], like)[0]

    def by_shape(self, seed: int, n_draws: int, shapes: Sequence[torch.Size], like: Tensor) -> list[Tensor]:
        """(n_draws, *shape) for each shape; a draw takes them from its stream one after the other."""
        asked = (seed, n_draws, *shapes, like.dtype, like.device)
        if asked != self._asked:
            self._kept = [noise.to(like) for noise in normal_draws(seed, n_draws, shapes)]
            self._asked = asked
        return self._kept


def normal_draws(seed: int, n_draws: int, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Standard normal f32 (n_draws, *shape) for each shape, one stream a draw."""
    stream, drawn = generator(0), []
    for s in range(n_draws):
        stream.manual_seed(stream_seed("draw", seed, s))
        drawn.append([torch.randn(shape, generator=stream) for shape in shapes])
    return [torch.stack(own) for own in zip(*drawn, strict=True)]


def row_noise(seed: int, like: Tensor) -> Tensor:
    """Standard normal numbers shaped as ``like``, for training, where every row may have noise of its own: a function of the step's seed."""
    return torch.randn(like.shape, generator=generator(seed)).to(like)

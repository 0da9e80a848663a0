"""Learning-rate schedules: pure functions of how far training is, so that resuming needs no state."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final


class Schedule(ABC):
    """A factor on the learning rate."""

    @abstractmethod
    def __call__(self, epochs: float, max_epochs: int) -> float:
        """The factor, in [0, 1].

        Args:
            epochs: epochs done, parts of one counted.
            max_epochs: the most that there can be.
        """


@final
class Constant(Schedule):
    """1 after a linear warm-up.

    Args:
        warmup_epochs: >= 0.

    >>> [Constant(warmup_epochs=2.0)(t, 10) for t in (0.0, 1.0, 2.0, 9.0)]
    [0.0, 0.5, 1.0, 1.0]
    """

    def __init__(self, *, warmup_epochs: float) -> None:
        self._warmup_epochs = float(warmup_epochs)

    def __call__(self, epochs: float, max_epochs: int) -> float:
        return _warmed(epochs, self._warmup_epochs)


@final
class Cosine(Schedule):
    """After a linear warm-up, ``final + (1 - final) (1 + cos(pi t)) / 2`` with t the share of the remaining epochs.

    Args:
        warmup_epochs: >= 0.
        final: in [0, 1], the factor at the end.

    Source: Loshchilov and Hutter (2017), eq. 5, one cycle.

    >>> [round(Cosine(warmup_epochs=0.0, final=0.1)(t, 10), 3) for t in (0.0, 5.0, 10.0)]
    [1.0, 0.55, 0.1]
    """

    def __init__(self, *, warmup_epochs: float, final: float) -> None:
        self._warmup_epochs, self._final = float(warmup_epochs), float(final)

    def __call__(self, epochs: float, max_epochs: int) -> float:
        if epochs < self._warmup_epochs:
            return _warmed(epochs, self._warmup_epochs)
        share = min((epochs - self._warmup_epochs) / max(max_epochs - self._warmup_epochs, 1e-9), 1.0)
        return self._final + (1 - self._final) * (1 + math.cos(math.pi * share)) / 2


def _warmed(epochs: float, warmup_epochs: float) -> float:
    return min(epochs / warmup_epochs, 1.0) if warmup_epochs > 0 else 1.0

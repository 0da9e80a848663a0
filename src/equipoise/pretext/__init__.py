"""Pretexts: what an encoder of events can learn without labels. A row's tokens at an earlier moment of its own -> likelihood of what came after."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Future

OUTPUT_GAIN = 0.1
"""Weights of what is foretold start at N(0, (OUTPUT_GAIN)^2 / inputs): near the base rates, as a model's head does."""


class Pretext(nn.Module, ABC):
    """A likelihood of the future given a row's vector.

    A final class takes the keywords ``spec`` (the fitted view's) and ``d_model`` from `assemble`; all others stand in its yaml.
    Laws: the vector 0 says the base rates; a row's loss is its own; the order of events of one time says nothing; gradients reach every parameter.

    Args:
        cuts: moments to which a row goes back in an epoch, >= 1.
        at_moments: share of them, in [0, 1], that lie at a moment of the row's own events; the others lie anywhere in its time.

    Raises:
        UserError: they are not such numbers.
    """

    def __init__(self, *, cuts: int, at_moments: float) -> None:
        super().__init__()
        if cuts < 1 or not 0 <= at_moments <= 1:
            found = f"cuts {cuts}, at_moments {at_moments}"
            raise UserError("The pretext's moments are no choice", expected="cuts >= 1, at_moments in [0, 1]", found=found, mend="correct them")
        self.cuts, self.at_moments = cuts, at_moments

    @abstractmethod
    def setup(self, future: Future) -> None:
        """Reads the base rates, from train rows alone, once and before training."""

    @abstractmethod
    def forward(self, z: Tensor, future: Future) -> Tensor:
        """Negative log likelihood of what came after, f32 (B,), nats, of vectors f32 (B, D)."""

    @abstractmethod
    def penalty(self) -> Tensor:
        """Negative log prior density of its weights up to a constant, (), in nats."""


def start_output(d_in: int, d_out: int) -> nn.Linear:
    """A linear map without bias that starts near 0; the base rates stand beside it."""
    made = nn.Linear(d_in, d_out, bias=False)
    nn.init.normal_(made.weight, std=OUTPUT_GAIN * d_in**-0.5)
    return made

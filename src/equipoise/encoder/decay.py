"""Learned decay with the time since."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.prior import gaussian


class Decay(nn.Module):
    """``exp(-max(0, rate * days + shift))``, a rate > 0 and a shift for each of n things.

    Args:
        n: how many.
        half_life_days: of all of them at the start, days > 0. With more than one value, n things between the first and the last, evenly on a log scale.
        shifted: False holds the shift at 0: then nothing is lost in no time, and in two spans what is lost in their sum.

    Source: Che et al. (2018), the decay rate, with one rate for each thing, kept above 0: time may only take away.
    """

    shift: nn.Parameter | None

    def __init__(self, n: int, *half_life_days: float, shifted: bool = True) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(-torch.linspace(log(half_life_days[0]), log(half_life_days[-1]), n) + log(log(2)))
        self.register_parameter("shift", nn.Parameter(torch.zeros(n)) if shifted else None)
        self.register_buffer("first_log_rate", self.log_rate.detach().clone(), persistent=False)

    def forward(self, days: Tensor, which: Tensor | None = None) -> Tensor:
        """What is left after these days: f32 (N, n) of (N,) for all n, or (N,) for the one thing ``which`` (N,) of each."""
        lost = days[:, None] * self.log_rate.exp() if which is None else days * self.log_rate.exp()[which]
        if self.shift is not None:
            lost = F.relu(lost + (self.shift if which is None else self.shift[which]))
        return torch.exp(-lost)

    def penalty(self) -> Tensor:
        """Half-lives around where they start, within a factor of e^2; shifts around 0, within 1. (), in nats."""
        of_rates = gaussian(self.log_rate - self.get_buffer("first_log_rate"), 2.0, 1)
        return of_rates if self.shift is None else of_rates + gaussian(self.shift, 1.0, 1)

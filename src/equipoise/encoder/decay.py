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

    Source: Che et al. (2018), the decay rate, with one rate for each thing, kept above 0: time may only take away.
    """

    def __init__(self, n: int, *half_life_days: float) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(-torch.linspace(log(half_life_days[0]), log(half_life_days[-1]), n) + log(log(2)))
        self.shift = nn.Parameter(torch.zeros(n))
        self.register_buffer("first_log_rate", self.log_rate.detach().clone(), persistent=False)

    def forward(self, days: Tensor, which: Tensor | None = None) -> Tensor:
        """What is left after these days: f32 (N, n) of (N,) for all n, or (N,) for the one thing ``which`` (N,) of each."""
        if which is None:
            return torch.exp(-F.relu(days[:, None] * self.log_rate.exp() + self.shift))
        return torch.exp(-F.relu(days * self.log_rate.exp()[which] + self.shift[which]))

    def penalty(self) -> Tensor:
        """Half-lives around where they start, within a factor of e^2; shifts around 0, within 1. (), in nats."""
        return gaussian(self.log_rate - self.get_buffer("first_log_rate"), 2.0, 1) + gaussian(self.shift, 1.0, 1)

"""An event's time by a small perceptron."""

from __future__ import annotations

from math import log1p
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.prior import gaussian


@final
class TimePerceptron(nn.Module):
    """``W tanh(w t + b)``, t the log time, -1 now and 1 ten years back: ``2 log(1 + time_days / shortest_days) / log(1 + 3650 / shortest_days) - 1``.

    Statics have a vector in its place. At the start the bends of the units lie evenly over t.

    Args:
        n_hidden: units.
        shortest_days: the time that is well told apart from now, days > 0.
        d_model: D.

    Source: Tipirneni and Reddy (2022), STraTS (continuous value embedding); log time is ours.
    """

    def __init__(self, n_hidden: int, shortest_days: float, d_model: int) -> None:
        super().__init__()
        self._shortest_days, self._half_span = shortest_days, log1p(3650 / shortest_days) / 2
        self.hidden, self.out = nn.Linear(1, n_hidden), nn.Linear(n_hidden, d_model, bias=False)
        self.static = nn.Parameter(torch.randn(d_model) * d_model**-0.5)
        with torch.no_grad():
            self.hidden.weight.fill_(n_hidden / 2)
            self.hidden.bias.copy_(-self.hidden.weight[:, 0] * (2 * torch.arange(n_hidden) + 1 - n_hidden) / n_hidden)

    def forward(self, time_days: Tensor, timed: Tensor) -> Tensor:
        """f32 (N, D) of f32 (N,) and bool (N,)."""
        t = torch.log1p(time_days / self._shortest_days)[:, None] / self._half_span - 1
        return torch.where(timed[:, None], self.out(torch.tanh(self.hidden(t))), self.static)

    def penalty(self, scale: float) -> Tensor:
        """Of the static vector; torch's layers are counted by `of_layers`."""
        return gaussian(self.static, scale, self.static.shape[0])

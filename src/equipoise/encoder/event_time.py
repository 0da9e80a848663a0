"""How an event tells its time: waves added to its vector, or queries and keys turned by it. Time is ``t = log(1 + time_days / shortest_days)``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import log, pi
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.prior import gaussian


class EventTime(nn.Module, ABC):
    """Learned frequencies of the time, and a vector in its place for statics.

    Args:
        n_frequencies: how many; at the start the slowest turns half over ten years, the fastest every 5 % of their logarithm.
        shortest_days: the time that is well told apart from now, days > 0.
    """

    static: nn.Parameter
    """Of statics, (D,)."""

    def __init__(self, n_frequencies: int, shortest_days: float) -> None:
        super().__init__()
        self._shortest_days = shortest_days
        # Ten years back is log(1 + 3650 / shortest).
        span = log(1 + 3650 / shortest_days)
        self.log_frequency = nn.Parameter(torch.linspace(log(2 * pi / (2 * span)), log(2 * pi / (0.05 * span)), n_frequencies))
        self.register_buffer("first_log_frequency", self.log_frequency.detach().clone(), persistent=False)

    @abstractmethod
    def forward(self, time_days: Tensor, timed: Tensor) -> Tensor:
        """What is added to the events' vectors, (N, D) of (N,) and (N,)."""

    def logged(self, time_days: Tensor) -> Tensor:
        """t (N, 1) of (N,)."""
        return torch.log1p(time_days / self._shortest_days)[:, None]

    def penalty(self, scale: float) -> Tensor:
        """Beside those of torch's layers: of the static vector, and of the frequencies around where they start, within a factor of e."""
        return gaussian(self.static, scale, self.static.shape[0]) + gaussian(self.log_frequency - self.get_buffer("first_log_frequency"), 1.0, 1)


@final
class TimeWaves(EventTime):
    """``W [sin(f t), cos(f t), t]``.

    Source: Kazemi et al. (2019), Time2Vec, with sine and cosine.
    """

    def __init__(self, n_frequencies: int, shortest_days: float, d_model: int) -> None:
        super().__init__(n_frequencies, shortest_days)
        self.linear = nn.Linear(2 * n_frequencies + 1, d_model, bias=False)
        self.static = nn.Parameter(torch.randn(d_model) * d_model**-0.5)

    def forward(self, time_days: Tensor, timed: Tensor) -> Tensor:
        t = self.logged(time_days)
        angle = t * self.log_frequency.exp()
        return torch.where(timed[:, None], self.linear(torch.cat([angle.sin(), angle.cos(), t], 1)), self.static)


@final
class TimeTurns(EventTime):
    """Rotary: pair i of a query's and a key's numbers is turned by ``f_i t``, so that attention knows the difference of two times and nothing else of them.

    Statics and the summary have t = 0, now; statics have their vector besides.

    Source: Su et al. (2021), eq. 34, with times for positions and learned frequencies.
    """

    def __init__(self, n_frequencies: int, shortest_days: float, d_model: int) -> None:
        super().__init__(n_frequencies, shortest_days)
        self.static = nn.Parameter(torch.randn(d_model) * d_model**-0.5)

    def forward(self, time_days: Tensor, timed: Tensor) -> Tensor:
        return self.static * (~timed)[:, None]

    def turns(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine (N, 1, F) by which queries and keys of times t (N, 1) are turned."""
        angle = (t * self.log_frequency.exp())[:, None, :]
        return angle.cos(), angle.sin()


def turned(qkv: Tensor, n_heads: int, cosine: Tensor, sine: Tensor) -> Tensor:
    """(N, 3 D) of (N, 3 D) with each head's queries and keys turned in the planes (i, i + d / 2)."""
    n, width = qkv.shape
    q, k, v = qkv.reshape(n, 3, n_heads, width // (3 * n_heads)).unbind(1)
    both = torch.stack([q, k], 1)
    a, b = both.chunk(2, -1)
    cosine, sine = cosine[:, None].to(qkv.dtype), sine[:, None].to(qkv.dtype)
    both = torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1)
    return torch.cat([both, v[:, None]], 1).reshape(n, width)

"""A time-aware transformer over events, packed: attention stays within a row and nothing is padded."""

from __future__ import annotations

from math import log, pi
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.packed import lengths, offsets_of, segment_index
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Events, EventsSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.attention import Within, within
from equipoise.encoder.event_embedding import EventEmbedding


@final
class Transformer(Encoder):
    """Pre-norm transformer over a row's events and one learned summary token, which alone stands for a present row without events.

    Events are `EventEmbedding` plus learned waves of ``log(1 + time_days / shortest_days)``; statics have a vector in the place of the time.
    Linear layers see all events at once; how attention stays within the rows is `attention.within`'s choice, made once for all blocks.

    Args:
        spec: of the view.
        d_model: D, divisible by n_heads.
        n_layers: blocks.
        n_heads: attention heads.
        feedforward: width of the feed-forward layer, in multiples of D.
        n_waves: learned frequencies of the time.
        shortest_days: the time that is well told apart from now, days > 0.
        output: "summary" gives one token a row, "sequence" all of them.
        dropout: after attention and feed-forward.
        prior_scale: see `contract.prior`.

    Source: Vaswani et al. (2017); pre-norm, Xiong et al. (2020); learned time waves, Kazemi et al. (2019).
    """

    accepts = Events

    def __init__(
        self,
        *,
        spec: EventsSpec,
        d_model: int,
        n_layers: int,
        n_heads: int,
        feedforward: int,
        n_waves: int,
        shortest_days: float,
        output: str,
        dropout: float,
        prior_scale: float,
    ) -> None:
        super().__init__()
        if d_model % n_heads:
            raise UserError(f"d_model {d_model} is not divisible by the transformer's n_heads {n_heads}", mend="change one of them")
        self._output, self._prior_scale, self._d_head = output, prior_scale, d_model // n_heads
        self.events = EventEmbedding(spec.n_codes, d_model)
        self.time = _TimeWaves(n_waves, shortest_days, d_model)
        self.summary = nn.Parameter(torch.randn(d_model) * d_model**-0.5)
        self.blocks = nn.ModuleList([_Block(d_model, n_heads, feedforward * d_model, dropout) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(d_model)

    def forward(self, part: Events) -> Tokens:  # type: ignore[override]
        x = self.events(part.code, part.value, part.observed) + self.time(part.time_days, part.timed)
        x, offsets = self._with_summary(x, part.offsets)
        rows = within(offsets, x, d_head=self._d_head, longest=None if part.longest is None else part.longest + 1)
        x = self.through(rows.enter(x), rows)
        if self._output == "summary":
            h, n_tokens = rows.last(x), torch.ones_like(part.rows)
        else:
            h, n_tokens = rows.leave(x), lengths(offsets)
        count = torch.zeros(part.size, dtype=torch.int64, device=x.device).index_copy(0, part.rows, n_tokens)
        return Tokens(h=self.norm(h), offsets=offsets_of(count))

    def through(self, x: Tensor, rows: Within) -> Tensor:
        """The blocks, (N, D) of (N, D)."""
        for block in self.blocks:
            x = block(x, rows)
        return x

    def penalty(self) -> Tensor:
        own = gaussian(self.summary, self._prior_scale, self.summary.shape[0]) + self.time.penalty(self._prior_scale)
        return of_layers(self, self._prior_scale) + own

    def _with_summary(self, x: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Every row's events with the summary token behind them."""
        n_rows = offsets.shape[0] - 1
        grown = offsets + torch.arange(n_rows + 1, device=x.device)
        place = torch.arange(x.shape[0], device=x.device) + segment_index(offsets, x.shape[0])
        out = self.summary.expand(x.shape[0] + n_rows, -1).index_copy(0, place, x)
        return out, grown


class _TimeWaves(nn.Module):
    """``W [sin(f t), cos(f t), t]`` of ``t = log(1 + time_days / shortest_days)``, f learned; a vector of its own for statics."""

    def __init__(self, n_waves: int, shortest_days: float, d_model: int) -> None:
        super().__init__()
        self._shortest_days = shortest_days
        # Ten years back is log(1 + 3650 / shortest): the slowest wave spans that once, the fastest turns every 5 %.
        span = log(1 + 3650 / shortest_days)
        self.log_frequency = nn.Parameter(torch.linspace(log(2 * pi / (2 * span)), log(2 * pi / (0.05 * span)), n_waves))
        self.register_buffer("first_log_frequency", self.log_frequency.detach().clone(), persistent=False)
        self.linear = nn.Linear(2 * n_waves + 1, d_model, bias=False)
        self.static = nn.Parameter(torch.randn(d_model) * d_model**-0.5)

    def forward(self, time_days: Tensor, timed: Tensor) -> Tensor:
        t = torch.log1p(time_days / self._shortest_days)[:, None]
        angle = t * self.log_frequency.exp()
        return torch.where(timed[:, None], self.linear(torch.cat([angle.sin(), angle.cos(), t], 1)), self.static)

    def penalty(self, scale: float) -> Tensor:
        """Beside the linear layer's: the static vector's, and of the frequencies around where they start, within a factor of e."""
        return gaussian(self.static, scale, self.static.shape[0]) + gaussian(self.log_frequency - self.get_buffer("first_log_frequency"), 1.0, 1)


class _Block(nn.Module):
    def __init__(self, d_model: int, n_heads: int, d_feedforward: int, dropout: float) -> None:
        super().__init__()
        self._n_heads = n_heads
        self.before_attention, self.before_feedforward = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.project = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.feedforward = nn.Sequential(nn.Linear(d_model, d_feedforward), nn.GELU(), nn.Linear(d_feedforward, d_model))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rows: Within) -> Tensor:
        x = x + self.dropout(self.project(rows.attend(self.qkv(self.before_attention(x)), self._n_heads)))
        return x + self.dropout(self.feedforward(self.before_feedforward(x)))

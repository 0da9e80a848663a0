"""A time-aware transformer over events, packed: attention stays within a row and nothing is padded."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.attention_heads import checked_heads
from equipoise.contract.errors import UserError
from equipoise.contract.packed import lengths, offsets_of
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Events, EventsSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.attention import Within, within
from equipoise.encoder.attention_block import AttentionBlock
from equipoise.encoder.event_embedding import EventEmbedding
from equipoise.encoder.event_time import TimeTurns, TimeWaves
from equipoise.encoder.with_last import with_last


@final
class Transformer(Encoder):
    """Pre-norm transformer over a row's events and one learned summary token, which alone stands for a present row without events.

    Events are `EventEmbedding`, with learned waves of ``log(1 + time_days / shortest_days)`` added, or queries and keys turned by it; statics have a vector of
    their own in its place.
    Linear layers see all events at once; how attention stays within the rows is `attention.within`'s choice, made once for all blocks.

    Args:
        spec: of the view.
        d_model: D, divisible by n_heads.
        n_layers: blocks.
        n_heads: attention heads.
        feedforward: width of the feed-forward layer, in multiples of D.
        time: "waves" or "rotary", see `event_time`.
        n_waves: learned frequencies of the waves; rotary has half a head's width of them.
        shortest_days: the time that is well told apart from now, days > 0.
        output: "summary" gives one token a row, "sequence" all of them.
        dropout: after attention and feed-forward.
        prior_scale: see `contract.prior`.

    Source: Vaswani et al. (2017); pre-norm, Xiong et al. (2020); times as in `event_time`.
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
        time: str,
        n_waves: int,
        shortest_days: float,
        output: str,
        dropout: float,
        prior_scale: float,
    ) -> None:
        super().__init__()
        d_head = d_model // checked_heads(d_model, n_heads, "transformer")
        if time == "rotary" and d_head % 2:
            raise UserError(
                f"Heads of width {d_head} cannot be turned in pairs", mend="choose d_model and n_heads for an even width, or the encoder's time=waves"
            )
        if time not in ("waves", "rotary"):
            raise UserError(f"The transformer's time is {time!r}", expected="waves or rotary", mend="choose one of them")
        self._output, self._prior_scale, self._d_head = output, prior_scale, d_head
        self.events = EventEmbedding(spec.n_codes, d_model)
        self.time = TimeWaves(n_waves, shortest_days, d_model) if time == "waves" else TimeTurns(d_head // 2, shortest_days, d_model)
        self.summary = nn.Parameter(torch.randn(d_model) * d_model**-0.5)
        self.blocks = nn.ModuleList([AttentionBlock(d_model, n_heads, feedforward * d_model, dropout) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(d_model)

    def forward(self, part: Events) -> Tokens:  # type: ignore[override]
        x = self.events(part.code, part.value, part.observed) + self.time(part.time_days, part.timed)
        x, offsets = with_last(x, self.summary, part.offsets)
        rows = within(offsets, x, d_head=self._d_head, longest=None if part.longest is None else part.longest + 1)
        x = self.through(rows.enter(x), rows, self._turns(part, rows))
        if self._output == "summary":
            h, n_tokens = rows.last(x), torch.ones_like(part.rows)
        else:
            h, n_tokens = rows.leave(x), lengths(offsets)
        count = torch.zeros(part.size, dtype=torch.int64, device=x.device).index_copy(0, part.rows, n_tokens)
        return Tokens(h=self.norm(h), offsets=offsets_of(count))

    def through(self, x: Tensor, rows: Within, turns: tuple[Tensor, Tensor] | None) -> Tensor:
        """The blocks, (N, D) of (N, D)."""
        for block in self.blocks:
            x = block(x, rows, turns)
        return x

    def penalty(self) -> Tensor:
        own = gaussian(self.summary, self._prior_scale, self.summary.shape[0]) + self.time.penalty(self._prior_scale)
        return of_layers(self, self._prior_scale) + own

    def _turns(self, part: Events, rows: Within) -> tuple[Tensor, Tensor] | None:
        if not isinstance(self.time, TimeTurns):
            return None
        t, _ = with_last(self.time.logged(part.time_days), part.time_days.new_zeros(1), part.offsets)
        return self.time.turns(rows.enter(t))

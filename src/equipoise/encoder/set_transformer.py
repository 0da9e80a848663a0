"""A transformer over a row's events as a set: what, how much and when, in no order."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.attention_heads import checked_heads
from equipoise.contract.packed import segment_softmax, segment_sum
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Events, EventsSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.attention import within
from equipoise.encoder.attention_block import AttentionBlock
from equipoise.encoder.event_embedding import EventEmbedding
from equipoise.encoder.one_token import one_token_each
from equipoise.encoder.time_perceptron import TimePerceptron
from equipoise.encoder.with_last import with_last


@final
class SetTransformer(Encoder):
    """Every event is a triplet (code, value, time); attention within the row mixes them, and attention pools them into one token.

    An event is the sum of its `EventEmbedding` and its `TimePerceptron`. Pooling: ``sum_i w_i x_i`` with ``w = softmax(u' tanh(W x_i + b))`` within the row.
    A learned vector is one more member of every set, and the only one of a present row without events. The order in which a row's events lie
    changes nothing: time is all that orders them.

    Args:
        spec: of the view.
        d_model: D, divisible by n_heads.
        n_layers: blocks.
        n_heads: attention heads.
        feedforward: width of the feed-forward layer, in multiples of D.
        n_time: units of the perceptron of time.
        shortest_days: the time that is well told apart from now, days > 0.
        dropout: after attention and feed-forward.
        prior_scale: see `contract.prior`.

    Raises:
        UserError: the heads do not divide the width.

    Source: Tipirneni and Reddy (2022), STraTS; pre-norm blocks, per-code affine values and the learned member are ours.
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
        n_time: int,
        shortest_days: float,
        dropout: float,
        prior_scale: float,
    ) -> None:
        super().__init__()
        self._prior_scale, self._d_head = prior_scale, d_model // checked_heads(d_model, n_heads, "set transformer")
        self.events = EventEmbedding(spec.n_codes, d_model)
        self.time = TimePerceptron(n_time, shortest_days, d_model)
        self.member = nn.Parameter(torch.randn(d_model) * d_model**-0.5)
        self.blocks = nn.ModuleList([AttentionBlock(d_model, n_heads, feedforward * d_model, dropout) for _ in range(n_layers)])
        self.before_pooling, self.norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.score = nn.Sequential(nn.Linear(d_model, d_model), nn.Tanh(), nn.Linear(d_model, 1, bias=False))

    def forward(self, part: Events) -> Tokens:  # type: ignore[override]
        x = self.events(part.code, part.value, part.observed) + self.time(part.time_days, part.timed)
        x, offsets = with_last(x, self.member, part.offsets)
        rows = within(offsets, x, d_head=self._d_head, longest=None if part.longest is None else part.longest + 1)
        x = rows.enter(x)
        for block in self.blocks:
            x = block(x, rows)
        return one_token_each(self.norm(self._pooled(rows.leave(x), offsets)), part)

    def penalty(self) -> Tensor:
        own = gaussian(self.member, self._prior_scale, self.member.shape[0]) + self.time.penalty(self._prior_scale)
        return of_layers(self, self._prior_scale) + own

    def _pooled(self, x: Tensor, offsets: Tensor) -> Tensor:
        """(P, D) of (N, D)."""
        weight = segment_softmax(self.score(self.before_pooling(x)).to(x.dtype), offsets)
        return segment_sum(weight * x, offsets)

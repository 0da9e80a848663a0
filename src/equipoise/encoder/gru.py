"""A gated recurrent unit over events pooled into time bins."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from equipoise.contract.packed import segment_sum
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Events, EventsSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.event_embedding import EventEmbedding
from equipoise.encoder.one_token import one_token_each
from equipoise.encoder.state_pooling import WAYS, check_pooling, pooled
from equipoise.encoder.statics import sum_of_statics
from equipoise.encoder.steps import Steps
from equipoise.encoder.time_bins import TimeBins, times_in_bin


@final
class Gru(Encoder):
    """Reads a row's past bin by bin, oldest first; statics make the first hidden state.

    A bin's input is the layer-normalised sum over its codes of the mean of their events' vectors (see `EventEmbedding`), so that a value measured ten times
    an hour does not drown the others, with ``log(1 + gap)`` since the bin before and ``log(1 + age)`` up to the prediction time, both in bins.
    The token is a linear map of the last hidden state, or of [last, mean, maximum] over the bins.
    Sequences are packed by length, never padded.

    Args:
        spec: of the view.
        d_model: D.
        d_hidden: width of events and hidden state.
        n_layers: GRU layers.
        bin_days: width of a time bin, days > 0; 0.0416667 is an hour, for intensive care.
        pooling: "last" or "all".
        dropout: of the bins' inputs and of the pooled state.
        prior_scale: see `contract.prior`.

    Source: Cho et al. (2014) for the unit; the binning is ours.
    """

    accepts = Events

    def __init__(
        self, *, spec: EventsSpec, d_model: int, d_hidden: int, n_layers: int, bin_days: float, pooling: str, dropout: float, prior_scale: float
    ) -> None:
        super().__init__()
        check_pooling(pooling)
        self._bin_days, self._pooling, self._prior_scale = bin_days, pooling, prior_scale
        self.events = EventEmbedding(spec.n_codes, d_hidden)
        self.norm = nn.LayerNorm(d_hidden)
        self.start = nn.Sequential(nn.LayerNorm(d_hidden), nn.Linear(d_hidden, n_layers * d_hidden), nn.Tanh())
        self.no_statics = nn.Parameter(torch.randn(d_hidden) * d_hidden**-0.5)
        self.gru = nn.GRU(d_hidden + 2, d_hidden, n_layers)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(d_hidden * WAYS[pooling], d_model)

    def forward(self, part: Events) -> Tokens:  # type: ignore[override]
        x = self.events(part.code, part.value, part.observed)
        state = self._first_state(x, part)
        bins = TimeBins.of(part, self._bin_days)
        states, last = self._read(self._inputs(x[part.timed], part, bins), bins.offsets, state)
        return one_token_each(self.out(self.dropout(pooled(states, bins.offsets, state[-1], last, self._pooling))), part)

    def penalty(self) -> Tensor:
        return of_layers(self, self._prior_scale) + gaussian(self.no_statics, self._prior_scale, self.no_statics.shape[0])

    def _first_state(self, x: Tensor, part: Events) -> Tensor:
        """f32 (layers, P, H) from the sum of the statics' vectors."""
        state = self.start(sum_of_statics(x, part) + self.no_statics)
        return state.reshape(-1, self.gru.num_layers, self.gru.hidden_size).transpose(0, 1).contiguous()

    def _inputs(self, x: Tensor, part: Events, bins: TimeBins) -> Tensor:
        """f32 (bins of all rows, H + 2)."""
        code = part.code[part.timed].to(torch.int64)
        x = x / times_in_bin(bins.of_event, code, self.events.code.num_embeddings)[:, None]
        return torch.cat([self.dropout(self.norm(segment_sum(x, bins.events))), torch.log1p(bins.gap)[:, None], torch.log1p(bins.age)[:, None]], 1)

    def _read(self, inputs: Tensor, offsets: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The top layer's states f32 (bins, H), and the last one of each row, f32 (P, H); a row without bins keeps its first state."""
        if not inputs.shape[0]:
            return state.new_zeros((0, state.shape[2])), state[-1]
        steps = Steps(offsets)
        hidden, last = self.gru(PackedSequence(inputs[steps.order], steps.sizes), state[:, steps.rows])
        return steps.back(hidden.data), state[-1].index_copy(0, steps.rows, last[-1])

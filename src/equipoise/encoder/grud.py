"""GRU-D: a gated recurrent unit for which last values, and what it remembers, fade with the time since."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.packed import segment_sum
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Events, EventsSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.decay import Decay
from equipoise.encoder.event_embedding import EventEmbedding
from equipoise.encoder.last_values import LastValues
from equipoise.encoder.one_token import one_token_each
from equipoise.encoder.state_pooling import WAYS, check_pooling, pooled
from equipoise.encoder.statics import sum_of_statics
from equipoise.encoder.steps import Steps
from equipoise.encoder.time_bins import TimeBins, times_in_bin


@final
class GruD(Encoder):
    """Reads a row's past bin by bin, oldest first; statics make the first hidden state, and the last one fades up to the prediction time.

    A bin's input is the layer norm of two sums side by side: over the codes in the bin, of the mean of their events' vectors (see `EventEmbedding`); and
    over the codes with a value in an earlier bin and none in this one, of ``left_code(days since) * x_code``, x the mean vector of the code's last
    events with a value. Standardised values have train mean 0 and their vectors fade to 0, so a value fades to the train mean, and so does that it
    was ever measured. Codes without values count in their own bin alone. Before each step the hidden state is multiplied by ``left(days since
    the bin before)``, for each of its numbers. Both are `Decay`.

    The original has one weight for every pair of a code and a hidden unit in the fading of the hidden state; here it knows the time since
    anything was recorded, so that thousands of codes cost nothing. Nothing is padded; a batch costs one number for each code that is carried into a bin.

    Args:
        spec: of the view.
        d_model: D.
        d_hidden: width of events and hidden state.
        bin_days: width of a time bin, days > 0; 0.0416667 is an hour, for intensive care; 0.0006944, a minute, is event time.
        value_half_life_days: of last values at the start, days > 0.
        state_half_life_days: of the hidden state at the start, days > 0: the shortest and the longest, between which its numbers are spread.
        pooling: "last" or "all", see `state_pooling`.
        dropout: of the bins' inputs and of the pooled state.
        prior_scale: see `contract.prior`.

    Source: Che et al. (2018), GRU-D; the fading up to the prediction time is ours.
    """

    accepts = Events

    def __init__(
        self,
        *,
        spec: EventsSpec,
        d_model: int,
        d_hidden: int,
        bin_days: float,
        value_half_life_days: float,
        state_half_life_days: list[float],
        pooling: str,
        dropout: float,
        prior_scale: float,
    ) -> None:
        super().__init__()
        check_pooling(pooling)
        self._bin_days, self._pooling, self._prior_scale = bin_days, pooling, prior_scale
        self.events = EventEmbedding(spec.n_codes, d_hidden)
        self.value_left = Decay(spec.n_codes, value_half_life_days)
        self.state_left = Decay(d_hidden, *state_half_life_days)
        self.norm = nn.LayerNorm(2 * d_hidden)
        self.start = nn.Sequential(nn.LayerNorm(d_hidden), nn.Linear(d_hidden, d_hidden), nn.Tanh())
        self.no_statics = nn.Parameter(torch.randn(d_hidden) * d_hidden**-0.5)
        self.input, self.memory = nn.Linear(2 * d_hidden, 3 * d_hidden), nn.Linear(d_hidden, 3 * d_hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(d_hidden * WAYS[pooling], d_model)

    def forward(self, part: Events) -> Tokens:  # type: ignore[override]
        x = self.events(part.code, part.value, part.observed)
        first = self._first_state(x, part)
        bins = TimeBins.of(part, self._bin_days)
        states, last = self._read(self._inputs(x, part, bins), bins, first)
        return one_token_each(self.out(self.dropout(pooled(states, bins.offsets, first, last, self._pooling))), part)

    def penalty(self) -> Tensor:
        own = gaussian(self.no_statics, self._prior_scale, self.no_statics.shape[0]) + self.value_left.penalty() + self.state_left.penalty()
        return of_layers(self, self._prior_scale) + own

    def _first_state(self, x: Tensor, part: Events) -> Tensor:
        """f32 (P, H) from the sum of the statics' vectors."""
        return self.start(sum_of_statics(x, part) + self.no_statics).to(x.dtype)

    def _inputs(self, x: Tensor, part: Events, bins: TimeBins) -> Tensor:
        """f32 (T, 2 H): what each bin holds, and what is carried into it."""
        x, code, observed = x[part.timed], part.code[part.timed].to(torch.int64), part.observed[part.timed]
        n_codes = self.events.code.num_embeddings
        here = segment_sum(x / times_in_bin(bins.of_event, code, n_codes)[:, None], bins.events)
        values = LastValues.of(bins, code, observed, n_codes)
        left = self.value_left(values.since * self._bin_days, values.code[values.cell])
        return self.dropout(self.norm(torch.cat([here, values.carried(values.means(x[observed]), left)], 1)))

    def _read(self, inputs: Tensor, bins: TimeBins, first: Tensor) -> tuple[Tensor, Tensor]:
        """The states f32 (T, H), and each row's at the prediction time, f32 (P, H); a row without bins keeps its first state."""
        if not inputs.shape[0]:
            return first.new_zeros((0, first.shape[1])), first
        steps = Steps(bins.offsets)
        state, sizes, states = first[steps.rows], steps.sizes.tolist(), []
        left = self.state_left(bins.gap * self._bin_days)
        weights = (self.input.weight, self.memory.weight, self.input.bias, self.memory.bias)
        for x, kept in zip(inputs[steps.order].split(sizes), left[steps.order].split(sizes), strict=True):
            # A cell in half precision hands its state on in the precision of the decays.
            state = torch.gru_cell(x, kept * state[: x.shape[0]], *weights).to(first.dtype)
            states.append(state)
        by_row = steps.back(torch.cat(states))
        end = bins.offsets[steps.rows + 1] - 1
        now = by_row[end] * self.state_left(bins.age[end] * self._bin_days)
        return by_row, first.index_copy(0, steps.rows, now)

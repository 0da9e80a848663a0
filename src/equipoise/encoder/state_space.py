"""A state space model over events: sums that fade with elapsed time, each at its own rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.packed import offsets_of, segment_index, segment_sum
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Events, EventsSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.decay import Decay
from equipoise.encoder.event_embedding import EventEmbedding
from equipoise.encoder.fading_sum import fading_sum
from equipoise.encoder.one_token import one_token_each
from equipoise.encoder.statics import sum_of_statics
from equipoise.encoder.steps import Steps
from equipoise.encoder.time_bins import TimeBins
from equipoise.encoder.with_last import with_last


@final
class StateSpace(Encoder):
    """Layers ``x + W (r(h) * silu(G x))`` over a state h of sums that fade.

    ``h(t) = sum over events s up to t of exp(-rate (t - s)) * sigmoid(I x_s) * V x_s``, and ``r(h) = h / sqrt(1 + |h|)``, because a sum of n like events
    grows with n and its noise with the root of n. Between events h solves ``dh/dt = -rate h``, so it knows elapsed time and nothing of how many steps
    that was cut into; a convolution would need a grid of times. Rates are real, from hours to years. Events of one moment see each other, in no order.
    A learned vector, with the statics in it, stands at the prediction time as one more event; what the layers make of it is the token.

    Args:
        spec: of the view.
        d_model: D.
        n_layers: layers.
        state: numbers of a layer's state, in multiples of D.
        half_life_days: of a state's numbers at the start, days > 0: the shortest and the longest, between which they are spread.
        dropout: after each layer.
        prior_scale: see `contract.prior`.

    Source: Orvieto et al. (2023), LRU, and Smith et al. (2023), S5, for diagonal recurrences and times between steps; De et al. (2024) for real ones with
    input gates. The form is ours.
    """

    accepts = Events

    def __init__(self, *, spec: EventsSpec, d_model: int, n_layers: int, state: int, half_life_days: list[float], dropout: float, prior_scale: float) -> None:
        super().__init__()
        self._prior_scale = prior_scale
        self.events = EventEmbedding(spec.n_codes, d_model)
        self.statics = nn.Sequential(nn.LayerNorm(d_model), nn.Linear(d_model, d_model))
        self.no_statics = nn.Parameter(torch.randn(d_model) * d_model**-0.5)
        self.layers = nn.ModuleList([_Layer(d_model, state * d_model, half_life_days, dropout) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(d_model)

    def forward(self, part: Events) -> Tokens:  # type: ignore[override]
        x = self.events(part.code, part.value, part.observed)
        n_rows = part.rows.shape[0]
        offsets = offsets_of(torch.bincount(segment_index(part.offsets, x.shape[0])[part.timed], minlength=n_rows))
        x, offsets = with_last(x[part.timed], self.statics(sum_of_statics(x, part) + self.no_statics), offsets)
        if n_rows:
            days, _ = with_last(part.time_days[part.timed], part.time_days.new_zeros(()), offsets - torch.arange(n_rows + 1, device=x.device))
            moments = Moments.of(days, offsets)
            for layer in self.layers:
                x = layer(x, moments)
        return one_token_each(self.norm(x[offsets[1:] - 1]), part)

    def penalty(self) -> Tensor:
        own = gaussian(self.no_statics, self._prior_scale, self.no_statics.shape[0])
        for layer in self.layers:
            assert isinstance(layer, _Layer)
            own = own + layer.left.penalty()
        return of_layers(self, self._prior_scale) + own


@dataclass(frozen=True)
class Moments:
    """The distinct times of every row, T in all, of N events.

    Args:
        events: i64 (T+1,), moment t owns events ``events[t]:events[t+1]``.
        of_event: i64 (N,).
        gap_days: f32 (T,), since the moment before in its row; 0 for a row's first.
        steps: of the moments.
    """

    events: Tensor
    of_event: Tensor
    gap_days: Tensor
    steps: Steps

    @classmethod
    def of(cls, days: Tensor, offsets: Tensor) -> Moments:
        """Of events these days before the prediction time, oldest first within each of the rows (P+1,), none of them empty."""
        bins = TimeBins.of_equal(segment_index(offsets, days.shape[0]), days, offsets.shape[0] - 1)
        return cls(bins.events, bins.of_event, bins.gap, Steps(bins.offsets))


@final
class _Layer(nn.Module):
    def __init__(self, d_model: int, d_state: int, half_life_days: list[float], dropout: float) -> None:
        super().__init__()
        self.before, self.inner, self.project = nn.LayerNorm(d_model), nn.Linear(d_model, 3 * d_state), nn.Linear(d_state, d_model)
        self.left = Decay(d_state, *half_life_days, shifted=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, moments: Moments) -> Tensor:
        value, gate, asked = self.inner(self.before(x)).chunk(3, 1)
        left = self.left(moments.gap_days)
        added = segment_sum((torch.sigmoid(gate) * value).to(left.dtype), moments.events)
        state = fading_sum(left, added, moments.steps)
        state = state * torch.rsqrt(1 + state.abs())
        return x + self.dropout(self.project(state[moments.of_event] * F.silu(asked)))

"""A gated recurrent unit over events pooled into time bins."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from equipoise.contract.packed import lengths, offsets_of, segment_index, segment_mean, segment_sum
from equipoise.contract.prior import gaussian, of_layers
from equipoise.contract.tensors import Events, EventsSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.event_embedding import EventEmbedding
from equipoise.encoder.one_token import one_token_each


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
        self._bin_days, self._pooling, self._prior_scale = bin_days, pooling, prior_scale
        self.events = EventEmbedding(spec.n_codes, d_hidden)
        self.norm = nn.LayerNorm(d_hidden)
        self.start = nn.Sequential(nn.LayerNorm(d_hidden), nn.Linear(d_hidden, n_layers * d_hidden), nn.Tanh())
        self.no_statics = nn.Parameter(torch.randn(d_hidden) * d_hidden**-0.5)
        self.gru = nn.GRU(d_hidden + 2, d_hidden, n_layers)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(d_hidden * (3 if pooling == "all" else 1), d_model)

    def forward(self, part: Events) -> Tokens:  # type: ignore[override]
        x = self.events(part.code, part.value, part.observed)
        row = segment_index(part.offsets)
        state = self._first_state(x, row, part)
        bins, bin_offsets = self._bins(x, row, part)
        pooled = state[-1]
        if bins.shape[0]:
            pooled = self._read(bins, bin_offsets, state)
        elif self._pooling == "all":
            pooled = torch.cat([pooled, pooled, pooled], 1)
        return one_token_each(self.out(self.dropout(pooled)), part)

    def penalty(self) -> Tensor:
        return of_layers(self, self._prior_scale) + gaussian(self.no_statics, self._prior_scale, self.no_statics.shape[0])

    def _first_state(self, x: Tensor, row: Tensor, part: Events) -> Tensor:
        """f32 (layers, P, H) from the sum of the statics' vectors."""
        static = ~part.timed
        n_rows = part.rows.shape[0]
        total = x.new_zeros((n_rows, x.shape[1])).index_add(0, row[static], x[static])
        state = self.start(total + self.no_statics)
        return state.reshape(n_rows, self.gru.num_layers, self.gru.hidden_size).transpose(0, 1).contiguous()

    def _bins(self, x: Tensor, row: Tensor, part: Events) -> tuple[Tensor, Tensor]:
        """Inputs f32 (bins of all rows, H + 2), oldest first, and their offsets i64 (P+1,)."""
        x, row, code = x[part.timed], row[part.timed], part.code[part.timed].to(torch.int64)
        age = torch.floor(part.time_days[part.timed] / self._bin_days)
        new = torch.ones_like(row, dtype=torch.bool)
        new[1:] = (row[1:] != row[:-1]) | (age[1:] != age[:-1])
        first = torch.nonzero(new).flatten()
        events = torch.cat([first, first.new_tensor([row.shape[0]])])
        bin_ = torch.cumsum(new, 0) - 1
        x = x / _times_in_bin(bin_, code, self.events.code.num_embeddings)[:, None]
        row, age = row[first], age[first]
        gap = torch.zeros_like(age)
        gap[1:] = torch.where(row[1:] == row[:-1], age[:-1] - age[1:], 0.0)
        inputs = torch.cat([self.dropout(self.norm(segment_sum(x, events))), torch.log1p(gap)[:, None], torch.log1p(age)[:, None]], 1)
        return inputs, offsets_of(torch.bincount(row, minlength=part.rows.shape[0]))

    def _read(self, bins: Tensor, offsets: Tensor, state: Tensor) -> Tensor:
        """The pooled hidden states, f32 (P, H or 3 H); a row without bins keeps its first state."""
        count = lengths(offsets)
        longest_first = torch.argsort(count, descending=True, stable=True)
        longest_first = longest_first[: int((count > 0).sum())]
        rank = torch.empty_like(count)
        rank[longest_first] = torch.arange(longest_first.shape[0], device=count.device)
        owner = segment_index(offsets)
        step = torch.arange(bins.shape[0], device=bins.device) - offsets[owner]
        # Time-major order: all first bins (longest row first), then all second bins, and so on.
        order = torch.argsort(step * longest_first.shape[0] + rank[owner])
        packed = PackedSequence(bins[order], torch.bincount(step).cpu())
        hidden, last = self.gru(packed, state[:, longest_first])
        final = state[-1].index_copy(0, longest_first, last[-1])
        if self._pooling != "all":
            return final
        by_row = torch.empty_like(hidden.data).index_copy(0, order, hidden.data)
        empty = (count == 0)[:, None]
        mean = torch.where(empty, state[-1], segment_mean(by_row, offsets))
        spread = owner[:, None].expand_as(by_row)
        # Hidden states lie in (-1, 1), so -1 stands below all of them.
        top = torch.where(empty, state[-1], by_row.new_full(final.shape, -1.0).scatter_reduce(0, spread, by_row, "amax"))
        return torch.cat([final, mean, top], 1)


def _times_in_bin(bin_: Tensor, code: Tensor, n_codes: int) -> Tensor:
    """How often each event's code stands in its bin, f32 (N,)."""
    _, kind, count = torch.unique(bin_ * n_codes + code, return_inverse=True, return_counts=True)
    return count[kind].to(torch.float32)

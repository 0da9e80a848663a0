"""The next moment: when it comes, and which codes it brings."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.packed import lengths, segment_index
from equipoise.contract.prior import of_layers
from equipoise.contract.tensors import EventsSpec, Future
from equipoise.pretext import Pretext, start_output
from equipoise.pretext.pieces import Pieces, log_rates


@final
class NextEvent(Pretext):
    """``-log p(wait) - log p(codes | there is a next moment)``.

    The wait has a hazard ``exp(a_j + w_j z)`` a day in piece j and is censored at the row's end. The codes of the next moment are a set: each is in it
    with probability ``sigmoid(b_c + u_c z)``, so that events of one time have no order, and how often a code stands there says nothing.

    Args:
        spec: of the view.
        d_model: D.
        edges_days: see `Pieces`.
        cuts: see `Pretext`.
        at_moments: likewise.
        prior_scale: see `contract.prior`.

    Source: the hazard, Friedman (1982), eq. 2.1; next event and its time as one likelihood, Du et al. (2016), eq. 13. Codes as a set are ours.
    """

    base_wait: Tensor
    base_codes: Tensor

    def __init__(self, *, spec: EventsSpec, d_model: int, edges_days: list[float], cuts: int, at_moments: float, prior_scale: float) -> None:
        super().__init__(cuts=cuts, at_moments=at_moments)
        self._prior_scale = prior_scale
        self.pieces = Pieces(edges_days)
        self.wait, self.codes = start_output(d_model, self.pieces.count), start_output(d_model, spec.n_codes)
        self.register_buffer("base_wait", torch.zeros(self.pieces.count))
        self.register_buffer("base_codes", torch.zeros(spec.n_codes))

    def setup(self, future: Future) -> None:
        wait, ended, there = self._next(future)
        events = torch.bincount(self.pieces.of(wait)[ended], minlength=self.pieces.count)
        self.base_wait.copy_(log_rates(events, self.pieces.lived(wait).sum(0)))
        share = (there[ended].sum(0) + 0.5) / (ended.sum() + 1)
        self.base_codes.copy_(torch.logit(share))

    def forward(self, z: Tensor, future: Future) -> Tensor:
        wait, ended, there = self._next(future)
        log_hazard = self.base_wait + self.wait(z)
        at_end = torch.where(ended, log_hazard.gather(1, self.pieces.of(wait)[:, None])[:, 0], 0.0)
        of_wait = (self.pieces.lived(wait) * log_hazard.exp()).sum(1) - at_end
        of_codes = F.binary_cross_entropy_with_logits(self.base_codes + self.codes(z), there, reduction="none").sum(1)
        return of_wait + torch.where(ended, of_codes, 0.0)

    def penalty(self) -> Tensor:
        return of_layers(self, self._prior_scale)

    def _next(self, future: Future) -> tuple[Tensor, Tensor, Tensor]:
        """Days to the next moment or to the end (B,), whether there is one (B,), and which codes it brings, f32 (B, codes)."""
        ended = lengths(future.offsets) > 0
        row = segment_index(future.offsets, future.code.shape[0])
        wait = future.followed_days.clone()
        wait[ended] = future.days[future.offsets[:-1][ended]]  # the oldest stands first
        next_one = future.days == wait[row]
        there = wait.new_zeros((wait.shape[0], self.base_codes.shape[0]))
        there[row[next_one], future.code[next_one].to(torch.int64)] = 1.0
        return wait, ended, there

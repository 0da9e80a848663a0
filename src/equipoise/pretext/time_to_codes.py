"""The time to the first occurrence of every one of many codes."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.packed import segment_index
from equipoise.contract.prior import of_layers
from equipoise.contract.tensors import EventsSpec, Future
from equipoise.pretext import Pretext, start_output
from equipoise.pretext.pieces import Pieces, log_rates


@final
class TimeToCodes(Pretext):
    """For each code the time until it is recorded next, censored at the row's end: hazard ``exp(a_cj + (W_j z)' e_c)`` a day in piece j.

    All codes share the maps W_j to ``rank`` numbers and differ in their vector e_c, so that rare codes learn from frequent ones. The codes' times count as
    independent given z. The loss is the sum over codes.

    Args:
        spec: of the view.
        d_model: D.
        edges_days: see `Pieces`.
        codes: the most frequent codes are foretold, at most so many: memory grows with rows x pieces x codes.
        rank: of the hazards.
        cuts: see `Pretext`.
        at_moments: likewise.
        prior_scale: see `contract.prior`.

    Raises:
        UserError: nothing would be foretold.

    Source: Steinberg et al. (2023), MOTOR, section 3.2; moments drawn from a row in place of all of them are ours.
    """

    base: Tensor
    place: Tensor

    def __init__(
        self, *, spec: EventsSpec, d_model: int, edges_days: list[float], codes: int, rank: int, cuts: int, at_moments: float, prior_scale: float
    ) -> None:
        super().__init__(cuts=cuts, at_moments=at_moments)
        if codes < 1 or rank < 1:
            raise UserError("time_to_codes foretells nothing", expected="codes and rank of 1 or more", found=f"codes {codes}, rank {rank}", mend="raise them")
        self._prior_scale, self._rank, self._n_foretold = prior_scale, rank, min(codes, spec.n_codes)
        self.pieces = Pieces(edges_days)
        self.maps, self.codes = nn.Linear(d_model, self.pieces.count * rank, bias=False), start_output(rank, self._n_foretold)
        self.register_buffer("base", torch.zeros(self.pieces.count, self._n_foretold))
        self.register_buffer("place", torch.arange(spec.n_codes))  # of each code among those foretold; beyond them where it is none

    def setup(self, future: Future) -> None:
        row = segment_index(future.offsets, future.code.shape[0])
        n_codes = self.place.shape[0]
        once = torch.unique(row * n_codes + future.code)
        # Stable, so that ties fall alike on every machine.
        frequent = torch.argsort(torch.bincount(once % n_codes, minlength=n_codes), descending=True, stable=True)
        self.place[frequent] = torch.arange(n_codes, device=frequent.device)
        days, happened = self._first(future)
        piece = torch.where(happened, self.pieces.of(days), self.pieces.count)
        events = torch.stack([(piece == j).sum(0) for j in range(self.pieces.count)])
        self.base.copy_(log_rates(events, self.pieces.lived(days).sum(0).T))

    def forward(self, z: Tensor, future: Future) -> Tensor:
        days, happened = self._first(future)
        log_hazard = self.base + self.codes(self.maps(z).reshape(z.shape[0], self.pieces.count, self._rank))
        at_event = log_hazard.gather(1, self.pieces.of(days)[:, None])[:, 0]
        expected = (self.pieces.lived(days).transpose(1, 2) * log_hazard.exp()).sum(1)
        return (expected - torch.where(happened, at_event, 0.0)).sum(1)

    def penalty(self) -> Tensor:
        return of_layers(self, self._prior_scale)

    def _first(self, future: Future) -> tuple[Tensor, Tensor]:
        """Days to the first occurrence of each code foretold, or to the end, (B, codes), and whether it occurred."""
        row = segment_index(future.offsets, future.code.shape[0])
        place = self.place[future.code.to(torch.int64)]
        told = place < self._n_foretold
        n_rows = future.followed_days.shape[0]
        first = future.days.new_full((n_rows * self._n_foretold,), torch.inf)
        first = first.scatter_reduce(0, (row * self._n_foretold + place)[told], future.days[told], "amin").reshape(n_rows, self._n_foretold)
        happened = torch.isfinite(first)
        return torch.where(happened, first, future.followed_days[:, None]), happened

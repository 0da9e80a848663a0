"""Hazards that are constant within pieces of time since a moment: exact where much is censored, and bounded where times are recorded by the day."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError


@final
class Pieces(nn.Module):
    """The J pieces (0, e_1], (e_1, e_2], ..., (e_(J-1), infinity) of time.

    An event at an edge belongs to the piece that ends there: where all waits are whole days and edges are too, every event has lived in its piece, and
    no hazard grows without bound, as a continuous density of the wait does at a value that recurs.

    Args:
        edges_days: e, days > 0, increasing.

    Raises:
        UserError: they are not.
    """

    edges: Tensor

    def __init__(self, edges_days: list[float]) -> None:
        super().__init__()
        if any(b <= a for a, b in zip([0.0, *edges_days], edges_days, strict=False)):
            raise UserError(f"The pretext's edges_days are {edges_days}", expected="days above 0, increasing", mend="correct them")
        self.register_buffer("edges", torch.tensor(edges_days, dtype=torch.float32))

    @property
    def count(self) -> int:
        """J."""
        return int(self.edges.shape[0]) + 1

    def of(self, days: Tensor) -> Tensor:
        """The piece that each of these days > 0 lies in, i64, shaped alike."""
        return torch.searchsorted(self.edges, days.contiguous())

    def lived(self, days: Tensor) -> Tensor:
        """Days of each piece before these, (..., J) of (...)."""
        low = torch.cat([self.edges.new_zeros(1), self.edges])
        high = torch.cat([self.edges, self.edges.new_full((1,), torch.inf)])
        return (torch.minimum(days[..., None], high) - low).clamp(min=0)


def log_rates(events: Tensor, days: Tensor) -> Tensor:
    """Log of events over days, shaped alike, f32; where there was no event, as if half a one had come at the overall rate besides.

    Args:
        events: counts.
        days: lived under risk of them.
    """
    rate = (events.sum() / days.sum().clamp(min=1e-9)).clamp(min=1e-9)
    return torch.log(torch.where(events > 0, events / days, 0.5 / (days + 0.5 / rate))).to(torch.float32)

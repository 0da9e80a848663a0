"""What tasks share whose parameters are those of intervals of the follow-up, cut at quantiles of the train rows' event times."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from equipoise.contract.errors import UserError
from equipoise.task.follow_up import FollowUp, HorizonTask


class IntervalTask(HorizonTask):
    """Parameters of J intervals and C causes, interval by interval (K = J C). `learn` sets ``edges`` f32 (J + 1,) and ``base`` (K,), where they start.

    Args:
        target: as in `HorizonTask`.
        n_intervals: J >= 1; fewer where event times are tied.
        horizons_days: as in `HorizonTask`.
    """

    edges: Tensor
    base: tuple[float, ...]

    def __init__(self, *, target: str, n_intervals: int, horizons_days: list[float] | None) -> None:
        super().__init__(target=target, horizons_days=horizons_days)
        self.n_intervals = checked_intervals(target, n_intervals)
        self.register_buffer("edges", torch.zeros(2), persistent=False)
        self.base = (0.0,)

    @property
    def n_params(self) -> int:
        return (len(self.edges) - 1) * self.n_causes

    def start(self) -> Tensor:
        return torch.tensor(self.base)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "edges": self.edges.tolist(), "base": list(self.base)}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.edges = torch.tensor(state["edges"], dtype=torch.float32, device=self.edges.device)
        self.base = tuple(state["base"])


def checked_intervals(target: str, n_intervals: int) -> int:
    """``n_intervals``; raises UserError where it is less than one."""
    if n_intervals < 1:
        raise UserError(f"n_intervals of the task on {target!r}", expected="at least 1", found=str(n_intervals), mend="set n_intervals of the task")
    return n_intervals


def edges_of(train: FollowUp, n_intervals: int) -> Tensor:
    """0 and the quantiles of the train rows' event times, f32 (J + 1,), J <= n_intervals (fewer where times are tied): as many events in each interval."""
    times = train.time[train.event > 0].numpy()
    levels = np.arange(1, n_intervals + 1) / n_intervals
    cuts = np.unique(np.quantile(times, levels, method="inverted_cdf"))
    edges = torch.tensor([0.0, *cuts[cuts > 0].tolist()])
    # Whoever has the event at time zero, or all of them, still needs one interval.
    return edges if len(edges) > 1 else torch.tensor([0.0, float(train.time.max().clamp(min=1.0))])


def interval_of(follow_up: FollowUp, edges: Tensor) -> tuple[Tensor, Tensor]:
    """The number of the interval (t_{j-1}, t_j] that holds each time, i64 (B,), and whether an event happened by t_J, bool (B,)."""
    right = edges[1:].contiguous()
    interval = torch.searchsorted(right, follow_up.time.contiguous())
    return interval.clamp(max=len(right) - 1), (follow_up.event > 0) & (interval < len(right))


def passed_of(horizons_days: Tensor, edges: Tensor) -> Tensor:
    """The share of each interval that lies before each horizon, (H, J), in [0, 1]."""
    return ((horizons_days[:, None] - edges[:-1]) / edges.diff()).clamp(0, 1)

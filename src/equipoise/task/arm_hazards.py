"""An arm's time to event: discrete hazards, read as the risk of cause 1 by one horizon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self, final

import numpy as np
import polars as pl
import torch
from torch import Tensor

from equipoise.contract.tensors import Target
from equipoise.stats.ipcw import SMALLEST_G
from equipoise.stats.survival import censoring_survival
from equipoise.task.arm_outcome import ArmOutcome
from equipoise.task.follow_up import FollowUp, follow_up_of, horizons_of, train_follow_up
from equipoise.task.hazards import base_logits, hazard_nll, incidence, influence
from equipoise.task.intervals import checked_intervals, edges_of


@final
class HazardArm(ArmOutcome):
    """Hazards of C causes in J intervals, P = J C, interval by interval; intervals and likelihood as in `time_to_event.TimeToEventTask`, and the same
    intervals for both arms. The mean is the risk of cause 1 by the horizon, other causes competing.

    Censoring is taken to be independent of the event given the inputs and the arm, as in every likelihood of a time to event. Where an arm is moved
    for targeted regularisation, whoever is still at risk stands for those censored before, by Kaplan-Meier within the arm: there censoring must not
    depend on the inputs either, or the hazards must be right.

    Args:
        target: the target's name.
        horizon_days: > 0, within the train rows' follow-up.
        n_intervals: J >= 1; fewer where event times are tied.
    """

    kind, form = "time_to_event", "entropy"
    edges: Tensor
    kept: Tensor

    def __init__(self, target: str, horizon_days: float, n_intervals: int) -> None:
        super().__init__(target)
        self.horizon_days, self.n_intervals, self.n_causes = float(horizon_days), checked_intervals(target, n_intervals), 1
        self.register_buffer("edges", torch.tensor([0.0, float(horizon_days)]), persistent=False)
        self.register_buffer("kept", torch.ones(2, 1), persistent=False)

    @property
    def horizons_days(self) -> tuple[float, ...]:
        return (self.horizon_days,)

    def learn(self, rows: pl.DataFrame) -> Self:
        train = train_follow_up(self.target, rows)
        horizons_of(self.target, [self.horizon_days], train)
        self.edges, self.n_causes = edges_of(train, self.n_intervals), int(train.event.max())
        arm = torch.tensor(rows["treatment"].to_numpy())
        weights = (torch.where(arm == a, train.weight, 0.0) for a in (0, 1))
        self.base = tuple(tuple(base_logits(replace(train, weight=w), self.edges, self.n_causes).tolist()) for w in weights)
        self.kept = torch.stack([_kept(rows.filter(pl.col("treatment") == a), self.edges) for a in (0, 1)])
        return self

    def read(self, target: Target, used: Tensor) -> FollowUp:
        return follow_up_of(self.target, target, used, self.n_causes)

    def nll(self, arm: Tensor, outcome: Tensor | FollowUp) -> Tensor:
        assert isinstance(outcome, FollowUp)
        return hazard_nll(arm, outcome, self.edges, self.n_causes)

    def mean(self, arm: Tensor) -> Tensor:
        return incidence(arm, self.edges, self.n_causes, (self.horizon_days,))[..., 0]

    def direction(self, arms: Tensor) -> Tensor:
        """What a residual in each interval does to the risk, over the share of the arm not censored before; the hazards held still."""
        moved = influence(arms.detach(), self.edges, self.n_causes, self.horizon_days)
        return moved / self.kept.to(moved).repeat_interleave(self.n_causes, -1)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "n_causes": self.n_causes, "edges": self.edges.tolist(), "kept": self.kept.tolist()}

    def load(self, state: dict[str, Any]) -> Self:
        self.n_causes = int(state["n_causes"])
        self.edges, self.kept = (torch.tensor(state[name], dtype=torch.float32, device=self.edges.device) for name in ("edges", "kept"))
        return super().load(state)


def _kept(arm: pl.DataFrame, edges: Tensor) -> Tensor:
    """The share of an arm that is not censored before each interval, f32 (J,), at least `SMALLEST_G`."""
    time, event, entry, weight = (arm[name].to_numpy() for name in ("time_days", "event", "entry_days", "weight"))
    kept = censoring_survival(time, event, entry, weight).at(edges[:-1].double().numpy())
    return torch.tensor(np.maximum(kept, SMALLEST_G), dtype=torch.float32)

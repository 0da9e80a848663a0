"""Time to the first of several competing events: hazards that are constant within intervals."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor

from equipoise.contract.tensors import Draws, Target
from equipoise.task.follow_up import FollowUp
from equipoise.task.intervals import IntervalTask, edges_of


@final
class PiecewiseExponentialTask(IntervalTask):
    """Hazard of cause c at t in interval j: lambda_jc = exp(l_jc) a day; the parameters are l, interval by interval (K = J C).

    Exact log likelihood of a row followed from entry to t: [event of cause c in interval k] l_kc - sum_jc e_j exp(l_jc), with e_j the days of interval
    j between entry and t. Intervals end at quantiles of the train rows' event times; the last one never ends.

    Cumulative incidence of cause 1: sum over intervals of S(t_{j-1}) (lambda_j1 / lambda_j) (1 - exp(-lambda_j d)), lambda_j = sum_c lambda_jc, with d
    the interval's days before the horizon; exact, with no line drawn between edges.

    Args:
        target: a time-to-event target.
        n_intervals: J >= 1; fewer where event times are tied.
        horizons_days: as in `HorizonTask`.

    Source: Friedman (1982), eq. 2.1; Kalbfleisch and Prentice (2002), section 8.2, for competing causes.
    """

    def learn(self, train: FollowUp) -> None:
        self.edges = edges_of(train, self.n_intervals)
        self.edges[-1] = math.inf
        exposure, weight = self._exposure(train.entry, train.time).double(), train.weight.double()
        happened = train.event > 0
        events = torch.zeros(len(self.edges) - 1, self.n_causes, dtype=torch.float64)
        events.index_put_((self._interval(train.time)[happened], train.event[happened] - 1), weight[happened], accumulate=True)
        days = (exposure * weight[:, None]).sum(0)
        # Half a row's events and as much exposure as they take at the overall rate: no interval starts at a hazard of zero.
        rate = (events.sum() / days.sum().clamp(min=1.0)).clamp(min=1e-12)
        self.base = tuple(torch.log((events + 0.5 / self.n_causes) / (days + 0.5 / rate)[:, None]).flatten().tolist())

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Negative log likelihood of the piecewise constant hazards, (B,), times in days."""
        follow_up = self.follow_up(target)
        log_rate = self._log_rates(draws.value)
        cause = (follow_up.event - 1).clamp(min=0)
        at_event = torch.where(follow_up.event > 0, log_rate[:, follow_up.rows, self._interval(follow_up.time), cause], 0.0)
        expected = (self._exposure(follow_up.entry, follow_up.time) * torch.exp(log_rate).sum(-1)).sum(-1)
        return (expected - at_event).mean(0) * follow_up.weight

    def cumulative_incidence(self, draws: Draws) -> Tensor:
        """Cumulative incidence of cause 1 at every horizon, f64 (S, B, H)."""
        log_rate = self._log_rates(draws.value.double())
        total, first = torch.exp(log_rate).sum(-1), torch.softmax(log_rate, -1)[..., 0]
        horizons = torch.tensor(self.horizons_days, dtype=torch.float64, device=self.edges.device)
        days = self._exposure(torch.zeros_like(horizons), horizons)
        risks = []
        for lived in days:
            hazard = total * lived
            survived = torch.exp(hazard - hazard.cumsum(-1))
            risks.append((survived * -torch.expm1(-hazard) * first).sum(-1))
        return torch.stack(risks, -1)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "edges": self.edges.tolist()[:-1]}  # the last one is no number

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state({**state, "edges": [*state["edges"], math.inf]})

    def _log_rates(self, value: Tensor) -> Tensor:
        """(S, B, J, C)."""
        return value.reshape(*value.shape[:-1], len(self.edges) - 1, self.n_causes)

    def _interval(self, time: Tensor) -> Tensor:
        return torch.searchsorted(self.edges[1:].contiguous(), time.contiguous())

    def _exposure(self, entry: Tensor, time: Tensor) -> Tensor:
        """Days of each interval between entry and time, (B, J)."""
        edges = self.edges.to(time)
        return (torch.minimum(time[:, None], edges[1:]) - torch.maximum(entry[:, None], edges[:-1])).clamp(min=0)

"""Time to the first of several competing events: a discrete hazard for each interval and cause."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import polars as pl
import torch
from torch import Tensor

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question, horizon_label
from equipoise.contract.tensors import Draws, Target
from equipoise.task import Answer, Form, Task, observed_rows, refuse_unsupported

HORIZON_QUANTILES = (0.25, 0.5)
"""Where no horizons are given: these quantiles of the train rows' times of cause 1."""


@final
class TimeToEventTask(Task):
    """Risk of cause 1 by each horizon in the presence of C - 1 competing causes.

    Interval j is (t_{j-1}, t_j], t_0 = 0, the others quantiles of the train rows' event times, so that each holds as many events. Given survival
    to t_{j-1}, cause c happens in it with hazard h_jc = exp(l_jc) / (1 + sum_c' exp(l_jc')): C + 1 outcomes, "none" with logit 0. The parameters
    are l, interval by interval (K = J C).

    Likelihood of a row with an event of cause c in interval k: h_kc prod_{j<k} (1 - h_j)^e_j; of a censored row: prod_j (1 - h_j)^e_j, where
    h_j = sum_c h_jc and e_j in [0, 1] is the share of interval j between entry and censoring. So an interval in which a row is censored counts
    as far as it was lived through (the actuarial estimate gives everybody one half), and intervals before entry contribute nothing. Follow-up
    beyond t_J, the last train event, is cut off there.

    Cumulative incidence of cause 1: F(t_k) = sum_{j<=k} h_j1 prod_{i<j} (1 - h_i), linear between the edges, constant beyond the last.

    Args:
        target: a time-to-event target: time_days, event (0 censored, 1..C), entry_days.
        n_intervals: J >= 1; fewer where event times are tied.
        horizons_days: horizons > 0, or None for the quartile and the median of the train rows' times of cause 1, in whole days from 10 days on;
            None serves a single fit only, see `refuse_open_horizons`.

    Source: Tutz and Schmid (2016), chapter 8 (multinomial discrete hazard); Cutler and Ederer (1958) for the exposure of the censored.
    """

    kind = "time_to_event"
    edges: Tensor
    horizons_days: tuple[float, ...]
    base: tuple[float, ...]

    def __init__(self, *, target: str, n_intervals: int, horizons_days: list[float] | None) -> None:
        super().__init__(target=target)
        if n_intervals < 1:
            raise UserError(f"n_intervals of the task on {target!r}", expected="at least 1", found=str(n_intervals), mend="set task.time_to_event.n_intervals")
        self.n_intervals, self.wanted_days = n_intervals, horizons_days
        self.register_buffer("edges", torch.zeros(2), persistent=False)
        self.n_causes, self.horizons_days, self.base = 1, (1.0,), (0.0,)

    def setup(self, train: TargetTable) -> None:
        rows = observed_rows(train, self.target, ("time_to_event",))
        time, entry = (torch.tensor(rows[name].to_numpy(), dtype=torch.float32) for name in ("time_days", "entry_days"))
        event, weight = (torch.tensor(rows[name].to_numpy()) for name in ("event", "weight"))
        self._check(time, event, entry, torch.ones_like(event, dtype=torch.bool), n_causes=None)
        _refuse_no_event(self.target, rows)
        times = time[event > 0].numpy()
        levels = np.arange(1, self.n_intervals + 1) / self.n_intervals
        cuts = np.unique(np.quantile(times, levels, method="inverted_cdf"))
        edges = torch.tensor([0.0, *cuts[cuts > 0].tolist()])
        # Whoever has the event at time zero, or all of them, still needs one interval.
        self.edges = edges if len(edges) > 1 else torch.tensor([0.0, float(time.max().clamp(min=1.0))])
        self.n_causes = int(event.max())
        self.horizons_days = self._horizons(time, event)
        self.base = tuple(self._base_logits(time, event, entry, weight).tolist())

    @property
    def n_params(self) -> int:
        return (len(self.edges) - 1) * self.n_causes

    def start(self) -> Tensor:
        return torch.tensor(self.base)

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Negative log likelihood of the discrete hazards, (B,)."""
        seen = target.observed
        time, entry = (torch.where(seen, x, 0.0) for x in (target.time_days, target.entry_days))
        event = torch.where(seen, target.event, 0)
        self._check(time, event, entry, seen, n_causes=self.n_causes)
        exposure, interval, happened = self._history(time, event, entry)
        log_none, log_hazard = self._log_hazards(draws.value)
        row, cause = torch.arange(len(time), device=time.device), (event - 1).clamp(min=0)
        at_event = torch.where(happened, log_hazard[:, row, interval, cause], 0.0)
        log_likelihood = (exposure * log_none).sum(-1) + at_event
        return -log_likelihood.mean(0) * target.weight * seen

    def answer(self, draws: Draws) -> Answer:
        risk = self.cumulative_incidence(draws)
        form: list[Form] = ["entropy"] * risk.shape[-1]
        return Answer(labels=tuple(map(horizon_label, self.horizons_days)), mean=risk, variance=risk * (1 - risk), form=tuple(form))

    def cumulative_incidence(self, draws: Draws) -> Tensor:
        """Cumulative incidence of cause 1 at every horizon, f64 (S, B, H)."""
        log_none, log_hazard = self._log_hazards(draws.value.double())
        survived = torch.exp(torch.cumsum(log_none, -1) - log_none)
        happens = survived * torch.exp(log_hazard[..., 0])
        edges, horizons = self.edges.double(), torch.tensor(self.horizons_days, dtype=torch.float64, device=self.edges.device)
        passed = ((horizons[:, None] - edges[:-1]) / edges.diff()).clamp(0, 1)
        return happens @ passed.T

    def question(self, name: str, evidences: tuple[str, ...]) -> Question:
        return Question(task=name, target=self.target, kind="time_to_event", evidences=evidences, horizons_days=self.horizons_days)

    def state(self) -> dict[str, Any]:
        return {"edges": self.edges.tolist(), "n_causes": self.n_causes, "horizons_days": list(self.horizons_days), "base": list(self.base)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.edges = torch.tensor(state["edges"], dtype=torch.float32, device=self.edges.device)
        self.n_causes, self.horizons_days, self.base = int(state["n_causes"]), tuple(state["horizons_days"]), tuple(state["base"])

    def _log_hazards(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """log(1 - h_j), (S, B, J), and log h_jc, (S, B, J, C)."""
        logits = value.reshape(*value.shape[:-1], len(self.edges) - 1, self.n_causes)
        padded = torch.cat([torch.zeros_like(logits[..., :1]), logits], -1)
        log_p = torch.log_softmax(padded, -1)
        return log_p[..., 0], log_p[..., 1:]

    def _history(self, time: Tensor, event: Tensor, entry: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Exposures e (B, J), zero in and after the interval of an event; that interval's number (B,); whether an event happened by t_J (B,)."""
        left, right = self.edges[:-1], self.edges[1:]
        share = (torch.minimum(time[:, None], right) - torch.maximum(entry[:, None], left)).clamp(min=0) / (right - left)
        interval = torch.searchsorted(right.contiguous(), time.contiguous())
        happened = (event > 0) & (interval < len(right))
        interval = interval.clamp(max=len(right) - 1)
        in_event = happened[:, None] & (torch.arange(len(right), device=time.device) == interval[:, None])
        return torch.where(in_event, 0.0, share), interval, happened

    def _base_logits(self, time: Tensor, event: Tensor, entry: Tensor, weight: Tensor) -> Tensor:
        """log(events / event-free exposure) of each interval and cause over the train rows, half a row added to both; interval-major, (K,)."""
        exposure, interval, happened = self._history(time, event, entry)
        events = torch.zeros(len(self.edges) - 1, self.n_causes, dtype=torch.float64)
        events.index_put_((interval[happened], event[happened] - 1), weight[happened].double(), accumulate=True)
        free = (exposure.double() * weight.double()[:, None]).sum(0)
        return torch.log((events + 0.5) / (free[:, None] + 0.5)).flatten().float()

    def _horizons(self, time: Tensor, event: Tensor) -> tuple[float, ...]:
        if self.wanted_days is None:
            times = time[(event == 1) & (time > 0)].numpy().astype(float)
            found = np.quantile(times, HORIZON_QUANTILES) if times.size else self.edges[1:2].numpy()
            return tuple(sorted({float(math.floor(h)) if h >= 10 else float(f"{h:.3g}") for h in found}))
        horizons = tuple(sorted({float(h) for h in self.wanted_days}))
        longest = float(time.max())
        if not horizons or horizons[0] <= 0 or horizons[-1] > longest:
            raise UserError(
                f"horizons_days of the task on {self.target!r} cannot be answered",
                expected=f"days above 0 and up to {longest:g}, the longest follow-up in the train rows",
                found=", ".join(f"{h:g}" for h in horizons) or "none",
                mend="choose horizons within the follow-up",
            )
        return horizons

    def _check(self, time: Tensor, event: Tensor, entry: Tensor, seen: Tensor, n_causes: int | None) -> None:
        inside = torch.isfinite(time) & (time >= 0) & (entry >= 0) & (entry <= time)
        refuse_unsupported(self.target, inside, seen, "finite time_days >= entry_days >= 0")
        inside = (event >= 0) & (event <= (event.max() if n_causes is None else n_causes))
        refuse_unsupported(self.target, inside, seen, f"event 0 (censored) or a cause{'' if n_causes is None else f' from 1 to {n_causes}'}")


def refuse_open_horizons(config: Mapping[str, Any]) -> None:
    """Refuses default horizons where several fits must answer one question: each would take them from its own train rows, and they would differ.

    Asked before anything is trained. Several fits are the folds of a cross-validation, and members that rotate their select rows.

    Args:
        config: a resolved config.

    Raises:
        UserError: a task has ``horizons_days: null`` there.
    """
    validation = config["validation"]
    rotating = bool(validation["rotate_select"]) and int(config["members"]) > 1
    if not (validation["folds"] or rotating):
        return
    for name, node in config["task"].items():
        if "horizons_days" in node and node["horizons_days"] is None:
            raise UserError(
                f"Task {name} has no horizons, and {'each fold' if validation['folds'] else 'each member'} would choose its own",
                expected="the days by which the risk is asked, the same for all",
                mend=f"set task.{name}.horizons_days, e.g. [30,365]",
            )


def _refuse_no_event(target: str, rows: pl.DataFrame) -> None:
    """Raises UserError, with the counts, where no train row has cause 1."""
    event = rows["event"].to_numpy()
    if not (event == 1).any():
        raise UserError(
            f"Target {target!r} has no event of cause 1 in the train rows",
            expected="at least one row with event 1",
            found=f"{int((event == 0).sum())} censored, {int((event > 1).sum())} with competing causes",
            mend="take more rows into the train role, or follow them longer",
        )

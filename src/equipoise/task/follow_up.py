"""What all tasks on a time to event share: follow-up read and checked, horizons, intervals, and the answer at each horizon."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class FollowUp:
    """Who was followed from when to when, each (B,).

    Args:
        time: f32, days to event or censoring; 0 where not observed.
        event: i64, 0 censored, 1..C the cause; 0 where not observed.
        entry: f32, days to entry (left truncation), 0 = from the start.
        weight: f32, analysis weight; 0 where not observed.
        seen: bool, observed.
    """

    time: Tensor
    event: Tensor
    entry: Tensor
    weight: Tensor
    seen: Tensor

    @property
    def rows(self) -> Tensor:
        """i64 (B,), the rows' numbers."""
        return torch.arange(self.time.shape[0], device=self.time.device)


class HorizonTask(Task):
    """A likelihood of a time to the first of C competing events that answers with the risk of cause 1 by each horizon.

    Args:
        target: a time-to-event target: time_days, event (0 censored, 1..C), entry_days.
        horizons_days: horizons > 0, or None for the quartile and the median of the train rows' times of cause 1, in whole days from 10 days on;
            None serves a single fit only, see `time_to_event.refuse_open_horizons`.
    """

    kind = "time_to_event"
    horizons_days: tuple[float, ...]

    def __init__(self, *, target: str, horizons_days: list[float] | None) -> None:
        super().__init__(target=target)
        self.wanted_days = horizons_days
        self.n_causes, self.horizons_days = 1, (1.0,)

    def setup(self, train: TargetTable) -> None:
        follow_up = train_follow_up(self.target, observed_rows(train, self.target, ("time_to_event",)))
        self.n_causes, self.horizons_days = int(follow_up.event.max()), horizons_of(self.target, self.wanted_days, follow_up)
        self.learn(follow_up)

    @abstractmethod
    def learn(self, train: FollowUp) -> None:
        """Reads intervals and base rates from the train rows; causes and horizons are set."""

    @abstractmethod
    def cumulative_incidence(self, draws: Draws) -> Tensor:
        """Cumulative incidence of cause 1 at every horizon, f64 (S, B, H)."""

    def follow_up(self, target: Target) -> FollowUp:
        """A batch's follow-up, checked.

        Raises:
            UserError: a time is impossible, or a cause is none of those of the train rows.
        """
        return follow_up_of(self.target, target, target.observed, self.n_causes)

    def answer(self, draws: Draws) -> Answer:
        risk = self.cumulative_incidence(draws)
        form: list[Form] = ["entropy"] * risk.shape[-1]
        return Answer(labels=tuple(map(horizon_label, self.horizons_days)), mean=risk, variance=risk * (1 - risk), form=tuple(form))

    def question(self, name: str, evidences: tuple[str, ...]) -> Question:
        return Question(task=name, target=self.target, kind="time_to_event", evidences=evidences, horizons_days=self.horizons_days)

    def state(self) -> dict[str, Any]:
        return {"n_causes": self.n_causes, "horizons_days": list(self.horizons_days)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.n_causes, self.horizons_days = int(state["n_causes"]), tuple(state["horizons_days"])


def follow_up_of(name: str, target: Target, seen: Tensor, n_causes: int | None) -> FollowUp:
    """A batch's follow-up, checked.

    Args:
        name: the target's, for the error.
        target: (B,).
        seen: bool (B,), whose follow-up counts; times and events of the others are 0.
        n_causes: C of the train rows; None: any.

    Raises:
        UserError: a time is impossible, or a cause is none of these.
    """
    time, entry, weight = (torch.where(seen, x, 0.0) for x in (target.time_days, target.entry_days, target.weight))
    made = FollowUp(time, torch.where(seen, target.event, 0), entry, weight, seen)
    _check(name, made, n_causes=n_causes)
    return made


def train_follow_up(target: str, rows: pl.DataFrame) -> FollowUp:
    """The follow-up of train rows with an observed outcome, checked.

    Raises:
        UserError: a time or a cause is impossible, or nobody has the event of cause 1, with the counts.
    """
    time, entry, weight = (torch.tensor(rows[name].to_numpy(), dtype=torch.float32) for name in ("time_days", "entry_days", "weight"))
    event = torch.tensor(rows["event"].to_numpy())
    follow_up = FollowUp(time, event, entry, weight, torch.ones_like(event, dtype=torch.bool))
    _check(target, follow_up, n_causes=None)
    _refuse_no_event(target, rows)
    return follow_up


def horizons_of(target: str, wanted: list[float] | None, train: FollowUp) -> tuple[float, ...]:
    """The horizons in days: those wanted, or the quartile and the median of the train rows' times of cause 1.

    Raises:
        UserError: a horizon is not above 0, or beyond the train rows' follow-up.
    """
    time, event = train.time, train.event
    if wanted is None:
        times = time[(event == 1) & (time > 0)].numpy().astype(float)
        found = np.quantile(times, HORIZON_QUANTILES) if times.size else time.clamp(min=1.0).max()[None].numpy()
        return tuple(sorted({float(math.floor(h)) if h >= 10 else float(f"{h:.3g}") for h in found}))
    horizons = tuple(sorted({float(h) for h in wanted}))
    longest = float(time.max())
    if not horizons or horizons[0] <= 0 or horizons[-1] > longest:
        raise UserError(
            f"horizons_days of the task on {target!r} cannot be answered",
            expected=f"days above 0 and up to {longest:g}, the longest follow-up in the train rows",
            found=", ".join(f"{h:g}" for h in horizons) or "none",
            mend="choose horizons within the follow-up",
        )
    return horizons


def _check(target: str, follow_up: FollowUp, n_causes: int | None) -> None:
    time, event, entry, seen = follow_up.time, follow_up.event, follow_up.entry, follow_up.seen
    inside = torch.isfinite(time) & (time >= 0) & (entry >= 0) & (entry <= time)
    refuse_unsupported(target, inside, seen, "finite time_days >= entry_days >= 0")
    inside = (event >= 0) & (event <= (event.max() if n_causes is None else n_causes))
    refuse_unsupported(target, inside, seen, f"event 0 (censored) or a cause{'' if n_causes is None else f' from 1 to {n_causes}'}")


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

"""A treatment's outcomes as the targets of three regressions: who was treated, and the outcome in each arm."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from equipoise.cohort.draft import TargetTable
from equipoise.contract.question import Question, TargetKind

TREATED, ARMS = "treated", ("untreated_outcome", "treated_outcome")


@dataclass(frozen=True)
class Outcomes:
    """One target of a task on a treatment's effect, over all n cohort rows.

    Args:
        target: as the cohort has it.
        horizon_days: of a time to event; None for other outcomes.
        train: i64, the rows that say whether the outcome is binary, and what its halves are; no other row's outcome is looked at for that.
        used: bool (n,): the outcome is observed, one of both treatments was received, and follow-up begins at time zero.
        late: bool (n,): left out for a late entry.
    """

    target: TargetTable
    horizon_days: float | None
    train: np.ndarray
    used: np.ndarray = field(init=False)
    late: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        table = self.target.table
        known = table["observed"].to_numpy() & np.isin(table["treatment"].to_numpy(), (0, 1)) & (table["weight"].to_numpy() > 0)
        # Weights for censoring of late entries are known up to a factor only: enough for an average over rows, not for one row's outcome.
        late = known & (table["entry_days"].to_numpy() > 0) & (self.horizon_days is not None)
        object.__setattr__(self, "used", known & ~late)
        object.__setattr__(self, "late", late)

    def column(self, name: str, rows: np.ndarray) -> np.ndarray:
        """A column of the target at these rows."""
        return self.target.table[name].to_numpy()[rows]

    @property
    def kind(self) -> TargetKind:
        """What the regressions of the outcome are."""
        if self.horizon_days is not None:
            return "time_to_event"
        outcome = self.column("outcome", self.train[self.used[self.train]])
        return "binary" if np.isin(outcome, (0.0, 1.0)).all() else "continuous"

    def further(self) -> dict[str, TargetTable]:
        """The regressions' targets, by name: rows that are not used, or in the other arm, are not observed."""
        table, arm = self.target.table, self.target.table["treatment"].to_numpy()
        treated = table.with_columns(outcome=pl.Series(np.where(self.used, arm == 1, np.nan)), observed=pl.Series(self.used))
        made = {TREATED: TargetTable("binary", treated)}
        for a, name in enumerate(ARMS):
            made[name] = TargetTable(self.kind, table.with_columns(observed=pl.Series(self.used & (arm == a))), unit=self.target.unit)
        return made

    def questions(self, evidences: tuple[str, ...]) -> dict[str, Question]:
        """What each regression is asked, by the name of its target."""
        horizons = () if self.horizon_days is None else (self.horizon_days,)
        of_arms = {name: Question(task=name, target=name, kind=self.kind, evidences=evidences, horizons_days=horizons) for name in ARMS}
        return {TREATED: Question(task=TREATED, target=TREATED, kind="binary", evidences=evidences), **of_arms}

    def stratum(self) -> np.ndarray:
        """By what folds are divided evenly, i64 (n,): arm, and the outcome in halves (a time to event: events of cause 1)."""
        table, train = self.target.table, self.train[self.used[self.train]]
        value = (table["event"].to_numpy() == 1).astype(np.float64) if self.horizon_days is not None else table["outcome"].to_numpy()
        high = np.nan_to_num(value) > (np.median(value[train]) if self.kind == "continuous" and train.size else 0.5)
        return np.where(self.used, 2 * table["treatment"].to_numpy() + high, -1).astype(np.int64)

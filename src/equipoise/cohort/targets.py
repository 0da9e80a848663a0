"""Outcomes from columns of a table: binary, multiclass, continuous, time to event, treatment effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

import numpy as np
import polars as pl

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.measure import bounds
from equipoise.cohort.reading import as_number, as_text, as_time, check_name
from equipoise.contract.errors import UserError
from equipoise.contract.question import TargetKind
from equipoise.contract.tables import TARGET

DAYS: dict[str, float] = {"seconds": 1 / 86400, "minutes": 1 / 1440, "hours": 1 / 24, "days": 1.0, "weeks": 7.0, "months": 365.25 / 12, "years": 365.25}


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """How one target is read from a table; its fields are the keys below ``targets.<name>`` in the config.

    Args:
        kind: one of `contract.question.TargetKind`.
        column: the outcome (all kinds but time_to_event; a treatment_effect has it, or ``time`` and ``event``).
        positive: binary: the value that counts as 1; without it the column holds 0 and 1.
        classes: multiclass: class names in order; without it those that occur, sorted.
        unit: continuous: UCUM.
        range: continuous: [lowest, highest] possible value; others count as missing.
        time: time_to_event, and a treatment_effect on one: how long until event or censoring, a number in ``time_unit`` or a date after the prediction
            time.
        time_unit: one of `DAYS`.
        event: time_to_event: 0 censored, 1..C the cause.
        entry: time_to_event: left truncation, in ``time_unit``.
        treatment: 0, 1, ...; required for treatment_effect.
        weight: analysis weight > 0.
    """

    kind: TargetKind
    column: str | None = None
    positive: Any = None
    classes: list[str] | None = None
    unit: str = ""
    range: list[float | None] | None = None
    time: str | None = None
    time_unit: str = "days"
    event: str | None = None
    entry: str | None = None
    treatment: str | None = None
    weight: str | None = None

    @classmethod
    def parse(cls, name: str, given: Mapping[str, Any]) -> TargetSpec:
        """From the config.

        Raises:
            UserError: an unknown key or kind, or a key that the kind needs is not there.
        """
        check_name(name)
        key = f"cohort.labels.targets.{name}"
        known = [f.name for f in fields(cls)]
        for k in given:
            if k not in known:
                raise UserError(f"Unknown config key {key}.{k}", expected=f"one of {', '.join(known)}", mend="correct the key")
        if given.get("kind") not in get_args(TargetKind):
            raise UserError(f"Config key {key}.kind is {given.get('kind')!r}", expected=f"one of {', '.join(get_args(TargetKind))}", mend="correct the kind")
        spec = cls(**given)
        needs: tuple[str, ...] = ("time", "event") if spec.timed else ("column",)
        needs += ("treatment",) if spec.kind == "treatment_effect" else ()
        for k in needs:
            if getattr(spec, k) is None:
                raise UserError(f"Config key {key}.{k} is missing", expected=f"a column for a target of kind {spec.kind}", mend=f"set {key}.{k}")
        if spec.time_unit not in DAYS:
            raise UserError(f"Config key {key}.time_unit is {spec.time_unit!r}", expected=f"one of {', '.join(DAYS)}", mend="correct it")
        return spec

    @property
    def timed(self) -> bool:
        """Whether the outcome is a time to event."""
        return self.kind == "time_to_event" or (self.kind == "treatment_effect" and self.column is None and (self.time or self.event) is not None)

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return [c for c in (self.column, self.time, self.event, self.entry, self.treatment, self.weight) if c is not None]

    @property
    def outcomes(self) -> list[str]:
        """Those that a model must not see. A treatment is an input unless its effect is asked for, an entry or a weight may be one."""
        known = [self.column, self.time, self.event, self.treatment if self.kind == "treatment_effect" else None]
        return [c for c in known if c is not None]

    def read(self, table: pl.DataFrame, prediction_time: pl.Series, of: str) -> tuple[TargetTable, dict[str, int]]:
        """The target, row-aligned with ``table``, and its counts.

        Args:
            table: with `columns`.
            prediction_time: for event times that are dates.
            of: how errors call the target.
        """
        classes: list[str] = []
        match self.kind:
            case "binary":
                outcome = _binary(table[str(self.column)], self.positive, of)
            case "multiclass":
                outcome, classes = _classes(table[str(self.column)], self.classes, of)
            case _ if self.timed:
                return self._survival(table, prediction_time, of)
            case _:
                outcome = as_number(table[str(self.column)], of).fill_null(np.nan).to_numpy().copy()
        impossible = np.isinf(outcome)
        if self.range is not None:
            lo, hi = bounds({of: self.range}, "targets")[of]
            impossible |= (outcome < lo) | (outcome > hi)
        outcome[impossible] = np.nan
        filled = target_table(outcome, treatment=self._treatment(table, of), weight=self._weight(table, of))
        counts = {"impossible": int(impossible.sum())} if impossible.any() else {}
        return TargetTable(self.kind, filled, tuple(classes), self.unit), counts

    def _survival(self, table: pl.DataFrame, prediction_time: pl.Series, of: str) -> tuple[TargetTable, dict[str, int]]:
        time_days = _days(table[str(self.time)], prediction_time, DAYS[self.time_unit], f"{of}, column {self.time}")
        entry_days = np.zeros(table.height)
        if self.entry is not None:
            entry_days = np.nan_to_num(_days(table[self.entry], prediction_time, DAYS[self.time_unit], f"{of}, column {self.entry}"))
        cause = as_number(table[str(self.event)], f"{of}, column {self.event}").fill_null(np.nan).to_numpy()
        known = ~np.isnan(cause)
        if (cause[known] < 0).any() or (cause[known] % 1 != 0).any():
            raise UserError(f"{of}, column {self.event}, holds values that are no causes", expected="0 censored, 1, 2, ... the cause", mend="recode the column")
        # An entry or an end before time zero, or an end before the entry, is an error of the source: no outcome is made of it.
        impossible = (time_days < 0) | (entry_days < 0) | (time_days <= entry_days) & (entry_days > 0)
        observed = known & np.isfinite(time_days) & ~impossible
        outcome = np.where(observed, cause > 0, np.nan)
        filled = target_table(
            outcome,
            time_days=np.where(observed, time_days, np.nan),
            event=np.where(observed, np.nan_to_num(cause), 0).astype(np.int64),
            entry_days=np.where(observed, entry_days, 0.0),
            treatment=self._treatment(table, of),
            weight=self._weight(table, of),
        )
        return TargetTable(self.kind, filled), {"impossible": int(impossible.sum())} if impossible.any() else {}

    def _treatment(self, table: pl.DataFrame, of: str) -> np.ndarray | None:
        if self.treatment is None:
            return None
        arm = as_number(table[self.treatment], f"{of}, column {self.treatment}").fill_null(-1).to_numpy()
        if (arm < -1).any() or (arm % 1 != 0).any():
            raise UserError(f"{of}, column {self.treatment}, holds values that are no treatments", expected="0, 1, ...", mend="recode the column")
        return arm.astype(np.int64)

    def _weight(self, table: pl.DataFrame, of: str) -> np.ndarray | None:
        if self.weight is None:
            return None
        weight = as_number(table[self.weight], f"{of}, column {self.weight}").fill_null(np.nan).to_numpy()
        if not (np.isfinite(weight) & (weight > 0)).all():
            raise UserError(f"{of}, column {self.weight}, holds weights that are missing or not above 0", mend="correct the weights")
        return weight


def target_table(
    outcome: np.ndarray,
    *,
    time_days: np.ndarray | None = None,
    event: np.ndarray | None = None,
    entry_days: np.ndarray | None = None,
    treatment: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> pl.DataFrame:
    """The columns of `contract.tables.TARGET`, defaults filled.

    Args:
        outcome: f64 (n,), NaN where not observed.
        time_days: f64 (n,), NaN where not observed.
        event: i64 (n,).
        entry_days: f64 (n,).
        treatment: i64 (n,).
        weight: f64 (n,).
    """
    n = outcome.size
    columns = {
        "outcome": outcome.astype(np.float64),
        "observed": ~np.isnan(outcome),
        "time_days": np.full(n, np.nan) if time_days is None else time_days,
        "event": np.full(n, -1) if event is None else event,
        "entry_days": np.zeros(n) if entry_days is None else entry_days,
        "treatment": np.full(n, -1) if treatment is None else treatment,
        "weight": np.ones(n) if weight is None else weight,
    }
    return pl.DataFrame(columns, schema_overrides=TARGET)


def _binary(column: pl.Series, positive: Any, of: str) -> np.ndarray:
    if positive is not None:
        text = as_text(column)
        hit = _equal(text, str(as_text(pl.Series([positive]))[0]))
        if not hit.any():
            raise UserError(f"{of}: no row has the positive value {positive!r}", examples=_levels(text), mend="correct `positive`")
        if text.n_unique() - int(text.null_count() > 0) > 2:
            raise UserError(f"{of} is declared binary", expected="two values", examples=_levels(text), mend="use kind multiclass, or recode")
        return hit.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    try:
        value = as_number(column, of).fill_null(np.nan).to_numpy().copy()
    except UserError:
        raise UserError(f"{of} is declared binary", expected="0 and 1", examples=_levels(as_text(column)), mend="say which value is `positive`") from None
    if not np.isin(value[~np.isnan(value)], (0.0, 1.0)).all():
        raise UserError(
            f"{of} is declared binary", expected="0 and 1", examples=_levels(as_text(column)), mend="say which value is `positive`, or use another kind"
        )
    return value


def _equal(text: pl.Series, want: str) -> pl.Series:
    """Which texts mean ``want``, null where missing: case does not matter ("True", "true"), and numbers are equal as numbers ("1", "1.0")."""
    number = pl.Series([want]).cast(pl.Float64, strict=False)[0]
    same = text.str.to_lowercase() == want.lower()
    return same if number is None else same | (text.cast(pl.Float64, strict=False) == number).fill_null(False)


def _classes(column: pl.Series, classes: list[str] | None, of: str) -> tuple[np.ndarray, list[str]]:
    text = as_text(column)
    names = sorted(set(text.drop_nulls().to_list())) if classes is None else [str(c) for c in classes]
    number = {name: float(i) for i, name in enumerate(names)}
    unknown = text.filter(~text.is_in(names).fill_null(True))
    if unknown.len():
        raise UserError(f"{of} has {unknown.len()} rows of other classes", expected=", ".join(names), examples=_levels(unknown), mend="correct `classes`")
    if len(names) > 1000:
        raise UserError(f"{of} has {len(names)} classes", expected="at most 1000", mend="use kind continuous, or join classes")
    return text.replace_strict(number, default=None, return_dtype=pl.Float64).fill_null(np.nan).to_numpy().copy(), names


def _levels(text: pl.Series) -> str:
    levels = sorted(set(text.drop_nulls().to_list()))
    return ", ".join(map(repr, levels[:6])) + (f" and {len(levels) - 6} more" if len(levels) > 6 else "")


def _days(column: pl.Series, prediction_time: pl.Series, unit_days: float, of: str) -> np.ndarray:
    if column.dtype.is_temporal():
        if prediction_time.null_count():
            raise UserError(f"{of} holds dates, and there are rows without a prediction time", mend="give the labels a prediction time")
        return ((as_time(column, of) - prediction_time).dt.total_microseconds().cast(pl.Float64) / 86_400_000_000).fill_null(np.nan).to_numpy().copy()
    return as_number(column, of).fill_null(np.nan).to_numpy() * unit_days

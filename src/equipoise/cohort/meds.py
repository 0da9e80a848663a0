"""Coded events from a MEDS 0.4 folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.draft import STATIC_TIME, EventStore
from equipoise.cohort.evidence import Asked, Delivery, EvidenceSource
from equipoise.cohort.ids import join_counts
from equipoise.cohort.measure import Conversions, Ranges, drop_impossible, to_unit
from equipoise.contract.errors import UserError
from equipoise.contract.tables import MEDS_CODE, MEDS_SUBJECT, MEDS_TIME, MEDS_VALUE, TIME

_CODES_FILE = "metadata/codes.parquet"
_UNIT_COLUMNS = ("unit", "units", "ucum")


@dataclass(frozen=True, kw_only=True)
class Meds(EvidenceSource):
    """Events of a MEDS 0.4 folder: ``data/**/*.parquet``, and ``metadata/codes.parquet`` where there is one.

    Args:
        path: the folder.
        codes: patterns (``LAB//*``) of the codes to read; null reads all.
        codes_exclude: patterns of codes never to read, such as those that hold the outcome.
        ranges: code -> [lowest, highest] possible value; a value outside is dropped and counted, its event stays.
        units: code -> UCUM unit of its values; a code without one takes it from a unit column of codes.parquet, or the commonest of ``unit_column``.
        unit_column: an extension column of the data that says each value's unit, or null.
        conversions: code -> unit -> factor, or [factor, offset], to the code's unit.

    Source: MEDS 0.4 (github.com/Medical-Event-Data-Standard/meds); times without a zone, an event at the prediction time may be used.
    """

    path: str
    codes: Sequence[str] | None = None
    codes_exclude: Sequence[str] = ()
    ranges: Ranges = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    unit_column: str | None = None
    conversions: Conversions = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return Path(self.path).expanduser()

    def inputs(self) -> dict[str, Path]:
        shards = sorted((self.folder / "data").rglob("*.parquet"))
        found = {p.relative_to(self.folder).as_posix(): p for p in shards} or {"data": self.folder / "data" / "*.parquet"}
        codes = self.folder / _CODES_FILE
        return {**found, **({_CODES_FILE: codes} if codes.exists() else {})}

    def read(self, asked: Asked) -> Delivery:
        if missing := int(asked.time.null_count()):
            raise UserError(f"Events of {self.path} have times, and {missing} rows have no prediction time", mend="give the labels a prediction time")
        shards = [p for name, p in self.inputs().items() if name != _CODES_FILE]
        subjects = pl.concat([_scan(p, None).select(MEDS_SUBJECT).unique().collect() for p in shards])[MEDS_SUBJECT]
        if subjects.null_count():
            raise UserError(f"MEDS folder {self.path} has events without a subject", expected="a subject_id on every event", mend="fill or remove them")
        if again := subjects.len() - subjects.n_unique():
            raise UserError(f"MEDS folder {self.path} has {again} subjects in more than one data file", expected="one file a subject", mend="shard by subject")
        counts: dict[str, Any] = {"ids": join_counts(asked.subject_id, subjects.cast(pl.String), f"MEDS folder {self.path}")}
        events, subject_of_row, ever_timed = self._events(shards, asked, counts)
        names = events[MEDS_CODE].unique().sort().to_list()
        number = events[MEDS_CODE].cast(pl.Enum(names)).to_physical().cast(pl.Int32).to_numpy()
        value = events[MEDS_VALUE].cast(pl.Float32).fill_null(np.nan).to_numpy().copy()
        units, notes = self._units(events, names, number, value, counts)
        counts["ranges"] = drop_impossible(value, number, names, self.ranges, f"events of {self.path}")
        if unseen := [c for c in self.ranges if c not in set(names)]:
            notes.append(f"ranges are declared for {len(unseen)} codes that no event has: {', '.join(unseen[:5])}")
        time_us = events[MEDS_TIME].to_numpy()
        start, stop, first_timed = _segments(events["s"].to_numpy(), time_us, subject_of_row, asked.time_us)
        early = ever_timed & (stop <= first_timed)
        counts["rows"] = {
            "label_before_any_event": int(early.sum()),
            "without_events": int((stop == start).sum()),
            "with_statics_only": int(((stop > start) & (stop <= first_timed)).sum()),
        }
        notes += self._too_early(int(early.sum()), int(ever_timed.sum()))
        store = EventStore(tuple(names), units, number, value, time_us, start, stop, asked.time_us)
        counts["events"] |= {"kept": events.height, "codes": len(names)}
        return Delivery(store, stop > start, counts, notes)

    def _events(self, shards: list[Path], asked: Asked, counts: dict[str, Any]) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
        """Events of the rows' subjects up to each one's last prediction time, by subject (number ``s``), statics first, then by time.

        Also each row's subject number, i64 (n,), and whether its subject has a timed event at all, however late, bool (n,).
        """
        rows = pl.DataFrame({"id": asked.subject_id, "t": asked.time_us})
        people = rows.group_by("id", maintain_order=True).agg(pl.col("t").max().alias("last")).with_row_index("s")
        subject_of_row = rows.join(people, on="id", how="left", maintain_order="left")["s"].to_numpy().astype(np.int64)
        key = pl.col("id").cast(pl.Int64, strict=False)
        # '007' must not become 7: only a canonical spelling is a number.
        people = people.with_columns(pl.when(key.cast(pl.String) == pl.col("id")).then(key).alias(MEDS_SUBJECT)).drop_nulls(MEDS_SUBJECT)
        tables = []
        for path in shards:
            table = _scan(path, self.unit_column).join(people.lazy().select(MEDS_SUBJECT, "s", "last"), on=MEDS_SUBJECT, how="inner", maintain_order="left")
            tables.append(table.drop(MEDS_SUBJECT).with_columns(pl.col(MEDS_TIME).cast(pl.Int64).fill_null(STATIC_TIME)).collect())
        events = pl.concat(tables)
        if missing := int(events[MEDS_CODE].null_count()):
            raise UserError(f"MEDS folder {self.path} has {missing} events without a code", expected="a code on every event", mend="fill or remove them")
        found = events.height
        codes = events[MEDS_CODE].unique()
        wanted = codes.filter(pl.Series([self._wants(c) for c in codes.to_list()], dtype=pl.Boolean))
        events = events.filter(pl.col(MEDS_CODE).is_in(wanted.implode()))
        chosen = events.height
        timed = np.isin(subject_of_row, events.filter(pl.col(MEDS_TIME) > STATIC_TIME)["s"].unique().to_numpy())
        events = events.filter(pl.col(MEDS_TIME) <= pl.col("last"))
        counts["events"] = {"of_these_subjects": found, "codes_not_read": found - chosen, "after_last_prediction_time": chosen - events.height}
        return events.drop("last").sort("s", MEDS_TIME, maintain_order=True), subject_of_row, timed

    def _wants(self, code: str) -> bool:
        included = self.codes is None or any(fnmatchcase(code, p) for p in self.codes)
        return included and not any(fnmatchcase(code, p) for p in self.codes_exclude)

    def _units(
        self, events: pl.DataFrame, names: list[str], number: np.ndarray, value: np.ndarray, counts: dict[str, Any]
    ) -> tuple[tuple[str, ...], list[str]]:
        """The unit of every code; values are brought to it in place."""
        declared = {**self._metadata_units(), **self.units}
        if self.unit_column is None:
            return tuple(declared.get(c, "") for c in names), []
        unit = events["unit"].to_numpy()
        order = np.argsort(number, kind="stable")
        edges = np.searchsorted(number[order], np.arange(len(names) + 1))
        found, mixed = [], {}
        for i, name in enumerate(names):
            at = order[edges[i] : edges[i + 1]]
            mine = value[at]
            got, dropped = to_unit(mine, unit[at], declared.get(name, ""), self.conversions.get(name, {}), f"code {name}")
            value[at] = mine
            found.append(got)
            if dropped:
                mixed[name] = dropped
        counts["units"] = mixed
        lost = sum(c.get("unit_unknown", 0) for c in mixed.values())
        return tuple(found), [f"{lost} values are in units without a declared conversion and were dropped"] if lost else []

    def _metadata_units(self) -> dict[str, str]:
        path = self.folder / _CODES_FILE
        if not path.exists():
            return {}
        table = pl.read_parquet(path)
        column = next((c for c in _UNIT_COLUMNS if c in table.columns), None)
        if column is None or "code" not in table.columns:
            return {}
        return dict(table.select("code", pl.col(column).cast(pl.String)).drop_nulls().iter_rows())

    def _too_early(self, early: int, timed: int) -> list[str]:
        """Refuses when all prediction times lie before their subject's first timed event: then the clocks differ."""
        if early and early == timed:
            raise UserError(
                f"All {early} labels lie before any event of their subjects in {self.path}",
                expected="prediction times after some events",
                mend="check that labels and events use the same clock",
            )
        return [f"{early} labels lie before any timed event of their subject"] if early else []


def _scan(path: Path, unit_column: str | None) -> pl.LazyFrame:
    """The MEDS columns of one data file, checked against the MEDS schema."""
    import pyarrow.parquet as pq
    from meds import DataSchema

    try:
        found = pq.read_schema(path)
    except (OSError, ValueError) as e:
        raise UserError(f"MEDS data file {path} cannot be read", examples=str(e).splitlines()[0][:200], mend="repair or replace the file") from e
    names = set(found.names)
    for name in (MEDS_SUBJECT, MEDS_TIME, MEDS_CODE, *([unit_column] if unit_column else [])):
        if name not in names:
            raise UserError(f"MEDS data file {path} has no column {name!r}", expected=", ".join(DataSchema.schema().names), mend="write the file as MEDS 0.4")
    table = pl.scan_parquet(path)
    types = dict(table.collect_schema())
    if not types[MEDS_SUBJECT].is_integer() or not isinstance(types[MEDS_TIME], pl.Datetime):
        raise UserError(
            f"MEDS data file {path} has subject_id {types[MEDS_SUBJECT]} and time {types[MEDS_TIME]}",
            expected="64-bit integers, and timestamps in microseconds",
            mend="write the file as MEDS 0.4",
        )
    columns = [
        pl.col(MEDS_SUBJECT).cast(pl.Int64),
        pl.col(MEDS_TIME).cast(TIME),
        pl.col(MEDS_CODE).cast(pl.String),
        (pl.col(MEDS_VALUE).cast(pl.Float32) if MEDS_VALUE in names else pl.lit(None, dtype=pl.Float32)).alias(MEDS_VALUE),
    ]
    if unit_column:
        columns.append(pl.col(unit_column).cast(pl.String).alias("unit"))
    return table.select(columns)


def _segments(s: np.ndarray, time_us: np.ndarray, subject_of_row: np.ndarray, row_time_us: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every row its events: start, stop (nothing later than the prediction time), and the first timed one."""
    start = np.searchsorted(s, subject_of_row, "left")
    end = np.searchsorted(s, subject_of_row, "right")
    stop, first_timed = start.copy(), start.copy()
    for row, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        if a < b:
            mine = time_us[a:b]
            stop[row] = a + np.searchsorted(mine, row_time_us[row], "right")
            first_timed[row] = a + np.searchsorted(mine, STATIC_TIME, "right")
    return start, stop, first_timed

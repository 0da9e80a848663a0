"""Numbers and categories from a table keyed by subject, and by time where its values change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from equipoise.cohort.draft import Column, ColumnStore
from equipoise.cohort.evidence import Asked, Delivery, EvidenceSource
from equipoise.cohort.ids import ids_of, join_counts
from equipoise.cohort.join import FOUND, to_rows
from equipoise.cohort.measure import Conversions, Ranges, drop_impossible, to_unit
from equipoise.cohort.reading import as_number, as_text, as_time, has_columns, read_table
from equipoise.contract.errors import UserError

FREE_TEXT_LEVELS = 50
"""A text column that nobody named a category, with more levels than this and than a quarter of its lines, is taken for free text and left out."""


@dataclass(frozen=True, kw_only=True)
class Table(EvidenceSource):
    """Columns of a parquet, CSV or TSV file.

    Args:
        path: the file.
        id: the column of subject ids; null where the labels come from the same table and its lines are the subjects.
        time: the column that says when a line became known; each value is then the last one not after the prediction time. Null: one line a subject.
        columns: the columns to use, in this order; null uses all that serve no other purpose.
        categories: which of them are categories although they look like numbers.
        exclude: columns not to use.
        units: column -> UCUM unit.
        unit_columns: column -> the column that says each value's unit.
        conversions: column -> unit -> factor, or [factor, offset], to the column's unit.
        ranges: column -> [lowest, highest] possible value; others are dropped and counted.
    """

    path: str
    id: str | None
    time: str | None = None
    columns: Sequence[str] | None = None
    categories: Sequence[str] = ()
    exclude: Sequence[str] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    unit_columns: Mapping[str, str] = field(default_factory=dict)
    conversions: Conversions = field(default_factory=dict)
    ranges: Ranges = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return Path(self.path).expanduser()

    def inputs(self) -> dict[str, Path]:
        return {self.file.name: self.file}

    def read(self, asked: Asked) -> Delivery:
        table = read_table(self.file)
        has_columns(table, [c for c in (self.id, self.time) if c is not None], self.file, "its key `id` or `time`")
        if self.id is None and self.file.resolve() != asked.label_file:
            raise UserError(f"Table {self.file} has no id column", expected="the key `id`", mend="name the column: lines of two tables are joined by ids only")
        ids = ids_of(table, self.id, asked.id_type, self.file)
        time = None if self.time is None else as_time(table[self.time], f"Column {self.time} of {self.file}")
        counts: dict[str, Any] = {"ids": join_counts(asked.subject_id, ids, f"table {self.file}")}
        notes: list[str] = []
        names = self._names(table, asked, counts, notes)
        kinds = {name: self._kind(table[name]) for name in names}
        for name in [n for n, k in kinds.items() if k == "text"]:
            notes.append(f"column {name} is free text or dates and is not used")
        numbers = [n for n, k in kinds.items() if k == "number"]
        categories = [n for n, k in kinds.items() if k == "category"]
        lines = self._numbers(table, numbers, counts, notes)
        joined = to_rows(asked, ids, time, lines.hstack([as_text(table[c]).alias(c) for c in categories]), f"Table {self.file}")
        empty = [c for c in (*numbers, *categories) if joined[c].null_count() == asked.size]
        if empty:
            counts["columns_without_values"] = empty
            notes.append(f"{len(empty)} columns hold no value for any row and are left out: {', '.join(empty[:5])}")
        store = self._store(joined, [c for c in numbers if c not in empty], [c for c in categories if c not in empty], counts)
        present = joined[FOUND].to_numpy() & (np.isfinite(store.number).any(1) | (store.category >= 0).any(1))
        if not present.any():
            raise UserError(f"Table {self.file} holds no value for any of the {asked.size} rows", mend="check the columns, the ranges and the times")
        counts["rows"] = {"with_a_line": int(joined[FOUND].sum()), "with_a_value": int(present.sum())}
        return Delivery(store, present, counts, notes)

    def _names(self, table: pl.DataFrame, asked: Asked, counts: dict[str, Any], notes: list[str]) -> list[str]:
        """The columns to use."""
        file = self.file.resolve()
        for key in () if asked.predict_only else ("units", "unit_columns", "conversions", "ranges"):
            has_columns(table, list(getattr(self, key)), self.file, f"`{key}`")
        refused = asked.refused.get(file, frozenset())
        if self.columns is None:
            others = {self.id, self.time, *self.exclude, *self.unit_columns.values()} | refused | asked.reserved.get(file, frozenset())
            has_columns(table, [c for c in (*self.categories, *self.exclude) if not asked.predict_only], self.file, "`categories` or `exclude`")
            names = [c for c in table.columns if c not in others]
        else:
            names = [c for c in self.columns if c not in self.exclude]
            if bad := [c for c in names if c in refused]:
                raise UserError(
                    f"Column {bad[0]!r} of {self.file} is an outcome or a published score of this cohort, and an input",
                    expected="inputs that are known at the prediction time",
                    mend="take it out of `columns`",
                )
            if absent := [c for c in names if c not in table.columns]:
                if not asked.predict_only:
                    has_columns(table, absent, self.file, "`columns`")
                names = [c for c in names if c in table.columns]
                counts["columns_missing"] = absent
                notes.append(f"{len(absent)} declared columns are not in the table: {', '.join(absent[:5])}")
        if not names:
            raise UserError(f"Table {self.file} leaves no column to use", mend="name some in `columns`, or exclude fewer")
        return names

    def _kind(self, column: pl.Series) -> Literal["number", "category", "text"]:
        """What a column is; a text column that is mostly numbers is refused rather than guessed at."""
        if column.name in self.categories:
            return "category"
        if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
            return "number"
        if column.dtype.is_temporal() or column.dtype.is_nested():
            if self.columns is not None:
                raise UserError(f"Column {column.name} of {self.file} holds {column.dtype}", expected="numbers or categories", mend="convert or exclude it")
            return "text"
        text = as_text(column)
        number = text.cast(pl.Float64, strict=False)
        known = column.len() - text.null_count()
        if known == number.len() - number.null_count():
            return "number"
        if (number.len() - number.null_count()) * 2 > known:
            as_number(column, f"Column {column.name} of {self.file}")  # refuses, with the count
        levels = text.drop_nulls().n_unique()
        free = self.columns is None and levels > max(FREE_TEXT_LEVELS, column.len() // 4)
        return "text" if free else "category"

    def _numbers(self, table: pl.DataFrame, names: list[str], counts: dict[str, Any], notes: list[str]) -> pl.DataFrame:
        """The number columns in their declared units, impossible values dropped; null where missing."""
        matrix = np.empty((table.height, len(names)))
        mixed = {}
        for i, name in enumerate(names):
            matrix[:, i] = as_number(table[name], f"Column {name} of {self.file}").fill_null(np.nan).to_numpy()
            if (unit_column := self.unit_columns.get(name)) is not None:
                has_columns(table, [unit_column], self.file, f"unit_columns.{name}")
                unit = as_text(table[unit_column]).to_numpy()
                matrix[:, i], mixed[name] = self._in_unit(matrix[:, i].copy(), unit, name)
        counts["units"] = {k: v for k, v in mixed.items() if v}
        if lost := {k: v["unit_unknown"] for k, v in mixed.items() if v.get("unit_unknown")}:
            notes.append(f"{sum(lost.values())} values are in units without a declared conversion and were dropped, of {', '.join(list(lost)[:5])}")
        kind = np.broadcast_to(np.arange(len(names)), matrix.shape).ravel()
        flat = matrix.ravel()
        counts["ranges"] = drop_impossible(flat, kind, names, self.ranges, f"table {self.file}") if names else {}
        return pl.DataFrame(flat.reshape(matrix.shape), schema=dict.fromkeys(names, pl.Float64)).fill_nan(None)

    def _in_unit(self, value: np.ndarray, unit: np.ndarray, name: str) -> tuple[np.ndarray, dict[str, int]]:
        if name not in self.units:
            raise UserError(f"Column {name} of {self.file} has a unit column and no declared unit", expected=f"units.{name}", mend="declare the unit to have")
        _, counts = to_unit(value, unit, self.units[name], self.conversions.get(name, {}), f"column {name}")
        return value, counts

    def _store(self, joined: pl.DataFrame, numbers: list[str], categories: list[str], counts: dict[str, Any]) -> ColumnStore:
        n = joined.height
        number = joined.select(numbers).fill_null(np.nan).to_numpy() if numbers else np.zeros((n, 0))
        category = np.full((n, len(categories)), -1, np.int32)
        columns = []
        for i, name in enumerate(categories):
            levels = joined[name].drop_nulls().unique().sort().to_list()
            category[:, i] = joined[name].cast(pl.Enum(levels)).to_physical().cast(pl.Int32).fill_null(-1).to_numpy()
            columns.append(Column(name, "category", levels=tuple(levels)))
        counts["columns"] = {"numbers": len(numbers), "categories": len(categories)}
        return ColumnStore(tuple(Column(c, "number", self.units.get(c, "")) for c in numbers), tuple(columns), np.asarray(number, np.float64), category)

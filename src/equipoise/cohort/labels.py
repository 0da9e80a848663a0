"""Labels: which rows a cohort has, and their outcomes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.evidence import Claim, Input
from equipoise.cohort.ids import canonical_ids, ids_of
from equipoise.cohort.outcomes import event_counts
from equipoise.cohort.reading import as_time, has_columns, read_table
from equipoise.cohort.targets import TargetSpec
from equipoise.contract.errors import UserError
from equipoise.contract.question import TargetKind
from equipoise.contract.tables import MEDS_SUBJECT, TIME


@dataclass(frozen=True)
class Labelled:
    """Rows and outcomes, aligned.

    Args:
        subject_id: canonical, String (n,).
        time: prediction times (n,), null where there are none.
        targets: by name; empty for people without outcomes.
        counts: by target.
        predict_only: there are no outcomes and there will be no roles.
    """

    subject_id: pl.Series
    time: pl.Series
    targets: dict[str, TargetTable]
    counts: dict[str, Any]
    predict_only: bool = False


class Labels(Input):
    """Says which rows there are."""

    @abstractmethod
    def read(self, id_type: str, *, predict_only: bool) -> Labelled:
        """Reads and validates.

        Args:
            id_type: "str" or "int".
            predict_only: read subjects and prediction times, and no outcomes.

        Raises:
            UserError: a row stands twice, or an outcome is not what it is declared to be.
        """


@dataclass(frozen=True, kw_only=True)
class MedsLabels(Labels):
    """A MEDS label file: one line a (subject, prediction time) with one of MEDS's four value columns.

    Args:
        path: a parquet file, or a folder of them.
        target: the cohort's name for this target.
        kind: null takes it from the column: boolean_value is binary, categorical_value multiclass, float_value continuous; integer_value needs it.
        unit: of a continuous outcome, UCUM.
    """

    path: str
    target: str
    kind: TargetKind | None = None
    unit: str = ""

    def inputs(self) -> dict[str, Path]:
        path = Path(self.path).expanduser()
        if path.is_dir():
            found = sorted(path.rglob("*.parquet"))
            return {f"labels/{p.relative_to(path).as_posix()}": p for p in found} or {"labels": path / "*.parquet"}
        return {f"labels/{path.name}": path}

    def read(self, id_type: str, *, predict_only: bool) -> Labelled:
        tables = [_meds_labels(path, predict_only) for path in self.inputs().values()]
        if predict_only:
            table = pl.concat(tables)
            ids = canonical_ids(table[MEDS_SUBJECT], id_type, f"Column {MEDS_SUBJECT} of {self.path}")
            return _to_predict(ids, table["prediction_time"], self.path)
        if len({t.columns[2] for t in tables}) > 1:
            raise UserError(f"The label files of {self.path} hold different value columns", mend="give the files of one task")
        table = pl.concat(tables)
        value = table.columns[2]
        natural: dict[str, TargetKind] = {"boolean_value": "binary", "categorical_value": "multiclass", "float_value": "continuous"}
        kind = self.kind or natural.get(value)
        if kind not in ("binary", "multiclass", "continuous"):
            raise UserError(
                f"Config key cohort.labels.kind is {kind!r} for MEDS labels in {value}",
                expected="binary, multiclass or continuous",
                mend="set cohort.labels.kind",
            )
        ids = canonical_ids(table[MEDS_SUBJECT], id_type, f"Column {MEDS_SUBJECT} of {self.path}")
        return _labelled(ids, table["prediction_time"], {self.target: TargetSpec(kind=kind, column=value, unit=self.unit)}, table, self.path)


@dataclass(frozen=True, kw_only=True)
class TableLabels(Labels):
    """Rows and outcomes from a table.

    Args:
        path: parquet, CSV or TSV.
        id: the column of subject ids; null: every line is a subject of its own, and evidence comes from the same table.
        targets: name -> keys of `targets.TargetSpec`.
        time: the column of prediction times; null where the sources have no time.
    """

    path: str
    id: str | None
    targets: Mapping[str, Mapping[str, Any]]
    time: str | None = None

    def inputs(self) -> dict[str, Path]:
        path = Path(self.path).expanduser()
        return {f"labels/{path.name}": path}

    def claims(self) -> Claim:
        specs = [TargetSpec.parse(name, given) for name, given in self.targets.items()]
        return Claim.of(self.path, [self.id, self.time, *(c for s in specs for c in s.columns)], (c for s in specs for c in s.outcomes))

    def read(self, id_type: str, *, predict_only: bool) -> Labelled:
        if not self.targets:
            raise UserError("Config key cohort.labels.targets is empty", expected="at least one target", mend="name the outcome's column")
        specs = {name: TargetSpec.parse(name, given) for name, given in self.targets.items()}
        path = Path(self.path).expanduser()
        table = read_table(path)
        ids, time = _rows(table, self.id, self.time, id_type, path)
        if predict_only:
            return _to_predict(ids, time, str(path))
        for name, spec in specs.items():
            has_columns(table, spec.columns, path, f"cohort.labels.targets.{name}")
        return _labelled(ids, time, specs, table, str(path))


@dataclass(frozen=True, kw_only=True)
class Unlabelled(Labels):
    """People without outcomes, to predict for: a table of subject ids and, where an evidence has times, of prediction times.

    Args:
        path: parquet, CSV or TSV.
        id: the column of subject ids; null: every line is a subject of its own, and evidence comes from the same table.
        time: the column of prediction times, or null.
    """

    path: str
    id: str | None
    time: str | None = None

    def inputs(self) -> dict[str, Path]:
        path = Path(self.path).expanduser()
        return {f"labels/{path.name}": path}

    def claims(self) -> Claim:
        return Claim.of(self.path, [self.id, self.time])

    def read(self, id_type: str, *, predict_only: bool) -> Labelled:
        path = Path(self.path).expanduser()
        return _to_predict(*_rows(read_table(path), self.id, self.time, id_type, path), str(path))


def _to_predict(ids: pl.Series, time: pl.Series, of: str) -> Labelled:
    _unique(ids, time, of)
    return Labelled(ids, time, {}, {}, predict_only=True)


def _rows(table: pl.DataFrame, id_column: str | None, time_column: str | None, id_type: str, path: Path) -> tuple[pl.Series, pl.Series]:
    has_columns(table, [c for c in (id_column, time_column) if c is not None], path, "cohort.labels")
    ids = ids_of(table, id_column, id_type, path)
    if time_column is None:
        return ids, pl.Series([None] * ids.len(), dtype=TIME)
    time = as_time(table[time_column], f"Column {time_column} of {path}")
    if time.null_count():
        raise UserError(f"Column {time_column} of {path} lacks {time.null_count()} prediction times", mend="fill them, or remove these lines")
    return ids, time


def _unique(ids: pl.Series, time: pl.Series, of: str) -> None:
    key = pl.DataFrame({"id": ids, "time": time})
    again = key.filter(pl.struct("id", "time").is_duplicated())
    if again.height:
        shown = ", ".join(repr(v) for v in again["id"].unique(maintain_order=True).head(3))
        raise UserError(
            f"Labels {of} hold {again.unique().height} rows more than once",
            expected="one line a subject and prediction time",
            examples=f"e.g. subjects {shown}",
            mend="remove the repetitions, or name the column of prediction times",
        )


def _labelled(ids: pl.Series, time: pl.Series, specs: Mapping[str, TargetSpec], table: pl.DataFrame, of: str) -> Labelled:
    _unique(ids, time, of)
    targets, counts = {}, {}
    for name, spec in specs.items():
        targets[name], dropped = spec.read(table, time, f"Target {name!r} of {of}")
        everyone = np.arange(ids.len())
        missing = int((~targets[name].table["observed"]).sum())
        counts[name] = {"kind": spec.kind, **event_counts(targets[name], everyone), "missing": missing, **dropped}
    return Labelled(ids, time, targets, counts)


def _meds_labels(path: Path, predict_only: bool) -> pl.DataFrame:
    """subject_id, prediction_time and, unless only these are asked for, the one value column of a MEDS label file."""
    table = read_table(path)
    has_columns(table, [MEDS_SUBJECT, "prediction_time"], path, "the MEDS label schema")
    known = ("boolean_value", "integer_value", "float_value", "categorical_value")
    values = [c for c in known if c in table.columns and table[c].null_count() < table.height]
    if len(values) != 1 and not predict_only:
        raise UserError(
            f"Label file {path} has {len(values)} value columns with content", expected=f"one of {', '.join(known)}", mend="write one task into one file"
        )
    if missing := int(table["prediction_time"].null_count()):
        raise UserError(f"Label file {path} lacks {missing} prediction times", expected="a prediction time on every line", mend="fill or remove these lines")
    return table.select(
        MEDS_SUBJECT, as_time(table["prediction_time"], f"prediction_time of {path}").alias("prediction_time"), *([] if predict_only else values)
    )

"""Looks at one flat table and says what each column is: for `equipoise init`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from equipoise.cohort.reading import columns_once, separator_of
from equipoise.config.nearest import nearest
from equipoise.contract.errors import UserError

MAX_CLASSES = 10
"""An outcome with more different values than this is taken as a quantity."""
MAX_LEVELS = 30
"""A text column with more different values than this is taken as an identifier or free text, and left out."""
MIN_ROWS = 40
_TEXT_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", ".", "?"]


@dataclass(frozen=True)
class Look:
    """What a table holds.

    Args:
        n_rows: number of lines.
        outcome: the outcome's column.
        task: "risk", "multiclass" or "regression".
        counts: outcome value -> rows (risk and multiclass).
        id_column: the identifier's column, or None where lines are people in file order.
        numbers: columns taken as numbers.
        categories: columns taken as categories.
        left_out: column -> why it is no input.
        remarks: what the user should look at.
    """

    n_rows: int
    outcome: str
    task: str
    counts: dict[str, int]
    id_column: str | None
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    left_out: dict[str, str]
    remarks: tuple[str, ...]


def read_flat(path: Path) -> pl.DataFrame:
    """Reads a CSV (comma, semicolon or tab), or a Parquet file.

    Raises:
        UserError: the file is missing, empty or cannot be read.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}", mend="give the path of a CSV or Parquet file")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pl.read_parquet(path)
        separator = separator_of(path)
        columns_once(path, separator)
        return pl.read_csv(path, separator=separator, null_values=_TEXT_MISSING, infer_schema_length=None, try_parse_dates=True)
    except (pl.exceptions.PolarsError, OSError, ValueError) as e:
        raise UserError(
            f"File {path} cannot be read as a table", found=str(e).splitlines()[0], mend="save it as CSV with one header line, or as Parquet"
        ) from e


def look_at(table: pl.DataFrame, *, outcome: str, id_column: str | None) -> Look:
    """Says what each column is.

    Args:
        table: one line a person.
        outcome: the column to predict.
        id_column: the identifier's column, or None to take a column called id, subject_id or patient_id where there is one.

    Raises:
        UserError: a column is missing, identifiers repeat, the outcome has one value only, or there are too few rows.
    """
    for name, what in ((outcome, "outcome"), (id_column, "id")):
        if name is not None and name not in table.columns:
            raise UserError(
                f"The table has no column {name!r} for --{what}", expected=f"one of {', '.join(table.columns[:40])}", mend=nearest(name, table.columns)
            )
    if table.height < MIN_ROWS:
        raise UserError(f"The table has {table.height} rows", expected=f"at least {MIN_ROWS}, to train, choose, and hold out", mend="bring more rows")
    id_column = id_column or next((c for c in table.columns if c != outcome and c.lower() in ("id", "subject_id", "patient_id")), None)
    if id_column is not None and table[id_column].n_unique() < table.height:
        twice = table.height - table[id_column].n_unique()
        raise UserError(
            f"Column {id_column!r} repeats identifiers",
            found=f"{twice} lines more than people",
            mend="init takes one line a person; use cohort=files for repeated rows, or rename the column if it names no people",
        )
    task, counts = _task_of(table[outcome])
    numbers, categories, left_out, remarks = _inputs(table, {outcome, id_column})
    if not numbers and not categories:
        raise UserError(
            "No column can be an input", found=f"{len(left_out)} columns left out", mend="; ".join(f"{k}: {v}" for k, v in list(left_out.items())[:5])
        )
    remarks += _suspects(table, outcome, numbers)
    return Look(table.height, outcome, task, counts, id_column, tuple(numbers), tuple(categories), left_out, tuple(remarks))


def _task_of(column: pl.Series) -> tuple[str, dict[str, int]]:
    values = column.drop_nulls()
    if values.dtype.is_float():
        values = values.drop_nans()
    n = values.n_unique()
    if n < 2:
        raise UserError(f"Outcome {column.name!r} has {n} value{'s' if n != 1 else ''}", expected="at least two", mend="choose another outcome")
    whole = values.dtype.is_integer() or values.dtype in (pl.String, pl.Boolean) or (values.dtype.is_float() and bool((values == values.round()).all()))
    if n == 2 or (n <= MAX_CLASSES and whole):
        counts = {str(k): int(v) for k, v in values.value_counts(sort=True).iter_rows()}
        return ("risk" if n == 2 else "multiclass"), counts
    if not values.dtype.is_numeric():
        raise UserError(
            f"Outcome {column.name!r} is text with {n} different values", expected=f"a number, or at most {MAX_CLASSES} classes", mend="choose another outcome"
        )
    return "regression", {}


def _inputs(table: pl.DataFrame, skip: set[str | None]) -> tuple[list[str], list[str], dict[str, str], list[str]]:
    numbers: list[str] = []
    categories: list[str] = []
    left_out: dict[str, str] = {}
    remarks: list[str] = []
    for column in (table[c] for c in table.columns if c not in skip):
        values = column.drop_nulls()
        if values.dtype.is_float():
            values = values.drop_nans()
        n = values.n_unique()
        if n < 2:
            left_out[column.name] = "empty" if len(values) == 0 else "the same value everywhere"
        elif values.dtype.is_numeric():
            numbers.append(column.name)
        elif values.dtype == pl.Boolean or (values.dtype in (pl.String, pl.Categorical) and n <= MAX_LEVELS):
            categories.append(column.name)
        elif values.dtype.is_temporal():
            left_out[column.name] = "a date: a flat table says nothing of the prediction time"
        else:
            left_out[column.name] = f"text with {n} different values"
        missing = 1 - len(values) / table.height
        if missing > 0.5 and column.name not in left_out:
            remarks.append(f"{column.name} is missing in {missing:.0%} of the rows")
    return numbers, categories, left_out, remarks


def _suspects(table: pl.DataFrame, outcome: str, numbers: list[str]) -> list[str]:
    """Columns that all but repeat the outcome: often it was measured after it."""
    y = table[outcome]
    if not y.dtype.is_numeric():
        y = y.cast(pl.String).cast(pl.Categorical).to_physical()
    frame = table.select(numbers).with_columns(y.cast(pl.Float64).alias("__outcome"))
    found = []
    for name in numbers:
        r = frame.select(pl.corr(pl.col(name).cast(pl.Float64), "__outcome", method="spearman")).item()
        if r is not None and abs(r) > 0.97:
            found.append(f"{name} all but repeats the outcome (rank correlation {r:.3f}): was it measured after it?")
    return found

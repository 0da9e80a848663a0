"""Reads tables and hashes files; whatever is wrong with a file is a UserError that names it."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import polars as pl

from equipoise.contract.errors import UserError
from equipoise.contract.tables import TIME

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", ".", "?")
"""Texts that stand for a missing value in CSV files."""

_TEXT_KINDS = (".csv", ".tsv", ".txt")


def read_table(path: Path) -> pl.DataFrame:
    """A parquet, CSV or TSV file. Columns of text files stay text: what they mean is declared, never guessed from their first lines.

    The separator of a text file is whichever of comma, semicolon and tab its header has most of.

    Raises:
        UserError: the file is of another kind, damaged or empty, or a column name stands twice.
    """
    kind = path.suffix.lower()
    try:
        if kind in (".parquet", ".pq"):
            table = pl.read_parquet(path)
        elif kind in _TEXT_KINDS:
            columns_once(path, separator_of(path))
            table = pl.read_csv(path, separator=separator_of(path), infer_schema=False, null_values=list(MISSING), encoding="utf8")
        else:
            raise UserError(f"File {path} is of a kind that is not read", expected="parquet, csv, tsv or txt", mend="convert it")
    except (pl.exceptions.PolarsError, OSError, ValueError) as e:
        raise UserError(f"File {path} cannot be read as {kind[1:]}", examples=str(e).strip().splitlines()[0][:200], mend="repair or replace the file") from e
    if not table.height:
        raise UserError(f"File {path} has no rows", expected="at least one row below the header", mend="give a table with rows")
    return table


def separator_of(path: Path) -> str:
    """Whichever of comma, semicolon and tab the header of a text file has most of."""
    with path.open(encoding="utf-8", errors="replace") as f:
        header = f.readline()
    return max(",;\t", key=header.count)


def columns_once(path: Path, separator: str) -> None:
    """Raises UserError when a name stands twice in the header of a text file: polars would rename the second without a word."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as f:
        names = next(csv.reader(f, delimiter=separator), [])
    if twice := [n for n, count in Counter(names).items() if count > 1]:
        raise UserError(
            f"File {path} has columns of the same name", expected="every column name once", found=", ".join(map(repr, twice[:5])), mend="rename or remove them"
        )


def has_columns(table: pl.DataFrame, columns: Iterable[str], path: Path, key: str) -> None:
    """Raises UserError for the first of ``columns`` that the table lacks, naming the config key that asks for it."""
    for column in columns:
        if column not in table.columns:
            shown = ", ".join(table.columns[:30]) + (", ..." if len(table.columns) > 30 else "")
            raise UserError(f"File {path} has no column {column!r}, which {key} names", expected=f"one of {shown}", mend=f"correct {key}")


def check_name(name: str) -> None:
    """Raises UserError for the name of an evidence, target or score that cannot be part of a file's name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UserError(f"Name {name!r} in the cohort's config", expected="letters, digits, _ . -", mend="choose another name")


def as_number(column: pl.Series, of: str) -> pl.Series:
    """A column as f64, null where missing.

    Raises:
        UserError: texts that are no numbers, with their count and up to three of them.
    """
    if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        return column.cast(pl.Float64).fill_nan(None)
    if isinstance(column.dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        raise UserError(f"{of} holds {column.dtype}", expected="numbers", mend="exclude it, or convert it to numbers")
    text = column.str.strip_chars()
    text = text.set(text.is_in(MISSING).fill_null(False), None)
    number = text.cast(pl.Float64, strict=False)
    if (bad := text.filter(number.is_null() & text.is_not_null())).len():
        shown = ", ".join(repr(v) for v in bad.unique(maintain_order=True).head(3))
        raise UserError(
            f"{of} holds {bad.len()} texts that are no numbers",
            expected="numbers, or one of the missing signs " + ", ".join(repr(m) for m in MISSING),
            examples=shown,
            mend="clean them, list the column in `categories`, or exclude it",
        )
    return number.fill_nan(None)


def as_text(column: pl.Series) -> pl.Series:
    """A column as text, null where missing; a whole number is written without a point, whatever type holds it."""
    if column.dtype.is_float():
        whole = column.drop_nulls().drop_nans()
        column = column.fill_nan(None)
        if whole.len() and bool((whole % 1 == 0).all()) and bool((whole.abs() < 2**53).all()):
            column = column.cast(pl.Int64)
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text.is_in(MISSING).fill_null(False), None)


def as_time(column: pl.Series, of: str) -> pl.Series:
    """A column as `contract.tables.TIME`, in UTC where it has a zone; ISO 8601 texts are read.

    Raises:
        UserError: texts that are no times, with their count.
    """
    if isinstance(column.dtype, pl.Datetime):
        zoned = column.dtype.time_zone is not None
        return (column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zoned else column).cast(TIME)
    if column.dtype in (pl.Date, pl.Null):
        return column.cast(TIME)
    if column.dtype == pl.String:
        text = column.str.strip_chars()
        found = _parsed(text)
        if not (bad := int((found.is_null() & text.is_not_null()).sum())):
            return found
        raise UserError(f"{of} holds {bad} texts that are no times", expected="ISO 8601, e.g. 2012-01-31 or 2012-01-31T13:45:00", mend="convert them")
    raise UserError(f"{of} holds {column.dtype}", expected="dates or times", mend="convert the column to ISO 8601 texts or to a datetime column")


def _parsed(text: pl.Series) -> pl.Series:
    found = pl.Series(text.name, [None] * text.len(), dtype=TIME)
    for form in ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"):
        found = found.fill_null(text.str.to_datetime(form, strict=False, time_unit="us"))
    zoned = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC")
    return found.fill_null(zoned.dt.replace_time_zone(None)).fill_null(text.str.to_date("%Y-%m-%d", strict=False).cast(TIME))


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, kept in memory as long as size and time of change stay the same."""
    found = path.stat()
    return _hash(os.fspath(path.resolve()), found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=4096)
def _hash(path: str, size: int, changed_ns: int) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()

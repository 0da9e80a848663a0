"""A table that an option of a view names."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from equipoise.cohort.reading import has_columns, read_table
from equipoise.contract.errors import UserError


def option_table(path: Path, columns: tuple[str, ...], key: str) -> pl.DataFrame:
    """The table, which may have more columns.

    Args:
        path: of the file.
        columns: that it must have.
        key: what names the file, in words.

    Raises:
        UserError: no such file or column, or it cannot be read.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}", expected=f"a table with columns {', '.join(columns)}", mend=f"correct {key}")
    table = read_table(path)
    has_columns(table, columns, path, key)
    return table

"""Brings the lines of a table to the cohort's rows: by subject, and by the last line not after the prediction time."""

from __future__ import annotations

import polars as pl

from equipoise.cohort.evidence import Asked
from equipoise.cohort.ids import no_duplicates
from equipoise.contract.errors import UserError

FOUND = "__found"
_ROW, _SUBJECT, _TIME = "__row", "__subject", "__time"


def to_rows(asked: Asked, ids: pl.Series, time: pl.Series | None, values: pl.DataFrame, of: str) -> pl.DataFrame:
    """One line a cohort row, with the columns of ``values`` and the Boolean column `FOUND`.

    Args:
        asked: the rows.
        ids: canonical subject ids of the lines.
        time: when each line became known; None for a table that is known from the start.
        values: the lines' values. Of a table with times each column gives its last value that is not missing.
        of: how errors call the table.

    Raises:
        UserError: two lines for one subject (and time), a line without a time, or rows without prediction times.
    """
    lines = values.with_columns(ids.alias(_SUBJECT), pl.lit(True).alias(FOUND))
    rows = pl.DataFrame({_SUBJECT: asked.subject_id, _TIME: asked.time}).with_row_index(_ROW)
    if time is None:
        no_duplicates(ids, of, "keep one line a subject, or name the column with times in the key `time`")
        joined = rows.join(lines, on=_SUBJECT, how="left", maintain_order="left")
    else:
        joined = _latest(rows, lines.with_columns(time.alias(_TIME)), of)
    return joined.drop(_ROW, _SUBJECT, _TIME).with_columns(pl.col(FOUND).fill_null(False))


def _latest(rows: pl.DataFrame, lines: pl.DataFrame, of: str) -> pl.DataFrame:
    if rows[_TIME].null_count():
        raise UserError(f"{of} has times, and {rows[_TIME].null_count()} rows have no prediction time", mend="give the labels a prediction time")
    if lines[_TIME].null_count():
        raise UserError(f"{of} has {lines[_TIME].null_count()} lines without a time", expected="a time on every line", mend="fill or remove these lines")
    if again := int(lines.select(pl.struct(_SUBJECT, _TIME).is_duplicated().sum()).item()):
        raise UserError(f"{of} has {again} lines that share subject and time", expected="one line a subject and time", mend="join or remove them")
    lines = lines.sort(_TIME, maintain_order=True)
    lines = lines.with_columns(pl.exclude(_SUBJECT, _TIME).forward_fill().over(_SUBJECT))
    joined = rows.sort(_TIME, maintain_order=True).join_asof(lines, on=_TIME, by=_SUBJECT, strategy="backward", check_sortedness=False)
    return joined.sort(_ROW)

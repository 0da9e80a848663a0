"""Subject identifiers: typed, in one canonical spelling, joined with counts. '007' is not 7."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from equipoise.contract.errors import UserError

ID_TYPES = ("str", "int")


def canonical_ids(column: pl.Series, id_type: str, of: str) -> pl.Series:
    """Identifiers as text in the canonical spelling of their declared type.

    Args:
        column: as the file has it.
        id_type: "str": texts stay as they are, whole numbers are written out; "int": whole numbers, or texts that spell one canonically.
        of: how errors call the column.

    Raises:
        UserError: missing ids, or ids of another type, with the count.

    >>> canonical_ids(pl.Series([7, 12]), "str", "column id").to_list()
    ['7', '12']
    """
    if id_type not in ID_TYPES:
        raise UserError(f"id_type {id_type!r}", expected="str or int", mend="correct cohort.id_type")
    if missing := int(column.null_count()) + (int((column.str.strip_chars() == "").sum()) if column.dtype == pl.String else 0):
        raise UserError(f"{of} lacks {missing} of {column.len()} ids", expected="an id on every line", mend="fill or remove these lines")
    if column.dtype.is_integer():
        return column.cast(pl.String)
    if column.dtype != pl.String and not isinstance(column.dtype, pl.Categorical | pl.Enum):
        raise UserError(f"{of} holds ids of type {column.dtype}", expected="texts or whole numbers", mend="write the ids as text or as whole numbers")
    text = column.cast(pl.String)
    if id_type == "int":
        spelled = text.cast(pl.Int64, strict=False).cast(pl.String)
        if (bad := text.filter((spelled != text).fill_null(True))).len():
            raise UserError(
                f"{of} holds {bad.len()} ids that are not whole numbers in canonical spelling",
                expected="e.g. 7, neither '007' nor '7.0'",
                examples=_shown(bad),
                mend="declare cohort.id_type=str, or clean the ids",
            )
    return text


def ids_of(table: pl.DataFrame, column: str | None, id_type: str, path: Path) -> pl.Series:
    """The canonical ids of a table's lines: a column of it, or the line numbers 0, 1, ... where ``column`` is None."""
    if column is None:
        return pl.Series(range(table.height), dtype=pl.Int64).cast(pl.String)
    return canonical_ids(table[column], id_type, f"Column {column} of {path}")


def no_duplicates(ids: pl.Series, of: str, mend: str) -> None:
    """Raises UserError when an id stands more than once, with the count and up to three of them."""
    again = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
    if again.len():
        raise UserError(f"{of} has {again.len()} subjects on more than one line", expected="one line a subject", examples=_shown(again), mend=mend)


def join_counts(asked: pl.Series, found: pl.Series, of: str) -> dict[str, Any]:
    """Counts of a join by subject, in subjects.

    Args:
        asked: subject ids of the cohort's rows, with repetitions.
        found: subject ids of the source, with repetitions.
        of: how errors call the source.

    Returns:
        ``asked``, ``in_source``, ``matched`` (in both), ``unmatched`` (in the source only), ``without`` (asked for, not in the source),
        ``duplicated`` (on more than one line of the source).

    Raises:
        UserError: nothing matches, with examples of both spellings.
    """
    mine, theirs = asked.unique(), found.unique()
    matched = int(theirs.is_in(mine.implode()).sum())
    if not matched and theirs.len() and mine.len():
        raise UserError(
            f"None of the {theirs.len()} subjects of {of} is among the {mine.len()} subjects of the labels",
            expected="the same ids in the same spelling",
            examples=f"{_shown(theirs.sort())} against {_shown(mine.sort())}",
            mend="name the right id column, or correct the spelling ('007' is not 7)",
        )
    counts = found.value_counts()
    return {
        "asked": mine.len(),
        "in_source": theirs.len(),
        "matched": matched,
        "unmatched": theirs.len() - matched,
        "without": mine.len() - matched,
        "duplicated": int((counts["count"] > 1).sum()),
    }


def _shown(ids: pl.Series) -> str:
    """Up to three examples."""
    return ", ".join(repr(v) for v in ids.head(3))

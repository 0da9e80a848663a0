"""Which group each evaluated row belongs to, by each column that the protocol names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from equipoise.config.nearest import nearest
from equipoise.contract.errors import UserError
from equipoise.contract.tables import MISSING_PATTERN, PRESENT_PREFIX, SCENARIO_ALL, SUBGROUP_PREFIX
from equipoise.stats.quartile_groups import quartile_groups

NOT_KNOWN = "not known"


def groups_of(table: pl.DataFrame, keys: pl.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Groups of the rows, str (n,) each, in the order of ``keys``; missing is "not known".

    A name is a column ``subgroup_<name>``, else a column ``name`` of the table: text, truth values, or numbers, which are cut at the rows' own
    quartiles where they have more than 5 values. ``missing`` is the pattern of present evidences. Where the table has them, ``site`` and
    ``missing`` are always among the groups.

    Args:
        table: a validated table of one task; what stands in its lines without a hidden evidence counts.
        keys: columns of `rows.ROW_KEY` and ``row``, one line a row.
        names: as in the protocol.

    Raises:
        UserError: a name is no column, or models disagree on a row's group.
    """
    lines = table.filter(pl.col("scenario") == SCENARIO_ALL)
    first = keys.select("row").join(lines.unique("row", keep="first", maintain_order=True), on="row", how="left", maintain_order="left")
    present = [c for c in table.columns if c.startswith(PRESENT_PREFIX)]
    always = [*(["site"] if first["site"].is_not_null().any() else []), *([MISSING_PATTERN] if present else [])]
    made = {}
    for name in dict.fromkeys((*names, *always)):
        if name == MISSING_PATTERN and present:
            made[name] = _pattern(first, present)
            continue
        column = next((c for c in (SUBGROUP_PREFIX + name, name) if c in table.columns), None)
        if column is None:
            raise _unknown(name, table.columns, present)
        if lines.group_by("row").agg(pl.col(column).drop_nulls().n_unique()).filter(pl.col(column) > 1).height:
            raise UserError(f"Models disagree on column {column} of the predictions table", expected="one group for each row", mend="correct it")
        made[name] = _named(first[column], name)
    return made


def _pattern(first: pl.DataFrame, present: Sequence[str]) -> np.ndarray:
    names = [c.removeprefix(PRESENT_PREFIX) for c in present]
    shown = first.select(pl.col(c).cast(pl.Boolean).fill_null(False) for c in present).to_numpy()
    return np.array([_in_words(names, row) for row in shown], dtype=str)


def _in_words(names: Sequence[str], present: np.ndarray) -> str:
    """By whichever is shorter: what is there, or what is not."""
    there = [n for n, is_there in zip(names, present, strict=True) if is_there]
    lacking = [n for n in names if n not in there]
    if not lacking or not there:
        return "no evidence" if lacking else "all evidences"
    return f"without {', '.join(lacking)}" if len(lacking) <= len(there) else f"only {', '.join(there)}"


def _named(column: pl.Series, name: str) -> np.ndarray:
    if column.dtype == pl.Boolean:
        texts = [None if v is None else "yes" if v else "no" for v in column.to_list()]
    elif column.dtype.is_numeric():
        value = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
        texts = quartile_groups(value, value, name).tolist()
    else:
        texts = column.cast(pl.String).to_list()
    return np.array([t or NOT_KNOWN for t in texts], dtype=str)


def _unknown(name: str, columns: Sequence[str], present: Sequence[str]) -> UserError:
    known = [c.removeprefix(SUBGROUP_PREFIX) for c in columns if c not in ("row",)] + ([MISSING_PATTERN] if present else [])
    return UserError(
        f"trial.subgroups names {name!r}, which is no column of the predictions table",
        expected=f"one of {', '.join(known[:40])}",
        mend=nearest(name, known) or "correct the name; columns of the cohort are joined when the run is made",
    )

"""Columns of the cohort's evidences by which endpoints will be shown: one group for each row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from equipoise.cohort.draft import ColumnStore
from equipoise.cohort.frozen import Cohort
from equipoise.config.nearest import nearest
from equipoise.contract.errors import UserError
from equipoise.contract.tables import MISSING_PATTERN, PRESENT_PREFIX, SUBGROUP_PREFIX
from equipoise.stats.quartile_groups import quartile_groups

KEY = ("subject_id", "prediction_time")


def with_subgroups(table: pl.DataFrame, cohort: Cohort, names: Sequence[str]) -> pl.DataFrame:
    """A predictions table with a column ``subgroup_<name>`` for each named column of the cohort.

    A category is its own group; a number with more than 5 values is cut at the quartiles of the cohort's train rows (all rows, where none has the
    role train), a number with fewer is grouped by value.

    Args:
        table: with subject_id and prediction_time.
        cohort: where the rows come from.
        names: of the protocol's subgroups; what every predictions table has (site, missing, present_<evidence>) is left out.

    Raises:
        UserError: a name is no column of the cohort.
    """
    own = [n for n in names if not _built_in(n)]
    if not own:
        return table
    check_subgroups(cohort, own, cohort.evidences)
    made = cohort.rows.select(KEY).with_columns(_groups(cohort, n).alias(SUBGROUP_PREFIX + n) for n in own)
    return table.join(made, on=KEY, how="left", nulls_equal=True, maintain_order="left")


def check_subgroups(cohort: Cohort, names: Sequence[str], evidences: Sequence[str]) -> None:
    """Refuses a subgroup that is nowhere, before anything is trained.

    Args:
        cohort: the cohort.
        names: of the protocol's subgroups.
        evidences: of the chosen views.

    Raises:
        UserError: a name is neither site, missing or present_<evidence>, nor a column of the cohort's evidences.
    """
    known = ["site", MISSING_PATTERN, *(PRESENT_PREFIX + e for e in evidences), *_columns(cohort)]
    for name in names:
        if name not in known:
            raise UserError(
                f"trial.subgroups names {name!r}, which the cohort does not have",
                expected=f"one of {', '.join(known[:40])}",
                mend=nearest(name, known) or "correct the name",
            )


def _built_in(name: str) -> bool:
    return name in ("site", MISSING_PATTERN) or name.startswith(PRESENT_PREFIX)


def _columns(cohort: Cohort) -> dict[str, tuple[str, str, int]]:
    """Name -> evidence, "number" or "category", and place; the first evidence that has it counts."""
    found: dict[str, tuple[str, str, int]] = {}
    for evidence in cohort.evidences:
        store = cohort.store(evidence) if cohort.kind_of(evidence) == "columns" else None
        if isinstance(store, ColumnStore):
            for kind, columns in (("number", store.numbers), ("category", store.categories)):
                found = {c.name: (evidence, kind, i) for i, c in enumerate(columns)} | found
    return found


def _groups(cohort: Cohort, name: str) -> pl.Series:
    evidence, kind, i = _columns(cohort)[name]
    store = cohort.store(evidence)
    assert isinstance(store, ColumnStore)
    if kind == "category":
        levels = np.array([*store.categories[i].levels, None], dtype=object)
        return pl.Series(levels[np.asarray(store.category[:, i])].tolist(), dtype=pl.String)
    value = np.asarray(store.number[:, i], dtype=np.float64)
    train = cohort.rows_in("train")
    made = quartile_groups(value, value[train] if train.size else value, name)
    return pl.Series([g or None for g in made.tolist()], dtype=pl.String)

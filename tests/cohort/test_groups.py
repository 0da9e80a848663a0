"""Subgroups from columns of the cohort: cut on train rows, joined to predictions, refused when they are nowhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise.cohort.draft import ColumnStore
from equipoise.cohort.groups import check_subgroups, with_subgroups
from equipoise.contract.errors import UserError
from equipoise.testing.cohorts import tiny_cohort


def test_numbers_are_cut_at_the_quartiles_of_train_rows_and_categories_are_their_own_groups(tmp_path: Path) -> None:
    cohort = tiny_cohort(tmp_path / "c")
    store = cohort.store("clinical")
    assert isinstance(store, ColumnStore)
    number, category = store.numbers[0].name, store.categories[0]
    table = cohort.rows.select("subject_id", "prediction_time").with_columns(risk=pl.lit(0.5)).reverse()
    made = with_subgroups(table, cohort, [number, category.name, "site", "missing"])
    assert made.columns == [*table.columns, f"subgroup_{number}", f"subgroup_{category.name}"]
    groups = made[f"subgroup_{number}"].reverse()
    value = np.asarray(store.number[:, 0])
    assert (groups.is_null().to_numpy() == np.isnan(value)).all()
    train = cohort.rows_in("train")
    lowest = float(f"{np.nanquantile(value[train], 0.25):.4g}")
    assert (groups.fill_null("").str.contains(" below ").to_numpy() == (value < lowest)).all()
    assert groups.drop_nulls().n_unique() == 4
    levels = [category.levels[i] if i >= 0 else None for i in np.asarray(store.category[:, 0])]
    assert made[f"subgroup_{category.name}"].reverse().to_list() == levels


def test_a_subgroup_that_is_nowhere_is_refused_with_the_nearest(tmp_path: Path) -> None:
    cohort = tiny_cohort(tmp_path / "c")
    check_subgroups(cohort, ["site", "missing", "present_ehr"], ["ehr"])
    with pytest.raises(UserError, match="did you mean present_ehr"):
        check_subgroups(cohort, ["present_er"], ["ehr"])
    with pytest.raises(UserError, match="present_genotype"):
        check_subgroups(cohort, ["present_genotype"], ["ehr"])

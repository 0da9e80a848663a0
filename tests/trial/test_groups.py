"""Groups of rows: by any column of the table, by quartile, and by the pattern of present evidences."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from equipoise.contract.errors import UserError
from equipoise.stats.quartile_groups import quartile_groups
from equipoise.trial.rows import Rows, rows_of
from equipoise.trial.table import from_foreign, validated
from trial.simulated_predictions import binary


def rows(table: pl.DataFrame, *names: str) -> Rows:
    return rows_of(validated(table), "binary", (), abstain="exclude", groups=names)


def test_columns_of_a_foreign_table_survive_and_name_groups() -> None:
    n = 40
    foreign = pl.DataFrame({"subject_id": [f"s{i:02d}" for i in range(n)], "outcome": [0, 1] * 20, "risk": np.linspace(0.1, 0.9, n)})
    foreign = foreign.with_columns(comparator_old=pl.lit(0.5), age=pl.Series(range(n)), sex=pl.Series(["f", "m", None, "f"] * 10), treated=pl.col("risk") > 0.5)
    made = rows_of(from_foreign(foreign), "binary", (), abstain="exclude", groups=("age", "sex", "treated"))
    assert made.groups["sex"].tolist() == ["f", "m", "not known", "f"] * 10
    assert {g: int((made.groups["age"] == g).sum()) for g in np.unique(made.groups["age"])} == dict.fromkeys(
        ["age below 9.75", "age 9.75 to 19.5", "age 19.5 to 29.25", "age 29.25 or more"], 10
    )
    assert (made.groups["treated"] == np.where(np.linspace(0.1, 0.9, n) > 0.5, "yes", "no")).all()
    assert "site" not in made.groups


def test_the_joined_column_wins_over_one_of_the_same_name() -> None:
    table = binary(20, equipoise=0.1).with_columns(subgroup_age=pl.lit("age 1 to 2"), age=pl.Series(range(20)))
    assert set(rows(table, "age").groups["age"]) == {"age 1 to 2"}


def test_the_missingness_pattern_is_that_of_the_rows_as_they_are_and_not_of_a_masked_scenario() -> None:
    table = binary(20, **{"equipoise__masked:ehr": 0.1, "equipoise": 0.1})
    hidden = pl.col("scenario") == "masked:ehr"
    number = pl.col("subject_id").str.slice(1).cast(pl.Int64)
    table = table.with_columns(present_ehr=(number >= 5) & ~hidden, present_genotype=number % 2 == 0, present_biomarker=number >= 3, site=pl.lit("x"))
    made = rows(table)
    order = sorted(range(20), key=lambda i: f"s{i}")
    by_presence = {
        (True, True, True): "all evidences",
        (True, False, True): "without genotype",
        (False, True, True): "without ehr",
        (False, False, True): "only biomarker",
        (False, True, False): "only genotype",
        (False, False, False): "no evidence",
    }
    expected = [by_presence[i >= 5, i % 2 == 0, i >= 3] for i in order]
    assert made.groups["missing"].tolist() == expected
    assert set(made.groups["site"]) == {"x"}
    assert rows(table, "present_ehr").groups["present_ehr"].tolist() == ["yes" if i >= 5 else "no" for i in order]


def test_a_name_that_is_nowhere_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean age"):
        rows(binary(20, equipoise=0.1).with_columns(age=pl.lit(1)), "aeg")
    with pytest.raises(UserError, match="Models disagree on column sex"):
        rows(binary(20, equipoise=0.1, linear=0.1).with_columns(sex=pl.col("model")), "sex")


def test_quartiles_come_from_the_reference_and_collapsed_ones_make_no_empty_group() -> None:
    made = quartile_groups(np.array([-5.0, 0.0, 1.0, 100.0]), np.array([0.0] * 40 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] * 5), "x")
    assert made.tolist() == ["x below 3", "x below 3", "x below 3", "x 3 or more"]

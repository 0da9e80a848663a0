"""The predictions table at the waist."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from equipoise.contract.errors import UserError
from equipoise.contract.tables import PREDICTIONS
from equipoise.trial.rows import rows_of
from equipoise.trial.table import from_foreign, validated
from trial.simulated_predictions import binary, judged


def test_three_columns_suffice_and_the_rest_gets_defaults() -> None:
    made = validated(pl.DataFrame({"subject_id": [1, 2], "outcome": [0, 1], "risk": [0.1, float("nan")]}))
    assert set(PREDICTIONS) <= set(made.columns)
    assert {c: made.schema[c] for c in PREDICTIONS} == PREDICTIONS
    assert made["cluster"].to_list() == made["subject_id"].to_list() == ["1", "2"]
    assert made["risk"].null_count() == 1
    assert made["weight"].to_list() == [1.0, 1.0]


def test_wide_comparators_of_a_foreign_table_become_models() -> None:
    foreign = pl.DataFrame({"pid": ["a", "b"], "died": [0, 1], "score": [0.1, 0.7], "lo": [0.0, 0.5], "comparator_saps": [0.2, None], "site": ["x", "y"]})
    made = from_foreign(foreign, {"subject_id": "pid", "outcome": "died", "risk": "score"})
    saps = made.filter(pl.col("model") == "saps")
    assert saps["risk"].to_list() == [0.2, None]
    assert saps["lo"].to_list() == [None, None]
    assert saps["site"].to_list() == ["x", "y"]
    assert made.filter(pl.col("model") == "equipoise")["lo"].to_list() == [0.0, 0.5]


@pytest.mark.parametrize("lacking", ["subject_id", "outcome", "risk"])
def test_what_a_foreign_table_lacks_is_not_filled_from_its_comparators(lacking: str) -> None:
    foreign = pl.DataFrame({"subject_id": ["a", "b"], "outcome": [0, 1], "risk": [0.1, 0.7], "comparator_saps": [0.2, 0.3]})
    with pytest.raises(UserError, match=f"has no column {lacking}"):
        from_foreign(foreign.drop(lacking))
    with pytest.raises(UserError, match="has no rows"):
        from_foreign(foreign.head(0))


def test_a_foreign_table_goes_through_the_same_trial() -> None:
    long = binary(300, equipoise=0.2, linear=1.0)
    own, other = (long.filter(pl.col("model") == m) for m in ("equipoise", "linear"))
    wide = own.select("subject_id", "outcome", "risk").with_columns(other["risk"].alias("comparator_linear"))
    assert judged(from_foreign(wide))["comparisons"] == judged(long)["comparisons"]


@pytest.mark.parametrize(
    ("broken", "names"),
    [
        (lambda t: t.drop("risk"), "no column risk"),
        (lambda t: t.drop("subject_id"), "no column subject_id"),
        (lambda t: t.with_columns(pl.lit("high").alias("risk")), "Column risk .* another type"),
        (lambda t: t.with_columns(pl.lit(float("inf")).alias("outcome")), "Column outcome .* infinite in 20 rows"),
        (lambda t: t.with_columns(pl.lit(-1.0).alias("weight")), "weight .* negative"),
        (lambda t: pl.concat([t, t.head(2)]), "same key.*2 keys"),
        (lambda t: t.with_columns(pl.lit(None).cast(pl.String).alias("subject_id")), "subject_id .* empty"),
    ],
)
def test_a_broken_table_is_refused_by_name_and_count(broken: object, names: str) -> None:
    assert callable(broken)
    with pytest.raises(UserError, match=names):
        validated(broken(binary(20, equipoise=0.3)))


@pytest.mark.parametrize(
    ("column", "value", "names"),
    [("risk", 1.2, r"outside \[0, 1\] in 1 rows"), ("outcome", 2.0, "neither 0 nor 1"), ("target", "h=9", "unexpected values in column target")],
)
def test_values_outside_the_kind_of_outcome_are_refused(column: str, value: object, names: str) -> None:
    t = binary(20, equipoise=0.3).with_columns(pl.lit("").alias("target"))
    t = t.with_columns(pl.when(pl.col("subject_id") == "s3").then(pl.lit(value)).otherwise(pl.col(column)).alias(column))
    with pytest.raises(UserError, match=names):
        judged(t)


def test_models_that_disagree_on_what_happened_are_refused() -> None:
    t = binary(30, equipoise=0.3, linear=0.4)
    turned = (pl.col("model") == "linear") & (pl.col("subject_id") == "s1")
    with pytest.raises(UserError, match="disagree on column outcome in 1 rows"):
        judged(t.with_columns(pl.when(turned).then(1 - pl.col("outcome")).otherwise(pl.col("outcome")).alias("outcome")))


def test_classes_must_sum_to_one() -> None:
    t = pl.DataFrame({"subject_id": ["a", "a"], "target": ["x", "y"], "risk": [0.5, 0.2], "outcome": [1.0, 0.0]})
    with pytest.raises(UserError, match="do not sum to 1"):
        rows_of(validated(t), "multiclass", ("x", "y"), abstain="exclude")


def test_rows_are_matched_by_key_whatever_their_order() -> None:
    t = binary(120, equipoise=0.3, linear=0.7)
    shuffled = t.sample(fraction=1.0, shuffle=True, seed=1)
    assert judged(t) == judged(shuffled)


def test_prediction_times_of_one_subject_are_rows_of_one_cluster() -> None:
    from datetime import datetime

    times = [datetime(2020, 1, 1), datetime(2020, 2, 1), None]
    t = pl.DataFrame({"subject_id": ["a", "a", "b"], "prediction_time": times, "risk": [0.1, 0.2, 0.3], "outcome": [0.0, 1.0, 0.0]})
    rows = rows_of(validated(t), "binary", (), abstain="exclude")
    assert rows.size == 3
    assert np.unique(rows.cluster).size == 2
    assert np.unique(rows.subject).size == 3

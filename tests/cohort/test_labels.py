"""Labels and targets: every kind from a table, MEDS labels, and labels that are wrong."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.cohort.labels import Labelled, MedsLabels, TableLabels, Unlabelled
from equipoise.cohort.targets import TargetSpec
from equipoise.contract.errors import UserError


def read(folder: Path, table: pl.DataFrame, spec: dict[str, Any], **keys: Any) -> Labelled:
    table.with_columns(pl.Series("id", [f"P{i}" for i in range(table.height)])).write_parquet(folder / "l.parquet")
    return TableLabels(path=str(folder / "l.parquet"), id="id", targets={"y": spec}, **keys).read("str", predict_only=False)


def column(labelled: Labelled, name: str) -> list[float]:
    return labelled.targets["y"].table[name].to_list()


def test_binary_outcomes_are_0_and_1_or_say_what_is_positive(tmp_path: Path) -> None:
    numbers = read(tmp_path, pl.DataFrame({"c": [1, 0, None]}), {"kind": "binary", "column": "c"})
    np.testing.assert_array_equal(column(numbers, "outcome"), [1, 0, np.nan])
    assert column(numbers, "observed") == [True, True, False]
    assert numbers.counts["y"] == {"kind": "binary", "event": 1, "no event": 1, "missing": 1}
    texts = read(tmp_path, pl.DataFrame({"c": ["dead", "alive", "", "dead"]}), {"kind": "binary", "column": "c", "positive": "dead"})
    np.testing.assert_array_equal(column(texts, "outcome"), [1, 0, np.nan, 1])
    for values, positive in ((["TRUE", "false"], "True"), ([1.0, 2.0], "1.0"), (["1", "2"], 1), ([True, False], "True")):
        assert column(read(tmp_path, pl.DataFrame({"c": values}), {"kind": "binary", "column": "c", "positive": positive}), "outcome") == [1, 0]
    truth = read(tmp_path, pl.DataFrame({"c": [True, False]}), {"kind": "binary", "column": "c"})
    assert column(truth, "outcome") == [1, 0]
    for table, spec, message in (
        ({"c": ["dead", "alive"]}, {}, "declared binary.*'alive', 'dead'.*positive"),
        ({"c": [1, 2]}, {}, "declared binary.*'1', '2'"),
        ({"c": [1, 2, 3]}, {"positive": 1}, "two values"),
        ({"c": [1, 2]}, {"positive": 5}, "no row has the positive value 5"),
    ):
        with pytest.raises(UserError, match=message):
            read(tmp_path, pl.DataFrame(table), {"kind": "binary", "column": "c", **spec})


def test_classes_are_those_that_occur_or_those_given(tmp_path: Path) -> None:
    table = pl.DataFrame({"c": ["low", "high", None, "low"]})
    found = read(tmp_path, table, {"kind": "multiclass", "column": "c"})
    assert found.targets["y"].classes == ("high", "low")
    np.testing.assert_array_equal(column(found, "outcome"), [1, 0, np.nan, 1])
    given = read(tmp_path, table, {"kind": "multiclass", "column": "c", "classes": ["low", "mid", "high"]})
    np.testing.assert_array_equal(column(given, "outcome"), [0, 2, np.nan, 0])
    with pytest.raises(UserError, match="2 rows of other classes"):
        read(tmp_path, table, {"kind": "multiclass", "column": "c", "classes": ["mid", "high"]})


def test_continuous_outcomes_lose_impossible_values(tmp_path: Path) -> None:
    found = read(tmp_path, pl.DataFrame({"c": [1.0, -3.0, float("inf"), None, 9.0]}), {"kind": "continuous", "column": "c", "unit": "g", "range": [0, 9]})
    np.testing.assert_array_equal(column(found, "outcome"), [1, np.nan, np.nan, np.nan, 9])
    assert found.targets["y"].unit == "g"
    assert found.counts["y"] == {"kind": "continuous", "observed": 2, "missing": 3, "impossible": 2}


def test_survival_is_read_in_its_unit_with_causes_entry_and_errors(tmp_path: Path) -> None:
    table = pl.DataFrame({"t": [2.0, 1.0, -1.0, 3.0, None], "e": [1, 0, 1, 2, 1], "entry": [0.5, 0.0, 0.0, 4.0, 0.0]})
    found = read(tmp_path, table, {"kind": "time_to_event", "time": "t", "event": "e", "entry": "entry", "time_unit": "years"})
    np.testing.assert_allclose(column(found, "time_days"), [730.5, 365.25, np.nan, np.nan, np.nan])
    assert column(found, "event") == [1, 0, 0, 0, 0]
    assert column(found, "observed") == [True, True, False, False, False]
    assert column(found, "entry_days")[0] == pytest.approx(182.625)
    np.testing.assert_array_equal(column(found, "outcome"), [1, 0, np.nan, np.nan, np.nan])
    assert found.counts["y"]["impossible"] == 2
    with pytest.raises(UserError, match="holds values that are no causes"):
        read(tmp_path, table.with_columns(e=pl.lit(0.5)), {"kind": "time_to_event", "time": "t", "event": "e"})


def test_dates_of_events_count_from_the_prediction_time(tmp_path: Path) -> None:
    table = pl.DataFrame({"when": [datetime(2020, 1, 1)] * 2, "end": [datetime(2020, 1, 31), datetime(2020, 1, 1, 12)], "e": [1, 0]})
    spec = {"kind": "time_to_event", "time": "end", "event": "e"}
    assert column(read(tmp_path, table, spec, time="when"), "time_days") == [30.0, 0.5]
    with pytest.raises(UserError, match="holds dates, and there are rows without a prediction time"):
        read(tmp_path, table, spec)


def test_treatment_and_weights_stand_beside_the_outcome(tmp_path: Path) -> None:
    table = pl.DataFrame({"c": [1.0, 2.0], "arm": [0, 1], "w": [1.0, 2.5]})
    spec = {"kind": "treatment_effect", "column": "c", "treatment": "arm", "weight": "w"}
    found = read(tmp_path, table, spec)
    assert (column(found, "treatment"), column(found, "weight")) == ([0, 1], [1.0, 2.5])
    assert found.counts["y"]["treatment 1"] == 1
    for bad, message in (({"arm": [0.5, 1]}, "no treatments"), ({"w": [0.0, 1]}, "not above 0"), ({"w": [None, 1.0]}, "missing or not above 0")):
        with pytest.raises(UserError, match=message):
            read(tmp_path, table.with_columns(**{k: pl.Series(v) for k, v in bad.items()}), spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "binry", "column": "c"}, r"targets\.y\.kind is 'binry'.*binary, multiclass"),
        ({"kind": "binary", "colum": "c"}, r"Unknown config key cohort\.labels\.targets\.y\.colum"),
        ({"kind": "binary"}, r"targets\.y\.column is missing"),
        ({"kind": "time_to_event", "time": "c"}, r"targets\.y\.event is missing"),
        ({"kind": "treatment_effect", "column": "c"}, r"targets\.y\.treatment is missing"),
        ({"kind": "time_to_event", "time": "c", "event": "c", "time_unit": "moons"}, r"time_unit is 'moons'"),
        ({"kind": "binary", "column": "gone"}, "has no column 'gone'"),
    ],
)
def test_a_wrong_target_is_named_by_its_config_key(tmp_path: Path, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, pl.DataFrame({"c": [0, 1]}), spec)


def test_a_target_name_cannot_leave_the_cohorts_folder() -> None:
    with pytest.raises(UserError, match="letters, digits"):
        TargetSpec.parse("../../etc", {"kind": "binary", "column": "c"})


def test_a_row_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("id,when,y\n" + "".join(f"P{i},2020-01-01,1\n" * 2 for i in range(4)) + "P0,2021-01-01,0\n")
    with pytest.raises(UserError, match=r"4 rows more than once.*'P0', 'P1', 'P2'\."):
        TableLabels(path=str(tmp_path / "l.csv"), id="id", time="when", targets={"y": {"kind": "binary", "column": "y"}}).read("str", predict_only=False)


def meds_labels(folder: Path, **values: Any) -> str:
    n = 3
    base = {"subject_id": list(range(n)), "prediction_time": [datetime(2020, 1, 1)] * n}
    pl.DataFrame({**base, **values}).write_parquet(folder / "labels.parquet")
    return str(folder / "labels.parquet")


def test_meds_labels_say_their_kind(tmp_path: Path) -> None:
    for values, kind, outcome in (
        ({"boolean_value": [True, False, True]}, "binary", [1, 0, 1]),
        ({"categorical_value": ["b", "a", "b"]}, "multiclass", [1, 0, 1]),
        ({"float_value": [0.5, 1.5, 2.5]}, "continuous", [0.5, 1.5, 2.5]),
    ):
        labelled = MedsLabels(path=meds_labels(tmp_path, **values), target="y").read("int", predict_only=False)
        assert labelled.targets["y"].kind == kind
        assert labelled.targets["y"].table["outcome"].to_list() == outcome
        assert labelled.subject_id.to_list() == ["0", "1", "2"]
    path = meds_labels(tmp_path, integer_value=[3, 1, 3])
    with pytest.raises(UserError, match="kind is None for MEDS labels in integer_value"):
        MedsLabels(path=path, target="y").read("int", predict_only=False)
    assert MedsLabels(path=path, target="y", kind="multiclass").read("int", predict_only=False).targets["y"].classes == ("1", "3")
    with pytest.raises(UserError, match="has 2 value columns"):
        MedsLabels(path=meds_labels(tmp_path, boolean_value=[True] * 3, float_value=[1.0] * 3), target="y").read("int", predict_only=False)


def test_people_without_outcomes_are_rows_too(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id,when\n7,2020-01-01\n8,2020-01-01\n")
    labelled = Unlabelled(path=str(tmp_path / "new.csv"), id="id", time="when").read("int", predict_only=True)
    assert (labelled.subject_id.to_list(), labelled.targets, labelled.predict_only) == (["7", "8"], {}, True)
    same = MedsLabels(path=meds_labels(tmp_path), target="y").read("int", predict_only=True)
    assert (same.subject_id.len(), same.targets) == (3, {})
    (tmp_path / "new.csv").write_text("id,when\n7,2020-01-01\n8,\n")
    with pytest.raises(UserError, match="lacks 1 prediction times"):
        Unlabelled(path=str(tmp_path / "new.csv"), id="id", time="when").read("int", predict_only=True)

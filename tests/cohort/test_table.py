"""Tables: numbers, categories, times, units, ranges, and columns that must not be inputs."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.written_sources import T0
from equipoise.cohort.draft import ColumnStore
from equipoise.cohort.evidence import Asked, Delivery
from equipoise.cohort.join import FOUND, to_rows
from equipoise.cohort.reading import as_time
from equipoise.cohort.table import Table
from equipoise.contract.errors import UserError
from equipoise.contract.tables import TIME


def asked(ids: list[str], times: list[datetime] | None = None, **more: object) -> Asked:
    time = pl.Series([None] * len(ids) if times is None else times, dtype=TIME)
    return Asked(pl.Series(ids, dtype=pl.String), time, "str", **more)  # type: ignore[arg-type]


def store_of(delivery: Delivery) -> ColumnStore:
    assert isinstance(delivery.store, ColumnStore)
    return delivery.store


def csv(folder: Path, text: str, name: str = "t.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_csv_becomes_numbers_and_categories_by_row(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,age,sex,stage,empty\n007,61.5,F,2,\n7,NA,M,3,\n9,40,,1,NA\n")
    delivery = Table(path=path, id="id", categories=["stage"], units={"age": "a"}).read(asked(["7", "9", "007", "12", "7"]))
    store = store_of(delivery)
    assert [(c.name, c.unit) for c in store.numbers] == [("age", "a")]
    assert [(c.name, c.levels) for c in store.categories] == [("sex", ("F", "M")), ("stage", ("1", "2", "3"))]
    np.testing.assert_array_equal(store.number[:, 0], [np.nan, 40, 61.5, np.nan, np.nan])
    assert store.category.tolist() == [[1, 2], [-1, 0], [0, 1], [-1, -1], [1, 2]]
    assert delivery.present.tolist() == [True, True, True, False, True]
    assert delivery.counts["columns_without_values"] == ["empty"]
    assert "empty" in delivery.notes[0]
    assert delivery.counts["ids"] == {"asked": 4, "in_source": 3, "matched": 3, "unmatched": 0, "without": 1, "duplicated": 0}


def test_a_line_without_any_value_is_no_evidence(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,crp,ldl\na,,\nb,1,\n")
    delivery = Table(path=path, id="id", columns=["crp", "ldl"]).read(asked(["a", "b"]))
    assert delivery.present.tolist() == [False, True]
    assert delivery.counts["rows"] == {"with_a_line": 2, "with_a_value": 1}
    with pytest.raises(UserError, match="holds no value for any of the 1 rows"):
        Table(path=path, id="id").read(asked(["a"]))


def test_whole_numbers_keep_one_spelling_as_categories_whatever_holds_them(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a", "b", "c"], "k": [1.0, 2.0, None], "flag": [True, False, None]}).write_parquet(tmp_path / "t.parquet")
    store = store_of(Table(path=str(tmp_path / "t.parquet"), id="id", categories=["k"]).read(asked(["a", "b", "c"])))
    assert store.categories[0].levels == ("1", "2")
    np.testing.assert_array_equal(store.number[:, 0], [1, 0, np.nan])


def test_impossible_values_are_dropped_before_they_can_be_carried_forward(tmp_path: Path) -> None:
    lines = "id,when,sbp\na,2020-01-01,120\na,2020-01-02,-5\nb,2020-01-01,400\n"
    table = Table(path=csv(tmp_path, lines), id="id", time="when", ranges={"sbp": [20, 300]})
    delivery = table.read(asked(["a", "a", "b"], [datetime(2020, 1, 3), datetime(2019, 12, 31), datetime(2020, 1, 3)]))
    np.testing.assert_array_equal(store_of(delivery).number[:, 0], [120, np.nan, np.nan])
    assert delivery.counts["ranges"] == {"sbp": {"below": 1, "above": 1, "infinite": 0, "values": 3}}
    assert delivery.present.tolist() == [True, False, False]


line = st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.one_of(st.none(), st.integers(0, 99)), st.one_of(st.none(), st.sampled_from("xyz")))


@settings(max_examples=100, deadline=None)
@given(st.lists(line, max_size=25, unique_by=lambda x: x[:2]), st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-1, 21)), min_size=1, max_size=10))
def test_each_column_gives_its_last_value_not_after_the_prediction_time(
    lines: list[tuple[str, int, int | None, str | None]], rows: list[tuple[str, int]]
) -> None:
    def at(h: int) -> datetime:
        return T0 + timedelta(hours=h)

    values = pl.DataFrame({"v": [x[2] for x in lines], "w": [x[3] for x in lines]}, schema={"v": pl.Int64, "w": pl.String})
    ids, time = pl.Series([x[0] for x in lines], dtype=pl.String), pl.Series([at(x[1]) for x in lines], dtype=TIME)
    got = to_rows(asked([s for s, _ in rows], [at(h) for _, h in rows]), ids, time, values, "table")
    for row, (s, h) in enumerate(rows):
        mine = sorted((x for x in lines if x[0] == s and x[1] <= h), key=lambda x: x[1])
        assert got[FOUND][row] == bool(mine)
        assert got["v"][row] == next((x[2] for x in reversed(mine) if x[2] is not None), None)
        assert got["w"][row] == next((x[3] for x in reversed(mine) if x[3] is not None), None)


def test_repeated_subjects_are_refused_with_count_and_examples(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,x\n" + "".join(f"P{i},1\nP{i},2\n" for i in range(5)) + "Q,1\n")
    with pytest.raises(UserError, match=r"has 5 subjects on more than one line.*'P0', 'P1', 'P2'\.") as e:
        Table(path=path, id="id").read(asked(["Q", "P0"]))
    assert "P3" not in str(e.value)
    again = csv(tmp_path, "id,when,x\na,2020-01-01,1\na,2020-01-01,2\n")
    with pytest.raises(UserError, match="2 lines that share subject and time"):
        Table(path=again, id="id", time="when").read(asked(["a"], [datetime(2021, 1, 1)]))


def test_units_by_line_are_converted_and_unknown_ones_dropped(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,glucose,unit\na,90,mg/dL\nb,5,mmol/L\nc,5,stone\nd,80,\n")
    keys = {"unit_columns": {"glucose": "unit"}, "conversions": {"glucose": {"mmol/L": 18}}}
    delivery = Table(path=path, id="id", units={"glucose": "mg/dL"}, **keys).read(asked(list("abcd")))  # type: ignore[arg-type]
    np.testing.assert_array_equal(store_of(delivery).number[:, 0], [90, 90, np.nan, 80])
    assert delivery.counts["units"] == {"glucose": {"converted": 1, "unit_missing": 1, "unit_unknown": 1}}
    assert delivery.notes == ["1 values are in units without a declared conversion and were dropped, of glucose"]
    with pytest.raises(UserError, match="has a unit column and no declared unit"):
        Table(path=path, id="id", **keys).read(asked(["a"]))  # type: ignore[arg-type]


def test_a_number_column_with_stray_texts_is_refused_and_free_text_left_out(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,psa\na,1.5\nb,<0.1\nc,2\n")
    with pytest.raises(UserError, match=r"Column psa of .* holds 1 texts that are no numbers.*'<0\.1'"):
        Table(path=path, id="id").read(asked(["a"]))
    many = csv(tmp_path, "id,note,x\n" + "".join(f"{i},seen by doctor {i},1\n" for i in range(80)))
    delivery = Table(path=many, id="id").read(asked(["3"]))
    assert [c.name for c in store_of(delivery).categories] == []
    assert "note is free text" in delivery.notes[0]


def test_outcomes_and_scores_are_no_inputs(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,x,died,family\na,1,0,f\nb,2,1,g\n")
    where = (tmp_path / "t.csv").resolve()
    question = asked(["a", "b"], refused={where: frozenset({"id", "died"})}, reserved={where: frozenset({"id", "family"})})
    store = store_of(Table(path=path, id="id").read(question))
    assert [c.name for c in (*store.numbers, *store.categories)] == ["x"]
    assert len(store_of(Table(path=path, id="id", columns=["x", "family"]).read(question)).categories) == 1
    with pytest.raises(UserError, match=r"Column 'died' .* is an outcome or a published score"):
        Table(path=path, id="id", columns=["x", "died"]).read(question)


def test_missing_columns_are_refused_in_training_and_counted_in_prediction(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,x\na,1\n")
    table = Table(path=path, id="id", columns=["x", "crp"])
    with pytest.raises(UserError, match="has no column 'crp'"):
        table.read(asked(["a"]))
    delivery = table.read(asked(["a"], predict_only=True))
    assert delivery.counts["columns_missing"] == ["crp"]
    assert [c.name for c in store_of(delivery).numbers] == ["x"]


@pytest.mark.parametrize("key", ["units", "unit_columns", "conversions", "ranges"])
def test_what_is_declared_of_a_column_that_there_is_not_is_refused(key: str, tmp_path: Path) -> None:
    """A misspelt range would bound nothing, and say nothing."""
    path, declared = csv(tmp_path, "id,sbp\na,120\n"), {key: {"spb": [20, 300] if key == "ranges" else {} if key == "conversions" else "x"}}
    with pytest.raises(UserError, match=rf"no column 'spb', which `{key}` names.*sbp"):
        Table(path=path, id="id", **declared).read(asked(["a"]))  # type: ignore[arg-type]
    assert store_of(Table(path=path, id="id", **declared).read(asked(["a"], predict_only=True))).number.tolist() == [[120.0]]  # type: ignore[arg-type]


def test_lines_can_be_the_subjects_only_within_the_labels_own_table(tmp_path: Path) -> None:
    path = csv(tmp_path, "x;y\n1;2\n3;4\n")
    where = (tmp_path / "t.csv").resolve()
    question = asked(["1", "0"], refused={where: frozenset({"y"})}, label_file=where)
    np.testing.assert_array_equal(store_of(Table(path=path, id=None).read(question)).number, [[3], [1]])
    with pytest.raises(UserError, match="has no id column"):
        Table(path=path, id=None).read(asked(["1", "0"]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"PK", "is of a kind that is not read"),
        ("t.parquet", b"not parquet", "cannot be read as parquet"),
        ("t.csv", b"id,x\n", "has no rows"),
        ("t.csv", b"", "cannot be read as csv"),
        ("t.csv", b"id,x\n,1\n", "lacks 1 of 1 ids"),
        ("t.csv", b"name,x\na,1\n", "has no column 'id'"),
        ("t.csv", b"id,x,x\na,1,2\n", "columns of the same name"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        Table(path=str(tmp_path / name), id="id").read(asked(["a"]))


def test_ids_of_type_int_are_spelled_canonically(tmp_path: Path) -> None:
    question = Asked(pl.Series(["7"]), pl.Series([None], dtype=TIME), "int")
    with pytest.raises(UserError, match=r"1 ids that are not whole numbers in canonical spelling.*'007'"):
        Table(path=csv(tmp_path, "id,x\n007,1\n7,2\n"), id="id").read(question)
    pl.DataFrame({"id": [7.0], "x": [1]}).write_parquet(tmp_path / "f.parquet")
    with pytest.raises(UserError, match="ids of type Float64"):
        Table(path=str(tmp_path / "f.parquet"), id="id").read(question)


def test_times_are_read_from_texts_dates_and_zones() -> None:
    texts = pl.Series(["2020-01-02", "2020-01-02T03:04:05", "2020-01-02 03:04", "2020-01-02T03:04:05+01:00", None])
    wanted = [datetime(2020, 1, 2), datetime(2020, 1, 2, 3, 4, 5), datetime(2020, 1, 2, 3, 4), datetime(2020, 1, 2, 2, 4, 5), None]
    assert as_time(texts, "c").to_list() == wanted
    zoned = pl.Series([datetime(2020, 1, 2, 12)]).dt.replace_time_zone("Europe/Berlin")
    assert as_time(zoned, "c").to_list() == [datetime(2020, 1, 2, 11)]
    with pytest.raises(UserError, match="1 texts that are no times"):
        as_time(pl.Series(["2020-01-02", "yesterday"]), "c")

"""MEDS folders: what a row may see, ranges, units, and folders that are wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohort.written_sources import T0, write_meds
from equipoise.cohort.draft import STATIC_TIME, EventStore
from equipoise.cohort.evidence import Asked, Delivery
from equipoise.cohort.meds import Meds
from equipoise.contract.errors import UserError
from equipoise.contract.tables import TIME


def asked(rows: list[tuple[str, float]], id_type: str = "str") -> Asked:
    times = pl.Series([T0 + timedelta(hours=h) for _, h in rows], dtype=TIME)
    return Asked(pl.Series([s for s, _ in rows], dtype=pl.String), times, id_type)


def store_of(delivery: Delivery) -> EventStore:
    assert isinstance(delivery.store, EventStore)
    return delivery.store


def seen(store: EventStore, row: int) -> list[tuple[str, float | None, float | None]]:
    """(code, hours, value) of the events that a row may use."""
    found = []
    for e in range(store.start[row], store.stop[row]):
        hours = None if store.time_us[e] == STATIC_TIME else (store.time_us[e] - int(T0.timestamp() * 1e6)) / 3.6e9
        value = None if np.isnan(store.value[e]) else round(float(store.value[e]), 4)
        found.append((store.codes[store.code[e]], hours, value))
    return found


event = st.tuples(st.integers(1, 4), st.one_of(st.none(), st.integers(-30, 30).map(float)), st.sampled_from("abc"), st.one_of(st.none(), st.just(1.5)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(event, min_size=1, max_size=40), st.lists(st.tuples(st.integers(1, 6), st.integers(-31, 31)), min_size=1, max_size=12), st.integers(1, 2))
def test_a_row_sees_exactly_what_happened_until_its_prediction_time(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, float | None, str, float | None]], rows: list[tuple[int, int]], shards: int
) -> None:
    folder = write_meds(tmp_path_factory.mktemp("meds"), events, shards=shards)
    question = asked([(str(s), float(h)) for s, h in rows])
    timed = [e for e in events if e[1] is not None]
    with_events = {s for s, *_ in events}
    matched = with_events & {s for s, _ in rows}
    rows_timed = [(s, h) for s, h in rows if any(e[0] == s for e in timed)]
    all_early = bool(rows_timed) and all(all(e[1] > h for e in timed if e[0] == s) for s, h in rows_timed)  # type: ignore[operator]
    if not matched or all_early:
        with pytest.raises(UserError, match="None of the" if not matched else "before any event"):
            Meds(path=str(folder)).read(question)
        return
    delivery = Meds(path=str(folder)).read(question)
    store = store_of(delivery)
    for row, (s, h) in enumerate(rows):
        mine = [(c, t, v) for who, t, c, v in events if who == s and (t is None or t <= h)]
        wanted = sorted(mine, key=lambda e: (e[1] is not None, e[1] or 0.0, e[0], e[2] or 0.0))
        got = seen(store, row)
        assert sorted(got, key=lambda e: (e[1] is not None, e[1] or 0.0, e[0], e[2] or 0.0)) == wanted
        order = [-1e9 if t is None else t for _, t, _ in got]
        assert order == sorted(order)
        assert delivery.present[row] == bool(mine)
    last = {s: max(h for who, h in rows if who == s) for s, _ in rows}
    assert len(store.code) == sum(1 for s, t, _, _ in events if s in last and (t is None or t <= last[s]))


def test_impossible_values_go_and_their_events_stay(tmp_path: Path) -> None:
    folder = write_meds(tmp_path, [(1, 1.0, "pH", 735.0), (1, 2.0, "pH", 7.4), (1, 3.0, "fio2", 0.21), (1, 4.0, "fio2", 0.1), (1, 5.0, "k", float("inf"))])
    delivery = Meds(path=str(folder), ranges={"pH": [6.5, 8], "fio2": [0.21, None], "never": [0, 1]}).read(asked([("1", 9.0)]))
    assert seen(store_of(delivery), 0) == [("pH", 1.0, None), ("pH", 2.0, 7.4), ("fio2", 3.0, 0.21), ("fio2", 4.0, None), ("k", 5.0, None)]
    assert delivery.counts["ranges"] == {
        "fio2": {"below": 1, "above": 0, "infinite": 0, "values": 2},
        "k": {"below": 0, "above": 0, "infinite": 1, "values": 1},
        "pH": {"below": 0, "above": 1, "infinite": 0, "values": 2},
    }
    assert delivery.notes == ["ranges are declared for 1 codes that no event has: never"]
    with pytest.raises(UserError, match=r"Range \[8, 6\.5\] of 'pH'"):
        Meds(path=str(folder), ranges={"pH": [8, 6.5]}).read(asked([("1", 9.0)]))


def test_codes_are_read_by_patterns(tmp_path: Path) -> None:
    folder = write_meds(tmp_path, [(1, 1.0, c, None) for c in ("lab//k", "lab//na", "icd//I21", "MEDS_DEATH")])
    delivery = Meds(path=str(folder), codes=["lab//*", "MEDS_*"], codes_exclude=["*DEATH"]).read(asked([("1", 9.0)]))
    assert store_of(delivery).codes == ("lab//k", "lab//na")
    assert delivery.counts["events"]["codes_not_read"] == 2


def test_values_are_brought_to_the_declared_unit(tmp_path: Path) -> None:
    folder = write_meds(
        tmp_path, [(1, float(h), "glucose", v) for h, v in enumerate((90.0, 5.0, 7.0, 100.0))] + [(1, 9.0, "temp", 98.6), (1, 10.0, "temp", 37.0)]
    )
    at = folder / "data" / "part" / "0.parquet"
    pl.read_parquet(at).with_columns(pl.Series("unit", ["mg/dL", "mmol/L", "stone", None, "[degF]", "Cel"])).write_parquet(at)
    source = Meds(
        path=str(folder),
        unit_column="unit",
        units={"glucose": "mg/dL", "temp": "Cel"},
        conversions={"glucose": {"mmol/L": 18.0}, "temp": {"[degF]": [0.5555556, -17.7778]}},
    )
    delivery = source.read(asked([("1", 20.0)]))
    store = store_of(delivery)
    assert [v for _, _, v in seen(store, 0)] == [90.0, 90.0, None, 100.0, pytest.approx(37.0, abs=1e-3), 37.0]
    assert store.units == ("mg/dL", "Cel")
    assert delivery.counts["units"]["glucose"] == {"converted": 1, "unit_missing": 1, "unit_unknown": 1}
    assert "1 values are in units without a declared conversion" in delivery.notes[0]


def test_units_come_from_the_code_table_where_it_has_them(tmp_path: Path) -> None:
    codes = pl.DataFrame({"code": ["k", "na"], "description": ["", ""], "ucum": ["mmol/L", None]})
    folder = write_meds(tmp_path, [(1, 1.0, "k", 4.0), (1, 1.0, "na", 140.0)], codes=codes)
    assert store_of(Meds(path=str(folder)).read(asked([("1", 9.0)]))).units == ("mmol/L", "")
    assert store_of(Meds(path=str(folder), units={"na": "meq/L"}).read(asked([("1", 9.0)]))).units == ("mmol/L", "meq/L")


def test_a_label_before_any_event_is_counted_and_all_of_them_are_refused(tmp_path: Path) -> None:
    folder = write_meds(tmp_path, [(1, 5.0, "k", 4.0), (2, 5.0, "k", 4.0), (2, None, "sex//1", None), (3, 1.0, "k", 4.0)])
    delivery = Meds(path=str(folder)).read(asked([("1", 2.0), ("2", 2.0), ("3", 2.0), ("4", 2.0)]))
    assert delivery.present.tolist() == [False, True, True, False]
    assert delivery.counts["rows"] == {"label_before_any_event": 2, "without_events": 2, "with_statics_only": 1}
    assert delivery.counts["ids"] | {"duplicated": 0} == {"asked": 4, "in_source": 3, "matched": 3, "unmatched": 0, "without": 1, "duplicated": 0}
    with pytest.raises(UserError, match="All 2 labels lie before any event"):
        Meds(path=str(folder)).read(asked([("1", 2.0), ("2", 2.0), ("4", 2.0)]))


def test_007_is_not_7(tmp_path: Path) -> None:
    folder = write_meds(tmp_path, [(7, 1.0, "k", 4.0), (8, 1.0, "k", 5.0)])
    delivery = Meds(path=str(folder)).read(asked([("007", 9.0), ("8", 9.0)]))
    assert delivery.present.tolist() == [False, True]
    with pytest.raises(UserError, match=r"None of the 2 subjects of MEDS folder .* is among the 1 subjects of the labels.*'007' is not 7"):
        Meds(path=str(folder)).read(asked([("007", 9.0)]))


def test_folders_that_are_no_meds_are_named(tmp_path: Path) -> None:
    folder = write_meds(tmp_path / "a", [(1, 1.0, "k", 4.0)])
    at = folder / "data" / "part" / "0.parquet"
    whole = pl.read_parquet(at)
    (folder / "data" / "part" / "1.parquet").write_bytes(at.read_bytes())
    with pytest.raises(UserError, match="1 subjects in more than one data file"):
        Meds(path=str(folder)).read(asked([("1", 9.0)]))
    (folder / "data" / "part" / "1.parquet").unlink()
    whole.drop("code").write_parquet(at)
    with pytest.raises(UserError, match=r"0\.parquet has no column 'code'"):
        Meds(path=str(folder)).read(asked([("1", 9.0)]))
    whole.with_columns(pl.lit(3.5).alias("time")).write_parquet(at)
    with pytest.raises(UserError, match="and time Float64"):
        Meds(path=str(folder)).read(asked([("1", 9.0)]))
    whole.with_columns(pl.lit(None, dtype=pl.String).alias("code")).write_parquet(at)
    with pytest.raises(UserError, match="1 events without a code"):
        Meds(path=str(folder)).read(asked([("1", 9.0)]))
    at.write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"0\.parquet cannot be read"):
        Meds(path=str(folder)).read(asked([("1", 9.0)]))


def test_events_need_a_prediction_time(tmp_path: Path) -> None:
    folder = write_meds(tmp_path, [(1, 1.0, "k", 4.0)])
    nowhen = Asked(pl.Series(["1"]), pl.Series([None], dtype=TIME), "str")
    with pytest.raises(UserError, match="1 rows have no prediction time"):
        Meds(path=str(folder)).read(nowhen)


def test_data_without_values_and_with_nanosecond_times_are_read(tmp_path: Path) -> None:
    folder = write_meds(tmp_path, [(1, 1.0, "icd//I21", None), (1, None, "sex//0", None)])
    at = folder / "data" / "part" / "0.parquet"
    pl.read_parquet(at).drop("numeric_value").with_columns(pl.col("time").cast(pl.Datetime("ns", "UTC"))).write_parquet(at)
    store = store_of(Meds(path=str(folder)).read(asked([("1", 1.0)])))
    assert seen(store, 0) == [("sex//0", None, None), ("icd//I21", 1.0, None)]

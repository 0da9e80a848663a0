"""Summary features against a slow loop over rows and codes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import equipoise.cohort.summary as summary_module
from equipoise.cohort.draft import STATIC_TIME, EventStore
from equipoise.cohort.summary import HALVES, STATISTICS, EventSummary
from equipoise.contract.errors import UserError

DAY_US = 86_400_000_000


def make_store(seed: int, n: int = 40, mean_events: float = 12.0, n_codes: int = 6) -> EventStore:
    """Rows of (mostly) their own subject; codes 0 and 1 are statics (value, none), the last one carries no value."""
    rng = np.random.default_rng(seed)
    codes = ("STATIC//age", "STATIC//sex", *(f"LAB//{i}" for i in range(n_codes - 3)), "DIAG//x")
    code, value, when, start, stop, row_time = [], [], [], [], [], []
    for _ in range(n):
        start.append(len(code))
        if rng.random() < 0.9:
            code.append(0), value.append(rng.normal(60, 10)), when.append(STATIC_TIME)
        if rng.random() < 0.5:
            code.append(1), value.append(np.nan), when.append(STATIC_TIME)
        for at in np.sort(rng.integers(0, 10 * DAY_US, rng.poisson(mean_events))):
            c = int(rng.integers(2, n_codes))
            code.append(c), when.append(int(at))
            value.append(np.nan if c == n_codes - 1 or rng.random() < 0.1 else rng.normal(c, 1.0))
        stop.append(len(code))
        row_time.append(10 * DAY_US)
    arrays = (np.array(a, dtype=d) for a, d in zip((code, value, when, start, stop, row_time), (np.int32, np.float32, *[np.int64] * 4), strict=True))
    return EventStore(codes, ("",) * n_codes, *arrays)


def fitted(store: EventStore, rows: np.ndarray, **settings_: object) -> EventSummary:
    summary = EventSummary(**{"min_rows": 1, "statistics": STATISTICS, "max_codes": None, "halves": True, **settings_})  # type: ignore[arg-type]
    summary.fit(store, rows)
    return summary


def slow(store: EventStore, row: int, name: str) -> float:
    """One feature by its definition."""
    code, statistic = name.rsplit("|", 1)
    window = slice(int(store.start[row]), int(store.stop[row]))
    mine = store.code[window] == (store.codes.index(code) if code in store.codes else -1)
    times, value = store.time_us[window], store.value[window].astype(float)
    timed = times != STATIC_TIME
    end = store.time_of_row_us[row]
    begin = times[timed][0] if timed.any() else end
    v, t = value[mine & ~np.isnan(value)], times[mine & ~np.isnan(value)]
    match statistic:
        case "count":
            return float(mine.sum())
        case "any":
            return float(mine.any())
        case "days_since":
            return float(end - times[mine & timed][-1]) / DAY_US if (mine & timed).any() else np.nan
    if not v.size:
        return np.nan
    early = t <= begin + (end - begin) / 2
    match statistic:
        case "last" | "value":
            return float(v[-1])
        case "first":
            return float(v[0])
        case "spread":
            return float(v.std(ddof=1)) if v.size > 1 else np.nan
        case "slope":
            return float(np.polyfit((t - end) / DAY_US, v, 1)[0]) if len(set(t)) > 1 else np.nan
        case "first_half":
            return float(v[early].mean()) if early.any() else np.nan
        case "second_half":
            return float(v[~early].mean()) if (~early).any() else np.nan
    return float(getattr(v, statistic)())


@given(seed=st.integers(0, 10_000), n=st.integers(1, 12), mean_events=st.floats(0, 15))
@settings(max_examples=30, deadline=None)
def test_every_statistic_equals_its_definition_computed_row_by_row(seed: int, n: int, mean_events: float) -> None:
    store = make_store(seed, n, mean_events)
    rows = np.random.default_rng(seed).integers(0, n, n + 2)
    summary = fitted(store, np.arange(n))
    expected = np.array([[slow(store, r, name) for name in summary.names] for r in rows]).reshape(len(rows), -1)
    np.testing.assert_allclose(summary.apply(store, rows), expected, rtol=1e-6, atol=1e-9)


def test_small_blocks_give_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(1)
    rows = np.arange(40)
    whole = fitted(store, rows)
    expected = whole.apply(store, rows)
    monkeypatch.setattr(summary_module, "_BLOCK", 7)
    pieces = fitted(store, rows)
    assert pieces.names == whole.names
    np.testing.assert_array_equal(pieces.apply(store, rows), expected)


def test_columns_are_one_for_a_static_and_all_statistics_for_a_valued_code() -> None:
    store = make_store(2)
    names = fitted(store, np.arange(40)).names
    assert [n for n in names if n.startswith("STATIC")] == ["STATIC//age|value", "STATIC//sex|any"]
    assert {n for n in names if n.startswith("DIAG//x")} == {"DIAG//x|any", "DIAG//x|count", "DIAG//x|days_since"}
    assert {n.split("|")[1] for n in names if n.startswith("LAB//0")} == {s for s in (*STATISTICS, *HALVES) if s != "any"}


def test_codes_are_matched_by_name_in_a_cohort_with_another_table_of_codes() -> None:
    store = make_store(3)
    rows = np.arange(40)
    summary = fitted(store, rows)
    other = EventStore(("NEW", *reversed(store.codes)), ("",) * 7, len(store.codes) - store.code, *(getattr(store, a) for a in ("value", "time_us")), *(
        getattr(store, a) for a in ("start", "stop", "time_of_row_us")
    ))  # fmt: skip
    np.testing.assert_array_equal(summary.apply(other, rows), summary.apply(store, rows))
    assert summary.unknown(other, rows) == 0


def test_unknown_counts_events_of_codes_that_no_train_row_had() -> None:
    store = make_store(4)
    without = np.array([r for r in range(40) if 5 not in store.code[store.start[r] : store.stop[r]]])
    having = np.setdiff1d(np.arange(40), without)
    summary = fitted(store, without, min_rows=len(without) + 1)
    assert summary.names == ()
    assert summary.unknown(store, np.arange(40)) == int((store.code == 5).sum())
    assert summary.unknown(store, having[:1]) == int((store.code[store.start[having[0]] : store.stop[having[0]]] == 5).sum())


def test_codes_of_too_few_rows_stay_out_and_max_codes_keeps_the_commonest() -> None:
    store = make_store(5)
    rows = np.arange(40)
    share = {c: sum(k in store.code[store.start[r] : store.stop[r]] for r in rows) for k, c in enumerate(store.codes)}
    cut = sorted(share.values())[2]
    assert {n.split("|")[0] for n in fitted(store, rows, min_rows=cut).names} == {c for c, count in share.items() if count >= cut}
    top = sorted(share, key=lambda c: (-share[c], c))[:2]
    assert {n.split("|")[0] for n in fitted(store, rows, max_codes=2).names} == set(top)


def test_fit_looks_at_its_rows_only() -> None:
    store = make_store(6)
    train = np.arange(20)
    before = fitted(store, train)
    poisoned = make_store(6)
    later = slice(int(store.start[20]), None)
    poisoned.value[later], poisoned.code[later] = 1e9, 0
    after = fitted(poisoned, train)
    assert before.state() == after.state()
    np.testing.assert_array_equal(before.apply(store, train), after.apply(poisoned, train))


def test_events_after_stop_never_count() -> None:
    store = make_store(7)
    summary = fitted(store, np.arange(40))
    early = make_store(7)
    early.stop[:] = early.start
    features = summary.apply(early, np.arange(40))
    counts = np.array([n.endswith(("|count", "|any")) for n in summary.names])
    assert (features[:, counts] == 0).all()
    assert np.isnan(features[:, ~counts]).all()


def test_a_saved_state_gives_the_same_features() -> None:
    store = make_store(8)
    rows = np.arange(40)
    summary = fitted(store, rows)
    again = EventSummary(min_rows=1, statistics=STATISTICS, max_codes=None, halves=True)
    again.load_state(summary.state())
    assert again.names == summary.names
    np.testing.assert_array_equal(again.apply(store, rows), summary.apply(store, rows))


def test_a_row_without_prediction_time_is_seen_from_its_last_event() -> None:
    store = make_store(9)
    store.time_of_row_us[:] = STATIC_TIME
    summary = fitted(store, np.arange(40))
    features = summary.apply(store, np.arange(40))
    since = features[:, [n.endswith("|days_since") for n in summary.names]]
    some = ~np.isnan(since).all(axis=1)
    np.testing.assert_allclose(np.nanmin(since[some], axis=1), 0.0)


def test_a_misspelt_statistic_is_the_users_error() -> None:
    with pytest.raises(UserError, match="lats"):
        EventSummary(min_rows=1, statistics=["lats"], max_codes=None, halves=False)


def test_a_million_events_take_seconds() -> None:
    store = make_store(10, n=50)
    copies = 1_000_000 // len(store.code) + 1
    shift = np.repeat(np.arange(copies) * len(store.code), 50)
    big = EventStore(
        store.codes,
        store.units,
        np.tile(store.code, copies),
        np.tile(store.value, copies),
        np.tile(store.time_us, copies),
        np.tile(store.start, copies) + shift,
        np.tile(store.stop, copies) + shift,
        np.tile(store.time_of_row_us, copies),
    )
    rows = np.arange(50 * copies)
    begun = time.process_time()
    fitted(big, rows).apply(big, rows)
    assert time.process_time() - begun < 10

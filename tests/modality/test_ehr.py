from pathlib import Path

import numpy as np
import pytest

from equipoise.cohort.draft import STATIC_TIME
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.contract.errors import UserError
from equipoise.modality.ehr import Ehr
from equipoise.modality.ehr_summary import EhrSummary
from equipoise.testing.cohorts import CODES, DAY_US, tiny_draft

PLAIN = {"evidence": "ehr", "min_count": 1, "max_events": 1000, "winsorise": None, "log_skewness": None, "conversions": {}}
SUMMARY = {
    "evidence": "ehr",
    "min_rows": 5,
    "statistics": ["last", "count"],
    "max_codes": None,
    "halves": False,
    "winsorise": None,
    "log_skewness": None,
    "n_bins": 4,
}


@pytest.fixture
def draft():
    return tiny_draft(n=60, seed=6)


def _frozen(draft, folder: Path) -> Cohort:
    return freeze(draft, folder, folder.name, {})


def _fitted(cohort: Cohort, **changed) -> Ehr:
    view = Ehr(**{**PLAIN, **changed})
    view.fit(cohort, cohort.rows_in("train"))
    return view


def _rows_with(cohort: Cohort, code: int, rows: np.ndarray) -> int:
    store = cohort.store("ehr")
    return sum(code in store.code[store.start[r] : store.stop[r]] for r in rows)


def test_the_vocabulary_holds_the_codes_that_enough_train_rows_have(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    train = cohort.rows_in("train")
    train = train[cohort.present_in("ehr")[train]]
    counts = [_rows_with(cohort, c, train) for c in range(len(CODES))]
    least = sorted(counts)[2]
    view = _fitted(cohort, min_count=least)
    assert view.state()["codes"] == [name for name, n in zip(CODES, counts, strict=True) if n >= least]
    assert view.spec.n_codes == sum(n >= least for n in counts) + 1
    with pytest.raises(UserError, match="at least 1000 train rows"):
        _fitted(cohort, min_count=1000)


def test_each_row_reads_its_own_events_in_order_with_its_own_times(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    store, view = cohort.store("ehr"), _fitted(cohort)
    number = {name: i + 1 for i, name in enumerate(view.state()["codes"])}
    rows = np.array([7, 3, 59, 2])
    part = view.open(cohort)(rows)
    for p, r in enumerate(part.rows.tolist()):
        own = slice(store.start[rows[r]], store.stop[rows[r]])
        got = slice(int(part.offsets[p]), int(part.offsets[p + 1]))
        assert part.code[got].tolist() == [number[CODES[c]] for c in store.code[own]]
        timed = store.time_us[own] != STATIC_TIME
        assert part.timed[got].tolist() == timed.tolist()
        days = np.where(timed, (store.time_of_row_us[rows[r]] - np.where(timed, store.time_us[own], 0)) / DAY_US, 0)
        np.testing.assert_allclose(part.time_days[got].numpy(), days, rtol=1e-6)
        assert part.observed[got].tolist() == np.isfinite(store.value[own]).tolist()


def test_values_are_standardised_within_their_code_over_train_rows(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    part = _fitted(cohort).open(cohort)(cohort.rows_in("train"))
    for code in part.code[part.observed].unique():
        value = part.value[part.observed & (part.code == code)].double()
        if value.numel() > 2:
            assert abs(value.mean().item()) < 1e-5
            assert value.std(unbiased=False).item() == pytest.approx(1, abs=1e-5)


def test_a_short_limit_keeps_statics_and_the_newest_events(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    rows = np.arange(60)
    whole, short = _fitted(cohort).open(cohort)(rows), _fitted(cohort, max_events=4).open(cohort)(rows)
    assert whole.rows.tolist() == short.rows.tolist()
    for p in range(whole.rows.shape[0]):
        a, b = (slice(int(x.offsets[p]), int(x.offsets[p + 1])) for x in (whole, short))
        n_static = int((~whole.timed[a]).sum())
        n_timed = min(int(whole.timed[a].sum()), 4 - n_static)
        assert short.timed[b].tolist() == [False] * n_static + [True] * n_timed
        newest = whole.time_days[a][whole.timed[a]][whole.timed[a].sum() - n_timed :]
        assert short.time_days[b][n_static:].tolist() == newest.tolist()


def test_a_row_without_prediction_time_counts_back_from_its_last_event(draft, tmp_path: Path) -> None:
    store = draft.stores["ehr"]
    store.time_of_row_us[:] = STATIC_TIME
    cohort = _frozen(draft, tmp_path / "a")
    part = _fitted(cohort).open(cohort)(np.arange(60))
    assert (part.time_days >= 0).all()
    for p in range(part.rows.shape[0]):
        own = slice(int(part.offsets[p]), int(part.offsets[p + 1]))
        if part.timed[own].any():
            assert part.time_days[own][part.timed[own]].min() == 0


def test_codes_of_a_new_cohort_are_matched_by_name_and_unknown_ones_are_counted(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    view = _fitted(cohort)
    rows = np.arange(60)
    before = view.open(cohort)(rows)
    store = draft.stores["ehr"]
    n = len(CODES)
    store.code = (n - 1 - store.code).astype(np.int32)
    store.codes, store.units = tuple(c if c != "lab//lactate" else "lab//lactate_new" for c in store.codes[::-1]), store.units[::-1]
    reader = view.open(_frozen(draft, tmp_path / "b"))
    lactate = view.state()["codes"].index("lab//lactate") + 1
    after = reader(rows)
    expected = before.code.clone()
    expected[before.code == lactate] = 0
    assert (after.code == expected).all()
    assert not after.observed[after.code == 0].any()
    assert (after.value[after.code > 0] == before.value[before.code != lactate]).all()
    assert (reader.notes["unknown_codes"], reader.notes["missing_codes"]) == (1, 1)
    used = sum(int((np.asarray(cohort.store("ehr").code[s:e]) == CODES.index("lab//lactate")).sum()) for s, e in _distinct_segments(cohort))
    assert reader.notes["unknown_events"] == used > 0


def _distinct_segments(cohort: Cohort) -> list[tuple[int, int]]:
    """The longest segment of each subject among present rows: an event that two rows share counts once."""
    store = cohort.store("ehr")
    longest: dict[int, int] = {}
    for r in np.flatnonzero(cohort.present_in("ehr")):
        longest[int(store.start[r])] = max(longest.get(int(store.start[r]), 0), int(store.stop[r]))
    return list(longest.items())


def test_values_in_an_unexpected_unit_are_not_used_unless_a_conversion_is_declared(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    code = CODES.index("lab//creatinine")
    views = _fitted(cohort), _fitted(cohort, conversions={"lab//creatinine": {"umol/L": 1 / 88.42}})
    rows = np.arange(60)
    before = views[0].open(cohort)(rows)
    store = draft.stores["ehr"]
    store.value[store.code == code] *= 88.42
    store.units = tuple("umol/L" if i == code else u for i, u in enumerate(store.units))
    new = _frozen(draft, tmp_path / "b")
    plain, converting = (view.open(new) for view in views)
    creatinine = views[0].state()["codes"].index("lab//creatinine") + 1
    assert plain.notes["unexpected_units"] == ["lab//creatinine"]
    assert not plain(rows).observed[before.code == creatinine].any()
    assert (plain(rows).code == before.code).all()
    assert converting.notes["unexpected_units"] == []
    np.testing.assert_allclose(converting(rows).value.numpy(), before.value.numpy(), rtol=1e-4, atol=1e-4)


def test_an_event_summary_view_gives_the_scaled_summary_features(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    view = EhrSummary(**SUMMARY)
    view.fit(cohort, cohort.rows_in("train"))
    part = view.open(cohort)(cohort.rows_in("train"))
    value = part.value.double().masked_fill(~part.observed, float("nan")).numpy()
    seen = part.observed.sum(0).numpy() > 1
    np.testing.assert_allclose(np.nanmean(value[:, seen], 0), 0, atol=1e-5)
    spread = np.nanstd(value[:, seen], 0)
    assert ((np.abs(spread - 1) < 1e-4) | (spread == 0)).all()


def test_a_record_that_no_summary_can_be_made_of_is_refused_with_the_count(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    view = EhrSummary(**{**SUMMARY, "min_rows": 1000})
    with pytest.raises(UserError, match="enough train rows"):
        view.fit(cohort, cohort.rows_in("train"))

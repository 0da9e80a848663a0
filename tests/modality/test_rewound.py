"""Rows gone back to earlier moments of their own, against a loop; nothing that came later is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.cohort.draft import STATIC_TIME, Draft, EventStore
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.contract.make import make
from equipoise.contract.tensors import Rewound
from equipoise.modality.ehr import DAY_US, Ehr, EventsReader
from equipoise.testing.cohorts import CODES, tiny_draft
from equipoise.testing.discovery import options
from equipoise.testing.network_laws import seeded

PLAIN = {"evidence": "ehr", "min_count": 1, "max_events": 1000, "winsorise": None, "log_skewness": None, "conversions": {}}
EVENT_ENCODERS = ("gru", "grud", "set_transformer", "state_space", "transformer")


def _opened(cohort: Cohort, **changed: object) -> tuple[Ehr, EventsReader]:
    view = Ehr(**{**PLAIN, **changed})  # type: ignore[arg-type]
    view.fit(cohort, cohort.rows_in("train"))
    return view, view.open(cohort)


def _with_ties(draft: Draft) -> Draft:
    """By the day: many events then share a time, and some lie at the prediction time itself."""
    store = draft.stores["ehr"]
    assert isinstance(store, EventStore)
    timed = store.time_us != STATIC_TIME
    store.time_us[timed] = store.time_us[timed] // int(7 * DAY_US) * int(7 * DAY_US)
    store.time_of_row_us = store.time_of_row_us // int(7 * DAY_US) * int(7 * DAY_US)
    return draft


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return freeze(_with_ties(tiny_draft(n=80, seed=6)), tmp_path_factory.mktemp("rewound") / "c", "c", {})


def _moment(draws: np.random.Generator, reader: EventsReader) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.repeat(np.flatnonzero(reader.has_past()), 6)
    return rows, draws.random(rows.size), draws.random(rows.size) < 0.5


def _events_of(cohort: Cohort, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and codes of the row's events."""
    store = cohort.store("ehr")
    assert isinstance(store, EventStore)
    own = slice(int(store.start[row]), int(store.stop[row]))
    return np.array(store.time_us[own]), np.array(store.code[own])


def test_a_row_has_a_past_where_an_event_lies_before_its_end(cohort: Cohort) -> None:
    _, reader = _opened(cohort)
    store = cohort.store("ehr")
    assert isinstance(store, EventStore)
    past = []
    for row in range(cohort.size):
        times, _ = _events_of(cohort, row)
        timed = times[times != STATIC_TIME]
        past.append(bool(cohort.present_in("ehr")[row] and (timed < store.time_of_row_us[row]).any()))
    assert reader.has_past().tolist() == past
    assert 0 < sum(past) < cohort.size


@pytest.mark.parametrize("max_events", [1000, 4])
def test_what_had_happened_and_what_came_are_those_of_a_loop(cohort: Cohort, max_events: int) -> None:
    view, reader = _opened(cohort, max_events=max_events)
    rows, share, at_moment = _moment(np.random.default_rng(0), reader)
    found = reader.rewound(rows, share, at_moment)
    number = {name: i + 1 for i, name in enumerate(view.state()["codes"])}
    store = cohort.store("ehr")
    assert isinstance(store, EventStore)
    assert found.size == rows.size
    for i, row in enumerate(rows.tolist()):
        times, codes = _events_of(cohort, row)
        end = int(store.time_of_row_us[row])
        timed = times[times != STATIC_TIME]
        moments = np.unique(timed[timed < end])
        now = int(moments[int(share[i] * moments.size)] if at_moment[i] else timed[0] + int(share[i] * (end - timed[0])))
        known = np.flatnonzero((times == STATIC_TIME) | (times <= now))
        statics = int((times == STATIC_TIME).sum())
        known = np.concatenate([known[: min(statics, max_events)], known[statics:][max(known.size - statics - max(max_events - statics, 0), 0) :]])
        got = slice(int(found.part.offsets[i]), int(found.part.offsets[i + 1]))
        assert found.part.code[got].tolist() == [number.get(CODES[c], 0) for c in codes[known]]
        ago = np.where(times[known] == STATIC_TIME, 0.0, (now - np.where(times[known] == STATIC_TIME, now, times[known])) / DAY_US)
        np.testing.assert_allclose(found.part.time_days[got].numpy(), ago, rtol=1e-6)
        later = np.flatnonzero((times != STATIC_TIME) & (times > now))
        came = slice(int(found.future.offsets[i]), int(found.future.offsets[i + 1]))
        assert found.future.code[came].tolist() == [number.get(CODES[c], 0) for c in codes[later]]
        np.testing.assert_allclose(found.future.days[came].numpy(), (times[later] - now) / DAY_US, rtol=1e-6)
        assert float(found.future.followed_days[i]) == pytest.approx((end - now) / DAY_US, rel=1e-6)
    assert (found.future.followed_days > 0).all()
    assert (found.future.days > 0).all(), "events of one time never lie on both sides"


def test_every_moment_of_a_row_has_an_equal_part(cohort: Cohort) -> None:
    _, reader = _opened(cohort)
    row = int(np.flatnonzero(reader.has_past())[0])
    share = (np.arange(1000) + 0.5) / 1000
    followed = reader.rewound(np.full(1000, row), share, np.ones(1000, bool)).future.followed_days
    times, _ = _events_of(cohort, row)
    end = int(cohort.store("ehr").time_of_row_us[row])  # type: ignore[union-attr]
    n_moments = np.unique(times[(times != STATIC_TIME) & (times < end)]).size
    _, counts = torch.unique(followed, return_counts=True)
    assert counts.numel() == n_moments
    assert int(counts.max() - counts.min()) <= 1
    spread = reader.rewound(np.full(1000, row), share, np.zeros(1000, bool)).future.followed_days
    assert torch.unique(spread).numel() == 1000, "in time there are no steps"


def _changed_after(draft: Draft, now_us: dict[int, int]) -> Draft:
    """Other codes, values and times in every event after a subject's moment."""
    store, rng = draft.stores["ehr"], np.random.default_rng(9)
    assert isinstance(store, EventStore)
    for row, now in now_us.items():
        own = np.arange(store.start[row], store.stop[row])
        later = own[(store.time_us[own] != STATIC_TIME) & (store.time_us[own] > now)]
        store.code[later] = rng.integers(2, len(CODES), later.size)
        store.value[later] = rng.standard_normal(later.size)
        end = int(store.time_of_row_us[row])
        store.time_us[later] = np.sort(now + 1 + (rng.random(later.size) * (end - now - 1)).astype(np.int64))
    return draft


@pytest.mark.parametrize("name", EVENT_ENCODERS)
def test_other_events_after_the_moment_change_no_state_before_it_in_any_bit(cohort: Cohort, tmp_path: Path, name: str) -> None:
    view, reader = _opened(cohort)
    subjects = cohort.rows["subject_id"].to_numpy()
    rows = np.array([r for r in np.flatnonzero(reader.has_past()) if (subjects == subjects[r]).sum() == 1])
    share, at_time = np.random.default_rng(1).random(rows.size), np.zeros(rows.size, bool)
    before = reader.rewound(rows, share, at_time)
    store = cohort.store("ehr")
    assert isinstance(store, EventStore)
    now = {int(r): int(store.time_of_row_us[r]) - round(float(f) * DAY_US) - 1_000_000 for r, f in zip(rows, before.future.followed_days, strict=True)}
    # float32 days are seconds off: a moment is moved past them, so nothing that it holds is touched
    now = {r: t + 60_000_000 for r, t in now.items()}
    other = freeze(_changed_after(_with_ties(tiny_draft(n=80, seed=6)), now), tmp_path / "other", "other", {})
    after = view.open(other).rewound(rows, share, at_time)
    assert not torch.equal(after.future.code, before.future.code)
    with seeded(0):
        encoder = make({**options("encoder")[name], "dropout": 0.0}, spec=view.spec, d_model=8).eval()
    assert torch.equal(encoder(after.part).h, encoder(before.part).h)
    for key, value in vars(before.part).items():
        assert torch.equal(value, getattr(after.part, key)) if isinstance(value, torch.Tensor) else value == getattr(after.part, key)


def test_an_adopted_fit_keeps_its_numbers_and_scales_and_new_codes_stand_behind(cohort: Cohort, tmp_path: Path) -> None:
    pretrained, reader = _opened(cohort)
    draft = _with_ties(tiny_draft(n=60, seed=8))
    store = draft.stores["ehr"]
    assert isinstance(store, EventStore)
    store.value *= 3.0
    store.codes = tuple("new//lab" if c == "lab//lactate" else c for c in store.codes)
    own, _ = _opened(fresh := freeze(draft, tmp_path / "own", "own", {}))
    scale = own.state()["scale"]
    position = own.state()["codes"].index("new//lab") + 1
    own.adopt(pretrained.state())
    state = own.state()
    assert state["codes"] == [*pretrained.state()["codes"], "new//lab"]
    for key, value in state["scale"].items():
        known = pretrained.state()["scale"][key]
        torch.testing.assert_close(value[: len(known)], known, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(value[len(known)], scale[key][position], rtol=0, atol=0)
    rows = np.flatnonzero(reader.has_past())
    mine, theirs = own.open(cohort)(rows), reader(rows)
    assert torch.equal(mine.code, theirs.code)
    assert torch.equal(mine.value, theirs.value), "the same raw events are the same numbers"
    new = own.open(fresh)(np.flatnonzero(fresh.present_in("ehr")))
    values = new.value[new.observed & (new.code == own.spec.n_codes - 1)]
    assert abs(float(values.mean())) < 0.5, "a new code has the scale of its own train rows"


def test_a_part_of_rewound_rows_is_a_whole_batch(cohort: Cohort) -> None:
    _, reader = _opened(cohort)
    rows, share, at_moment = _moment(np.random.default_rng(0), reader)
    found = reader.rewound(rows, share, at_moment)
    assert found.part.rows.tolist() == list(range(rows.size))
    assert found.part.longest == int((found.part.offsets[1:] - found.part.offsets[:-1]).max())
    moved = found.to("cpu")
    assert isinstance(moved, Rewound)
    nobody = reader.rewound(rows[:0], share[:0], at_moment[:0])
    assert nobody.size == 0

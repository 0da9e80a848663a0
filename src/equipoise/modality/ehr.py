"""The view of coded events: code, value, time before the prediction, packed and never padded."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch

from equipoise.cohort.draft import STATIC_TIME, EventStore, TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Events, EventsSpec, Future, Rewound
from equipoise.modality import Pretrainable, Rewindable
from equipoise.modality.scaling import Scaling
from equipoise.modality.segments import concatenated, rows_having
from equipoise.modality.units import Conversions, factor
from equipoise.modality.vector import rows_there

DAY_US = 86_400_000_000.0


@final
class Ehr(Pretrainable):
    """Events of the codes that enough train rows have; values scaled per code (see `Scaling`).

    Args:
        evidence: an events evidence of the cohort.
        min_count: a code enters the vocabulary when at least this many train rows have it; the others are code 0, without value.
        max_events: a row's newest timed events are kept, after its statics, at most this many together.
        winsorise: quantile in (0, 0.5) at which a code's values are clipped; None clips nothing.
        log_skewness: non-negative values of a code with more skewness are logged; None logs nothing.
        conversions: ``{code: {unit: factor}}``: a cohort that gives the code in this unit is multiplied by the factor.
    """

    part = Events

    def __init__(
        self, *, evidence: str, min_count: int, max_events: int, winsorise: float | None, log_skewness: float | None, conversions: Conversions
    ) -> None:
        super().__init__(evidence=evidence)
        self._min_count, self._max_events = max(min_count, 1), max_events
        self._winsorise, self._log_skewness, self._conversions = winsorise, log_skewness, conversions
        self._codes: tuple[str, ...] = ()
        self._units: tuple[str, ...] = ()
        self._scale = Scaling.fit([], winsorise=None, log_skewness=None)

    def fit(self, cohort: Cohort, rows: np.ndarray, outcome: TargetTable | None = None) -> None:
        store = event_store(cohort, self.evidence)
        rows = rows[cohort.present_in(self.evidence)[rows]]
        start, stop = store.start[rows], store.stop[rows]
        event, row = concatenated(start, stop), np.repeat(np.arange(rows.size), stop - start)
        code = store.code[event]
        kept = np.flatnonzero(rows_having(row, code, len(store.codes)) >= self._min_count)
        if not kept.size:
            raise UserError(
                f"No code of evidence {self.evidence!r} is in at least {self._min_count} train rows",
                found=f"{rows.size} train rows with this evidence, {event.size} events",
                mend="lower the view's min_count, or leave the view out",
            )
        self._codes, self._units = tuple(store.codes[c] for c in kept), tuple(store.units[c] for c in kept)
        self._scale = Scaling.fit([np.zeros(0), *_values_by_code(store, event, code, kept)], winsorise=self._winsorise, log_skewness=self._log_skewness)

    @property
    def spec(self) -> EventsSpec:
        return EventsSpec(n_codes=len(self._codes) + 1)

    def open(self, cohort: Cohort) -> EventsReader:
        store = event_store(cohort, self.evidence)
        number = {name: i + 1 for i, name in enumerate(self._codes)}
        code = np.array([number.get(name, 0) for name in store.codes], np.int32)
        times = [factor(name, unit, self._units[c - 1], self._conversions) if c else None for name, unit, c in zip(store.codes, store.units, code, strict=True)]
        strange = [name for name, unit, c, t in zip(store.codes, store.units, code, times, strict=True) if c and t is None and unit]
        unstated = [n for n, u, c in zip(store.codes, store.units, code, strict=True) if c and u != self._units[c - 1] and "" in (u, self._units[c - 1])]
        return EventsReader(
            store=store,
            present=cohort.present_in(self.evidence),
            code=code,
            times=np.array([np.nan if t is None else t for t in times]),
            scale=self._scale,
            max_events=self._max_events,
            notes={"unexpected_units": strange, "unstated_units": unstated, "missing_codes": len(set(self._codes) - set(store.codes))},
        )

    def items(self) -> tuple[str, ...]:
        return ("unknown code", *self._codes)

    def state(self) -> dict[str, Any]:
        return {"codes": list(self._codes), "units": list(self._units), "scale": self._scale.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self._codes, self._units, self._scale = tuple(state["codes"]), tuple(state["units"]), Scaling.from_state(state["scale"])

    def adopt(self, state: dict[str, Any]) -> None:
        codes, units, scale = self._codes, self._units, self._scale
        self.load_state(state)
        own = [i for i, name in enumerate(codes) if name not in set(self._codes)]
        self._scale = self._scale.followed_by(scale, np.array(own, np.int64) + 1)
        self._codes, self._units = (*self._codes, *(codes[i] for i in own)), (*self._units, *(units[i] for i in own))


@final
class EventsReader(Rewindable):
    """Gathers the events of a batch of rows at once.

    Args:
        store: the cohort's events.
        present: bool (n,).
        code: i32 (codes of the store,), their numbers in the vocabulary, 0 = unknown.
        times: f64 (codes of the store,), what values are multiplied with, NaN = not to be used.
        scale: per vocabulary code, code 0 included.
        max_events: see `Ehr`.
        notes: see `Reader`; the counts of unknown codes and events are added.
    """

    def __init__(
        self, *, store: EventStore, present: np.ndarray, code: np.ndarray, times: np.ndarray, scale: Scaling, max_events: int, notes: dict[str, Any]
    ) -> None:
        self.present = np.array(present, bool)
        self._store, self._code, self._times, self._scale, self._max_events = store, code, times, scale, max_events
        start, stop = np.array(store.start), np.array(store.stop)
        static_at = np.flatnonzero(store.time_us == STATIC_TIME)
        # Statics sort first within a subject, so they are the head of each row's segment.
        n_static = np.searchsorted(static_at, stop) - np.searchsorted(static_at, start)
        self._start, self._first_timed, self._stop = start, start + n_static, stop
        self._now_us = self._moment_of_rows(start + n_static < stop, stop)
        self.notes = {**self._unknown(start, stop), **notes}

    def __call__(self, rows: np.ndarray, keep: np.ndarray | None = None) -> Events:
        place = rows_there(self.present, rows, keep)
        at = rows[place]
        return self._events(at, self._stop[at], self._now_us[at], place, len(rows))

    def has_past(self) -> np.ndarray:
        # Events are in order of time: the first timed one tells whether any lies before the end. A row without any asks for an event that is not its own.
        first = np.minimum(self._first_timed, max(self._store.time_us.size - 1, 0))
        early = self._store.time_us[first] < self._now_us if self._store.time_us.size else np.zeros(self.present.size, bool)
        return np.asarray(self.present & (self._first_timed < self._stop) & early)

    def rewound(self, rows: np.ndarray, share: np.ndarray, at_moment: np.ndarray) -> Rewound:
        first, stop, end_us = self._first_timed[rows], self._stop[rows], self._now_us[rows]
        event, row = concatenated(first, stop), np.repeat(np.arange(rows.size), stop - first)
        time_us = self._store.time_us[event]
        now_us = moments_at(time_us, row, end_us, share, at_moment)
        cut = first + np.bincount(row[time_us <= now_us[row]], minlength=rows.size)
        later = concatenated(cut, stop)
        days = (self._store.time_us[later] - np.repeat(now_us, stop - cut)) / DAY_US
        future = Future(
            code=torch.from_numpy(self._code[self._store.code[later]]),
            days=torch.from_numpy(days.astype(np.float32)),
            offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(stop - cut)])),
            followed_days=torch.from_numpy(((end_us - now_us) / DAY_US).astype(np.float32)),
        )
        return Rewound(self._events(rows, cut, now_us, np.arange(rows.size), rows.size), future)

    def _events(self, at: np.ndarray, stop: np.ndarray, now_us: np.ndarray, place: np.ndarray, size: int) -> Events:
        """The statics and the newest timed events of these rows, of those before ``stop``, as they stand at ``now_us``."""
        room = np.maximum(self._max_events - (self._first_timed[at] - self._start[at]), 0)
        head = np.stack([self._start[at], np.minimum(self._first_timed[at], self._start[at] + self._max_events)], 1)
        tail = np.stack([np.maximum(self._first_timed[at], stop - room), stop], 1)
        blocks = np.stack([head, tail], 1).reshape(-1, 2)
        event = concatenated(blocks[:, 0], blocks[:, 1])
        count = (blocks[:, 1] - blocks[:, 0]).reshape(-1, 2).sum(1)
        stored, time_us = self._store.code[event], self._store.time_us[event]
        code, timed = self._code[stored], time_us != STATIC_TIME
        value = self._scale(self._store.value[event] * self._times[stored], code)
        observed = np.isfinite(value)
        days = np.where(timed, (np.repeat(now_us, count) - np.where(timed, time_us, 0)) / DAY_US, 0.0)
        return Events(
            rows=torch.from_numpy(place),
            size=size,
            code=torch.from_numpy(code),
            value=torch.from_numpy(np.where(observed, value, 0.0).astype(np.float32)),
            observed=torch.from_numpy(observed),
            time_days=torch.from_numpy(days.astype(np.float32)),
            timed=torch.from_numpy(timed),
            offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(count)])),
            longest=int(count.max(initial=0)),
        )

    def _moment_of_rows(self, any_timed: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """The prediction times, i64 (n,); a row without one counts its days back from its last event."""
        now = np.array(self._store.time_of_row_us)
        without = (now == STATIC_TIME) & any_timed
        now[without] = self._store.time_us[stop[without] - 1]
        return now

    def _unknown(self, start: np.ndarray, stop: np.ndarray) -> dict[str, Any]:
        """How many codes that the rows may use are not in the vocabulary, and in how many events of how many."""
        # +1 where a row's segment starts and -1 where it stops: the running sum says how many rows use an event.
        edge = np.zeros(self._store.code.size + 1, np.int64)
        np.add.at(edge, start[self.present], 1)
        np.add.at(edge, stop[self.present], -1)
        used = np.bincount(self._store.code[np.cumsum(edge)[:-1] > 0], minlength=len(self._store.codes))
        unknown = self._code == 0
        return {"unknown_codes": int(np.sum(unknown & (used > 0))), "unknown_events": int(used[unknown].sum()), "events": int(used.sum())}


def moments_at(time_us: np.ndarray, row: np.ndarray, end_us: np.ndarray, share: np.ndarray, at_moment: np.ndarray) -> np.ndarray:
    """The times to which rows go back, i64 (B,), see `Rewindable.rewound`.

    Args:
        time_us: i64 (E,), of the rows' timed events, row by row, in order; each row has one before its end.
        row: i64 (E,), whose they are.
        end_us: i64 (B,).
        share: f64 (B,).
        at_moment: bool (B,).

    >>> times, own = np.array([10, 10, 40, 90]), np.zeros(4, np.int64)
    >>> [int(moments_at(times, own, np.array([90]), np.array([s]), np.array([m]))[0]) for s, m in ((0.0, True), (0.6, True), (0.5, False))]
    [10, 40, 50]
    """
    new = time_us < end_us[row]
    new[1:] &= (row[1:] != row[:-1]) | (time_us[1:] != time_us[:-1])
    moment = time_us[new]
    count = np.bincount(row[new], minlength=end_us.size)
    first = np.cumsum(count) - count
    chosen = moment[first + np.minimum((share * count).astype(np.int64), count - 1)]
    # Less than the whole way, whatever rounding does: at the end nothing would be left to come.
    within = moment[first] + np.minimum((share * (end_us - moment[first])).astype(np.int64), end_us - moment[first] - 1)
    return np.where(at_moment, chosen, within)


def event_store(cohort: Cohort, evidence: str) -> EventStore:
    """The evidence's events.

    Raises:
        UserError: there is no such evidence, or it does not hold events.
    """
    store = cohort.store(evidence)
    if not isinstance(store, EventStore):
        raise UserError(
            f"Evidence {evidence!r} holds {cohort.kind_of(evidence)}", expected="an evidence that holds events", mend="give this view another `evidence`"
        )
    return store


def _values_by_code(store: EventStore, event: np.ndarray, code: np.ndarray, kept: np.ndarray) -> list[np.ndarray]:
    """The finite values of each kept code, in the order of ``kept``."""
    value = store.value[event].astype(np.float64)
    finite = np.isfinite(value)
    order = np.argsort(code[finite], kind="stable")
    code, value = code[finite][order], value[finite][order]
    return [value[a:b] for a, b in zip(np.searchsorted(code, kept, "left"), np.searchsorted(code, kept, "right"), strict=True)]

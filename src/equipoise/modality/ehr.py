"""The view of coded events: code, value, time before the prediction, packed and never padded."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch

from equipoise.cohort.draft import STATIC_TIME, EventStore, TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Events, EventsSpec
from equipoise.modality import Reader, View
from equipoise.modality.scaling import Scaling
from equipoise.modality.segments import concatenated, rows_having
from equipoise.modality.units import Conversions, factor
from equipoise.modality.vector import rows_there

DAY_US = 86_400_000_000.0


@final
class Ehr(View):
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


@final
class EventsReader(Reader):
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
        self._store, self._code, self._times, self._scale = store, code, times, scale
        start, stop = np.array(store.start), np.array(store.stop)
        static_at = np.flatnonzero(store.time_us == STATIC_TIME)
        # Statics sort first within a subject, so they are the head of each row's segment.
        n_static = np.searchsorted(static_at, stop) - np.searchsorted(static_at, start)
        self._head = np.stack([start, start + np.minimum(n_static, max_events)], 1)
        self._tail = np.stack([np.maximum(start + n_static, stop - np.maximum(max_events - n_static, 0)), stop], 1)
        self._now_us = self._moment_of_rows(start + n_static < stop, stop)
        self.notes = {**self._unknown(start, stop), **notes}

    def __call__(self, rows: np.ndarray, keep: np.ndarray | None = None) -> Events:
        place = rows_there(self.present, rows, keep)
        at = rows[place]
        blocks = np.stack([self._head[at], self._tail[at]], 1).reshape(-1, 2)
        event = concatenated(blocks[:, 0], blocks[:, 1])
        count = (blocks[:, 1] - blocks[:, 0]).reshape(-1, 2).sum(1)
        stored, time_us = self._store.code[event], self._store.time_us[event]
        code, timed = self._code[stored], time_us != STATIC_TIME
        value = self._scale(self._store.value[event] * self._times[stored], code)
        observed = np.isfinite(value)
        days = np.where(timed, (np.repeat(self._now_us[at], count) - np.where(timed, time_us, 0)) / DAY_US, 0.0)
        return Events(
            rows=torch.from_numpy(place),
            size=len(rows),
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

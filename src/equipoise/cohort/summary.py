"""Summary features of coded events: what a statistician would tabulate of a record, one line a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from equipoise.cohort.draft import STATIC_TIME, EventStore
from equipoise.contract.errors import UserError

VALUE_STATISTICS = ("last", "first", "mean", "min", "max", "spread", "slope")
"""Of a code's values: spread is the sample standard deviation (from two values on), slope the least-squares change per day (from two times on)."""
EVENT_STATISTICS = ("count", "days_since")
"""Of a code's events, with or without values: how many, and days from the last one to the prediction time."""
HALVES = ("first_half", "second_half")
STATISTICS = (*VALUE_STATISTICS, *EVENT_STATISTICS, "any")
"""``any`` (0 or 1) is given for codes without values only: for the others a missing ``last`` says the same."""

_DAY_US = 86_400_000_000.0
_BLOCK = 2_000_000  # events handled at once, so that memory does not grow with the cohort
_VALUED, _BARE, _STATIC_VALUE, _STATIC_ANY = range(4)


class EventSummary:
    """Fixed-length summaries of each row's events, per code; fitted on train rows, applied to any cohort by the codes' names.

    A row's window runs from its first timed event to its prediction time (to its last event where it has none); ``first_half`` and
    ``second_half`` are means of the values in the two halves of that window. Columns are NaN where nothing was measured; counts and
    ``any`` are then 0. A code that was never timed in the train rows is a static: one column, its value or whether it stands there.

    Args:
        min_rows: a code enters when at least this many train rows have it.
        statistics: which of `STATISTICS`, in the order of the columns.
        max_codes: at most this many codes, those of most train rows; None for all.
        halves: whether to add `HALVES`.

    Source: ours; the statistics are those usual for the PhysioNet 2012 challenge (Silva et al. 2012).
    """

    def __init__(self, *, min_rows: int, statistics: Sequence[str], max_codes: int | None, halves: bool) -> None:
        unknown = [s for s in statistics if s not in STATISTICS]
        if unknown:
            raise UserError(f"Summary statistic {unknown[0]!r}", expected=f"some of {', '.join(STATISTICS)}", mend="correct the list `statistics`")
        self.min_rows, self.statistics, self.max_codes, self.halves = min_rows, tuple(statistics), max_codes, halves
        self._seen: tuple[str, ...] = ()
        self._plan = _Plan.of((), (), self.statistics, halves)

    def fit(self, store: EventStore, rows: np.ndarray) -> None:
        """Chooses codes and columns from these rows (train rows), i64 (m,)."""
        n_codes = len(store.codes)
        having, valued, timed = (np.zeros(n_codes, np.int64) for _ in range(3))
        for block in _blocks(store, rows):
            code = store.code[block.event]
            for count, mask in ((having, None), (valued, np.isfinite(store.value[block.event])), (timed, store.time_us[block.event] != STATIC_TIME)):
                count += _rows_having(block.row, code, mask, n_codes, len(rows))
        order = sorted(range(n_codes), key=lambda c: (-having[c], store.codes[c]))
        kept = [c for c in order if having[c] >= max(self.min_rows, 1)][: self.max_codes]
        kinds = {store.codes[c]: _kind(valued[c] >= max(self.min_rows, 1), bool(timed[c])) for c in kept}
        names = tuple(sorted(kinds))
        self._seen = tuple(sorted(store.codes[c] for c in np.flatnonzero(having)))
        self._plan = _Plan.of(names, tuple(kinds[name] for name in names), self.statistics, self.halves)

    @property
    def names(self) -> tuple[str, ...]:
        """The F columns, ``code|statistic``."""
        return self._plan.columns

    def apply(self, store: EventStore, rows: np.ndarray) -> np.ndarray:
        """The features of these rows of any cohort.

        Args:
            store: events of the training cohort or another; codes are matched by name.
            rows: i64 (m,), in any order, repeats allowed.

        Returns:
            f64 (m, F). A code that this cohort lacks is one without events, so that a row's features do not depend on who else is in the cohort.
        """
        plan = self._plan
        number = {name: i for i, name in enumerate(plan.codes)}
        local = np.array([number.get(name, -1) for name in store.codes], dtype=np.int64)
        out = np.full((len(rows), len(plan.columns)), np.nan)
        out[:, plan.zero_when_absent] = 0.0
        for block in _blocks(store, rows):
            _fill(out, plan, store, block, local[store.code[block.event]])
        return out

    def unknown(self, store: EventStore, rows: np.ndarray) -> int:
        """How many events of these rows have a code that no train row had."""
        known = set(self._seen)
        strange = np.array([name not in known for name in store.codes], dtype=bool)
        return sum(int(strange[store.code[block.event]].sum()) for block in _blocks(store, rows))

    def state(self) -> dict[str, Any]:
        """What was fitted, plain values only."""
        return {"codes": list(self._plan.codes), "kinds": list(self._plan.kinds), "seen": list(self._seen)}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self._seen = tuple(state["seen"])
        self._plan = _Plan.of(tuple(state["codes"]), tuple(state["kinds"]), self.statistics, self.halves)


@dataclass(frozen=True)
class _Plan:
    """Where each (statistic, code) goes: ``place[statistic]`` is i64 (K,), the column or -1."""

    codes: tuple[str, ...]
    kinds: tuple[int, ...]
    columns: tuple[str, ...]
    place: dict[str, np.ndarray]
    zero_when_absent: np.ndarray

    @classmethod
    def of(cls, codes: tuple[str, ...], kinds: tuple[int, ...], statistics: tuple[str, ...], halves: bool) -> _Plan:
        wanted = {
            _VALUED: (*(s for s in statistics if s != "any"), *(HALVES if halves else ())),
            _BARE: tuple(s for s in statistics if s in ("any", *EVENT_STATISTICS)),
            _STATIC_VALUE: ("value",),
            _STATIC_ANY: ("any",),
        }
        place = {s: np.full(len(codes), -1, dtype=np.int64) for s in (*STATISTICS, *HALVES, "value")}
        columns: list[str] = []
        for k, (code, kind) in enumerate(zip(codes, kinds, strict=True)):
            for statistic in wanted[kind]:
                place[statistic][k] = len(columns)
                columns.append(f"{code}|{statistic}")
        zero = [i for i, name in enumerate(columns) if name.endswith(("|count", "|any"))]
        return cls(codes, kinds, tuple(columns), place, np.array(zero, dtype=np.int64))


@dataclass(frozen=True)
class _Block:
    """Events of some rows: ``event`` indexes the store, ``row`` is the place among the rows asked for, ``end_us`` and ``middle_us`` are per row asked for."""

    event: np.ndarray
    row: np.ndarray
    end_us: np.ndarray
    middle_us: np.ndarray


def _blocks(store: EventStore, rows: np.ndarray) -> Iterator[_Block]:
    start, stop = np.asarray(store.start[rows], dtype=np.int64), np.asarray(store.stop[rows], dtype=np.int64)
    length = stop - start
    end, middle = _windows(store, rows, start, stop)
    bucket = (np.cumsum(length) - length) // _BLOCK
    edges = [0, *(np.flatnonzero(np.diff(bucket)) + 1).tolist(), len(rows)]
    for part in (slice(a, b) for a, b in pairwise(edges)):
        count = length[part]
        before = np.cumsum(count) - count
        event = np.arange(count.sum()) + np.repeat(start[part] - before, count)
        yield _Block(event, np.repeat(np.arange(part.start, part.stop), count), end, middle)


def _windows(store: EventStore, rows: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """End and middle of each row's window; events are sorted by time with statics first, so the first timed one is found by bisection."""
    first = _first_timed(store.time_us, start, stop)
    any_timed = first < stop
    last_us = np.zeros(len(rows), np.int64)
    begin_us = np.zeros(len(rows), np.int64)
    last_us[any_timed] = store.time_us[stop[any_timed] - 1]
    begin_us[any_timed] = store.time_us[first[any_timed]]
    asked = np.asarray(store.time_of_row_us[rows], dtype=np.int64)
    end = np.where(asked == STATIC_TIME, last_us, asked)
    begin = np.where(any_timed, begin_us, end)
    return end, begin + (end - begin) / 2


def _first_timed(time_us: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    low, high = start.copy(), stop.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        static = np.zeros(len(start), dtype=bool)
        static[open_] = time_us[middle[open_]] == STATIC_TIME
        low = np.where(open_ & static, middle + 1, low)
        high = np.where(open_ & ~static, middle, high)
    return low


def _rows_having(row: np.ndarray, code: np.ndarray, mask: np.ndarray | None, n_codes: int, n_rows: int) -> np.ndarray:
    """Per code, how many rows have at least one (masked) event of it."""
    if mask is not None:
        row, code = row[mask], code[mask]
    if not row.size:
        return np.zeros(n_codes, np.int64)
    pairs = np.unique(code.astype(np.int64) * n_rows + row)
    return np.bincount(pairs // n_rows, minlength=n_codes)


def _kind(valued: bool, timed: bool) -> int:
    if timed:
        return _VALUED if valued else _BARE
    return _STATIC_VALUE if valued else _STATIC_ANY


def _fill(out: np.ndarray, plan: _Plan, store: EventStore, block: _Block, code: np.ndarray) -> None:
    """Writes the block's statistics into ``out``; ``code`` is in the plan's numbering, -1 where it has no column."""
    known = np.flatnonzero(code >= 0)
    # A stable sort keeps the order of time within each (row, code).
    order = known[np.argsort(block.row[known] * len(plan.codes) + code[known], kind="stable")]
    row, code, event = block.row[order], code[order], block.event[order]
    time_us = store.time_us[event]
    groups = _Groups.of(row, code)
    groups.put(out, plan, "count", groups.count.astype(np.float64))
    groups.put(out, plan, "any", np.ones(len(groups.row)))
    timed = time_us != STATIC_TIME
    at = _Groups.of(row[timed], code[timed])
    at.put(out, plan, "days_since", (block.end_us[at.row] - time_us[timed][at.stop - 1]) / _DAY_US)

    value = store.value[event].astype(np.float64)
    valued = np.isfinite(value)
    row, code, time_us, value, timed = row[valued], code[valued], time_us[valued], value[valued], timed[valued]
    groups = _Groups.of(row, code)
    mean = groups.sum(value) / groups.count
    statistics = {
        "value": value[groups.stop - 1],
        "last": value[groups.stop - 1],
        "first": value[groups.start],
        "mean": mean,
        "min": groups.reduce(np.minimum, value),
        "max": groups.reduce(np.maximum, value),
        "spread": _spread(groups, value, mean),
    }
    for name, result in statistics.items():
        groups.put(out, plan, name, result)

    row, code, time_us, value = row[timed], code[timed], time_us[timed], value[timed]
    groups = _Groups.of(row, code)
    groups.put(out, plan, "slope", _slope(groups, (time_us - block.end_us[row]) / _DAY_US, value))
    late = time_us > block.middle_us[row]
    for name, half in zip(HALVES, (~late, late), strict=True):
        groups = _Groups.of(row[half], code[half])
        groups.put(out, plan, name, groups.sum(value[half]) / groups.count)


@dataclass(frozen=True)
class _Groups:
    """Runs of equal (row, code) in sorted events."""

    row: np.ndarray
    code: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    @classmethod
    def of(cls, row: np.ndarray, code: np.ndarray) -> _Groups:
        new = np.ones(len(row), dtype=bool)
        new[1:] = (row[1:] != row[:-1]) | (code[1:] != code[:-1])
        start = np.flatnonzero(new)
        return cls(row[start], code[start], start, np.append(start[1:], len(row)) if len(row) else start)

    @property
    def count(self) -> np.ndarray:
        return self.stop - self.start

    def reduce(self, by: np.ufunc, x: np.ndarray) -> np.ndarray:
        return by.reduceat(x, self.start) if len(self.start) else np.zeros(0)

    def sum(self, x: np.ndarray) -> np.ndarray:
        return self.reduce(np.add, x)

    def put(self, out: np.ndarray, plan: _Plan, statistic: str, result: np.ndarray) -> None:
        column = plan.place[statistic][self.code]
        has = column >= 0
        out[self.row[has], column[has]] = result[has]


def _spread(groups: _Groups, value: np.ndarray, mean: np.ndarray) -> np.ndarray:
    deviation = value - np.repeat(mean, groups.count)
    squares = groups.sum(deviation * deviation)
    return np.where(groups.count > 1, np.sqrt(squares / np.maximum(groups.count - 1, 1)), np.nan)


def _slope(groups: _Groups, days: np.ndarray, value: np.ndarray) -> np.ndarray:
    n = groups.count
    t = days - np.repeat(groups.sum(days) / n, n)
    v = value - np.repeat(groups.sum(value) / n, n)
    across = groups.sum(t * t)
    known = across > 0
    return np.where(known, groups.sum(t * v) / np.where(known, across, 1.0), np.nan)

"""Everything about a row in one line of numbers, as a statistician would tabulate it: what the comparators read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from equipoise.cohort.draft import Column, ColumnStore, EventStore, GenotypeStore, Store
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.genotypes import Components
from equipoise.cohort.summary import EventSummary


class Features:
    """Summaries of events, numbers, one-hot categories and genetic principal components of all evidences, and a presence flag for each.

    Args:
        min_rows: a code enters the event summaries when at least this many train rows have it.
        statistics: which statistics of a code (see `cohort.summary.STATISTICS`).
        max_codes: at most this many codes; None for all.
        halves: whether to add means of the first and of the second half of the window.
        n_components: genetic principal components; 0 for none.
    """

    def __init__(self, *, min_rows: int, statistics: Sequence[str], max_codes: int | None, halves: bool, n_components: int) -> None:
        self.min_rows, self.statistics, self.max_codes, self.halves = min_rows, tuple(statistics), max_codes, halves
        self.n_components = n_components
        self._readers: dict[str, _Reader] = {}

    def fit(self, cohort: Cohort, rows: np.ndarray, evidences: Sequence[str]) -> None:
        """Chooses codes, levels and components from these rows (train rows), i64 (m,), of these evidences."""
        self._readers = {e: self._fit(cohort.store(e), rows[np.asarray(cohort.present_in(e))[rows]]) for e in evidences}

    def _fit(self, store: Store, rows: np.ndarray) -> _Reader:
        match store:
            case EventStore():
                summary = EventSummary(min_rows=self.min_rows, statistics=self.statistics, max_codes=self.max_codes, halves=self.halves)
                summary.fit(store, rows)
                return _Events(summary)
            case ColumnStore():
                return _Columns(store, rows)
            case GenotypeStore():
                return _Genotypes(store, rows, self.n_components)

    @property
    def names(self) -> tuple[str, ...]:
        """The F columns: ``evidence/feature``, and ``present_evidence`` last of each evidence."""
        return tuple(name for e, reader in self._readers.items() for name in (*(f"{e}/{n}" for n in reader.names), f"present_{e}"))

    def apply(self, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str] = frozenset()) -> np.ndarray:
        """The features of rows of this or another cohort.

        Args:
            cohort: any cohort; evidences, columns and codes are matched by name, and what it lacks is missing.
            rows: i64 (m,).
            hidden: evidences whose content is taken as absent.

        Returns:
            f64 (m, F), NaN where missing; the presence flags are 0 or 1.
        """
        parts = []
        for evidence, reader in self._readers.items():
            part = np.full((len(rows), len(reader.names) + 1), np.nan)
            part[:, -1] = 0.0
            if evidence in cohort.evidences and evidence not in hidden:
                here = np.flatnonzero(np.asarray(cohort.present_in(evidence))[rows])
                part[here, :-1] = reader.read(cohort.store(evidence), rows[here])
                part[here, -1] = 1.0
            parts.append(part)
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(rows), 0))


class _Reader(ABC):
    names: tuple[str, ...]

    @abstractmethod
    def read(self, store: Store, rows: np.ndarray) -> np.ndarray:
        """f64 (m, F) of rows that have the evidence; all NaN where the store is of another kind."""


class _Events(_Reader):
    def __init__(self, summary: EventSummary) -> None:
        self._summary = summary
        self.names = summary.names

    def read(self, store: Store, rows: np.ndarray) -> np.ndarray:
        return self._summary.apply(store, rows) if isinstance(store, EventStore) else np.full((len(rows), len(self.names)), np.nan)


class _Columns(_Reader):
    def __init__(self, store: ColumnStore, rows: np.ndarray) -> None:
        self._numbers = tuple(c.name for c in store.numbers)
        category = np.asarray(store.category[rows])
        self._levels = {
            c.name: tuple(level for i, level in enumerate(c.levels) if (category[:, j] == i).any())  # levels of train rows only
            for j, c in enumerate(store.categories)
        }
        self.names = (*self._numbers, *(f"{name}={level}" for name, levels in self._levels.items() for level in levels))

    def read(self, store: Store, rows: np.ndarray) -> np.ndarray:
        out = np.full((len(rows), len(self.names)), np.nan)
        if not isinstance(store, ColumnStore):
            return out
        number, category = _places(store.numbers), _places(store.categories)
        for at, name in enumerate(self._numbers):
            if name in number:
                out[:, at] = store.number[rows, number[name]]
        at = len(self._numbers)
        for name, levels in self._levels.items():
            if name in category:
                out[:, at : at + len(levels)] = _one_hot(store.category[rows, category[name]], store.categories[category[name]].levels, levels)
            at += len(levels)
        return out


class _Genotypes(_Reader):
    def __init__(self, store: GenotypeStore, rows: np.ndarray, n_components: int) -> None:
        lines = np.asarray(store.index)[rows]
        lines = lines[lines >= 0]
        self._components = Components.fit(store, lines, n_components) if n_components and lines.size else None
        count = 0 if self._components is None else self._components.loading.shape[1]
        self.names = tuple(f"component_{i + 1}" for i in range(count))

    def read(self, store: Store, rows: np.ndarray) -> np.ndarray:
        out = np.full((len(rows), len(self.names)), np.nan)
        if self._components is None or not isinstance(store, GenotypeStore):
            return out
        lines = np.asarray(store.index)[rows]
        out[lines >= 0] = self._components.scores(store, lines[lines >= 0])
        return out


def _places(columns: Sequence[Column]) -> dict[str, int]:
    return {c.name: i for i, c in enumerate(columns)}


def _one_hot(category: np.ndarray, here: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
    """f64 (m, len(wanted)); NaN where the category is missing or no train row had its level."""
    place = np.array([*(wanted.index(level) if level in wanted else -1 for level in here), -1])
    at = place[category]  # category -1 takes the last entry
    out = (at[:, None] == np.arange(len(wanted))).astype(np.float64)
    out[at < 0] = np.nan
    return out

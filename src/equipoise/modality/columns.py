"""The mechanism of `biomarker`, `lifestyle` and `clinical`: named numbers and categories, matched by name and unit on new cohorts."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from equipoise.cohort.draft import Column, ColumnStore, TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Vector, VectorSpec
from equipoise.modality import View
from equipoise.modality.rank_normal import RankNormal
from equipoise.modality.scaling import Scaling
from equipoise.modality.units import Conversions, factor
from equipoise.modality.vector import VectorReader, spec_from_state, spec_state, vector_spec

Transform = Literal["standardise", "rank_normal"]


class Columns(View):
    """Numbers scaled, categories as levels of the train rows.

    Args:
        evidence: a columns evidence of the cohort.
        columns: which of its columns, by name; None for all.
        transform: "standardise" (see `Scaling`) or "rank_normal" (see `RankNormal`).
        winsorise: quantile in (0, 0.5) at which values are clipped before standardising; None clips nothing.
        log_skewness: non-negative numbers with more skewness are logged before standardising; None logs nothing.
        n_bins: bins of the spec's edges.
        conversions: ``{column: {unit: factor}}``: a cohort that gives the column in this unit is multiplied by the factor.
    """

    part = Vector

    @property
    @abstractmethod
    def holds(self) -> str:
        """What the columns are, for messages."""

    def __init__(
        self,
        *,
        evidence: str,
        columns: list[str] | None,
        transform: Transform,
        winsorise: float | None,
        log_skewness: float | None,
        n_bins: int,
        conversions: Conversions,
    ) -> None:
        super().__init__(evidence=evidence)
        if transform not in ("standardise", "rank_normal"):
            raise UserError(f"Transform {transform!r} of the view of {evidence!r}", expected="standardise or rank_normal")
        self._columns, self._transform = columns, transform
        self._winsorise, self._log_skewness, self._n_bins, self._conversions = winsorise, log_skewness, n_bins, conversions
        self._numbers: tuple[Column, ...] = ()
        self._categories: tuple[Column, ...] = ()
        self._scale: Scaling | RankNormal
        self._spec: VectorSpec

    def fit(self, cohort: Cohort, rows: np.ndarray, outcome: TargetTable | None = None) -> None:
        store = column_store(cohort, self.evidence)
        rows = rows[cohort.present_in(self.evidence)[rows]]
        number_at, category_at = (self._chosen(columns) for columns in (store.numbers, store.categories))
        self._check_chosen(store)
        if not number_at and not category_at:
            raise UserError(f"Evidence {self.evidence!r} has no columns with {self.holds}", mend="leave the view out, or give the source columns")
        self._numbers = tuple(store.numbers[f] for f in number_at)
        number = np.asarray(store.number[rows][:, number_at], np.float64)
        number[~np.isfinite(number)] = np.nan
        seen = [x[~np.isnan(x)] for x in number.T]
        self._scale = (
            RankNormal.fit(seen) if self._transform == "rank_normal" else Scaling.fit(seen, winsorise=self._winsorise, log_skewness=self._log_skewness)
        )
        self._categories = tuple(_with_levels_of(store.categories[c], store.category[rows, c]) for c in category_at)
        spec = vector_spec(self._scale(number), tuple(len(c.levels) + 1 for c in self._categories), self._n_bins)
        self._spec = replace(spec, groups=self.groups_of([c.name for c in self._numbers]))

    def groups_of(self, numbers: list[str]) -> dict[str, np.ndarray]:
        """The spec's groups of these columns, asked for once in `fit`; none, unless a view says otherwise."""
        return {}

    @property
    def spec(self) -> VectorSpec:
        return self._spec

    def open(self, cohort: Cohort) -> VectorReader:
        store = column_store(cohort, self.evidence)
        present = cohort.present_in(self.evidence)
        notes: dict[str, Any] = {"missing_columns": [], "unexpected_units": [], "unstated_units": [], "unknown_levels": 0}
        number = self._read_numbers(store, notes)
        category = self._read_categories(store, present, notes)
        return VectorReader(present=present, value=self._scale(number), category=category, notes=notes)

    def items(self) -> tuple[str, ...]:
        return tuple(c.name for c in (*self._numbers, *self._categories))

    def state(self) -> dict[str, Any]:
        return {
            "numbers": [[c.name, c.unit] for c in self._numbers],
            "categories": [[c.name, list(c.levels)] for c in self._categories],
            "scale": self._scale.state(),
            "spec": spec_state(self._spec),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self._numbers = tuple(Column(name, "number", unit) for name, unit in state["numbers"])
        self._categories = tuple(Column(name, "category", levels=tuple(levels)) for name, levels in state["categories"])
        self._scale = RankNormal.from_state(state["scale"]) if self._transform == "rank_normal" else Scaling.from_state(state["scale"])
        self._spec = spec_from_state(state["spec"])

    def _chosen(self, columns: tuple[Column, ...]) -> list[int]:
        return [i for i, c in enumerate(columns) if self._columns is None or c.name in self._columns]

    def _check_chosen(self, store: ColumnStore) -> None:
        there = {c.name for c in (*store.numbers, *store.categories)}
        missing = [name for name in self._columns or () if name not in there]
        if missing:
            raise UserError(
                f"Evidence {self.evidence!r} has no column {missing[0]!r}", expected=f"some of {sorted(there)}", mend="correct the view's list `columns`"
            )

    def _read_numbers(self, store: ColumnStore, notes: dict[str, Any]) -> np.ndarray:
        """f64 (n, F) in the train units, NaN where a column is missing or its unit is another."""
        place = {c.name: i for i, c in enumerate(store.numbers)}
        out = np.full((store.number.shape[0], len(self._numbers)), np.nan)
        for f, column in enumerate(self._numbers):
            if column.name not in place:
                notes["missing_columns"].append(column.name)
                continue
            unit = store.numbers[place[column.name]].unit
            times = factor(column.name, unit, column.unit, self._conversions)
            if times is None:
                notes["unexpected_units"].append(f"{column.name} [{unit}]")
                continue
            if unit != column.unit and "" in (unit, column.unit):
                notes["unstated_units"].append(column.name)
            out[:, f] = np.asarray(store.number[:, place[column.name]], np.float64) * times
        out[~np.isfinite(out)] = np.nan
        return out

    def _read_categories(self, store: ColumnStore, present: np.ndarray, notes: dict[str, Any]) -> np.ndarray:
        """i32 (n, C): 1.. for the train rows' levels, 0 for missing and unknown."""
        place = {c.name: i for i, c in enumerate(store.categories)}
        out = np.zeros((store.category.shape[0], len(self._categories)), np.int32)
        for c, column in enumerate(self._categories):
            if column.name not in place:
                notes["missing_columns"].append(column.name)
                continue
            number = {level: i + 1 for i, level in enumerate(column.levels)}
            # The last entry of the table serves index -1, not observed.
            table = np.array([*(number.get(level, 0) for level in store.categories[place[column.name]].levels), 0], np.int32)
            found = np.asarray(store.category[:, place[column.name]])
            out[:, c] = table[found]
            notes["unknown_levels"] += int(np.sum(present & (found >= 0) & (out[:, c] == 0)))
        return out


def column_store(cohort: Cohort, evidence: str) -> ColumnStore:
    """The evidence's columns.

    Raises:
        UserError: there is no such evidence, or it does not hold columns.
    """
    store = cohort.store(evidence)
    if not isinstance(store, ColumnStore):
        raise UserError(
            f"Evidence {evidence!r} holds {cohort.kind_of(evidence)}", expected="an evidence that holds columns", mend="give this view another `evidence`"
        )
    return store


def _with_levels_of(column: Column, found: np.ndarray) -> Column:
    """The column with those of its levels that these rows have."""
    return Column(column.name, "category", levels=tuple(column.levels[i] for i in np.unique(found) if i >= 0))

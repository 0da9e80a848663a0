"""The view of coded events as summary features: what a statistician would tabulate, as numbers for an encoder."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.summary import EventSummary
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Vector, VectorSpec
from equipoise.modality import View
from equipoise.modality.ehr import event_store
from equipoise.modality.scaling import Scaling
from equipoise.modality.vector import VectorReader, spec_from_state, spec_state, vector_spec


@final
class EhrSummary(View):
    """`EventSummary` features of each row, scaled (see `Scaling`).

    Args:
        evidence: an events evidence of the cohort.
        min_rows: a code enters when at least this many train rows have it.
        statistics: which of `cohort.summary.STATISTICS`.
        max_codes: at most this many codes, those of most train rows; None for all.
        halves: whether to add the means of the first and second half of each row's window.
        winsorise: quantile in (0, 0.5) at which a feature is clipped; None clips nothing.
        log_skewness: non-negative features with more skewness are logged; None logs nothing.
        n_bins: bins of the spec's edges.
    """

    part = Vector

    def __init__(
        self,
        *,
        evidence: str,
        min_rows: int,
        statistics: list[str],
        max_codes: int | None,
        halves: bool,
        winsorise: float | None,
        log_skewness: float | None,
        n_bins: int,
    ) -> None:
        super().__init__(evidence=evidence)
        self._summary = EventSummary(min_rows=min_rows, statistics=statistics, max_codes=max_codes, halves=halves)
        self._winsorise, self._log_skewness, self._n_bins = winsorise, log_skewness, n_bins
        self._scale: Scaling
        self._spec: VectorSpec

    def fit(self, cohort: Cohort, rows: np.ndarray, outcome: TargetTable | None = None) -> None:
        store = event_store(cohort, self.evidence)
        rows = rows[cohort.present_in(self.evidence)[rows]]
        self._summary.fit(store, rows)
        if not self._summary.names:
            raise UserError(
                f"No code of evidence {self.evidence!r} is in enough train rows to be summarised",
                found=f"{rows.size} train rows with this evidence",
                mend="lower the view's min_rows, or leave the view out",
            )
        number = self._summary.apply(store, rows)
        self._scale = Scaling.fit((x[np.isfinite(x)] for x in number.T), winsorise=self._winsorise, log_skewness=self._log_skewness)
        self._spec = vector_spec(self._scale(number), (), self._n_bins)

    @property
    def spec(self) -> VectorSpec:
        return self._spec

    def open(self, cohort: Cohort) -> VectorReader:
        store = event_store(cohort, self.evidence)
        present = cohort.present_in(self.evidence)
        there = np.flatnonzero(present)
        value = np.full((cohort.size, self._spec.n_values), np.nan, np.float32)
        value[there] = self._scale(self._summary.apply(store, there))
        notes = {"unknown_events": self._summary.unknown(store, there)}
        return VectorReader(present=present, value=value, category=np.zeros((cohort.size, 0), np.int32), notes=notes)

    def items(self) -> tuple[str, ...]:
        return self._summary.names

    def state(self) -> dict[str, Any]:
        return {"summary": self._summary.state(), "scale": self._scale.state(), "spec": spec_state(self._spec)}

    def load_state(self, state: dict[str, Any]) -> None:
        self._summary.load_state(state["summary"])
        self._scale, self._spec = Scaling.from_state(state["scale"]), spec_from_state(state["spec"])

"""A cohort with further targets, for regressions that a task needs beside its own question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from equipoise.cohort.draft import Store, TargetTable
from equipoise.cohort.frozen import Cohort


@dataclass(frozen=True)
class RetargetedCohort(Cohort):
    """A view of a cohort that reads everything as another one does, permuted or not, and has further targets in memory.

    Args:
        inner: whose arrays, stores and targets it has.
        further: target name -> outcomes of all rows.
    """

    inner: Cohort
    further: Mapping[str, TargetTable]

    def store(self, evidence: str) -> Store:
        return self.inner.store(evidence)

    def target(self, name: str) -> TargetTable:
        return self.further[name] if name in self.further else self.inner.target(name)

    def _array(self, name: str) -> np.ndarray:
        return self.inner._array(name)

    def _table(self, name: str) -> pl.DataFrame:
        return self.inner._table(name)


def retargeted(cohort: Cohort, further: Mapping[str, TargetTable]) -> RetargetedCohort:
    """The cohort with these targets beside its own."""
    return RetargetedCohort(cohort.folder, cohort.manifest, cohort.rows, cohort, dict(further))

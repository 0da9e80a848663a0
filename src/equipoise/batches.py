"""Rows of a cohort -> a batch: for training, selection and prediction alike. No Lightning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, final

import numpy as np
import polars as pl
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.contract.tensors import Batch, Events, Genotypes, Part, Target, Vector, VectorSpec
from equipoise.modality import Reader, View
from equipoise.stats.pseudo_outcomes import PseudoOutcomes


def evidences_of(views: Mapping[str, View]) -> tuple[str, ...]:
    """The views' evidences in order of first appearance: the columns of ``Batch.present``."""
    return tuple(dict.fromkeys(view.evidence for view in views.values()))


def open_views(views: Mapping[str, View], cohort: Cohort) -> dict[str, Reader]:
    """Opens every view on a cohort; one whose evidence the cohort lacks altogether is absent for every row, and its notes say so."""
    return {name: view.open(cohort) if view.evidence in cohort.evidences else AbsentReader(view, cohort.size) for name, view in views.items()}


@final
class AbsentReader(Reader):
    """The reader of an evidence that a cohort does not have."""

    def __init__(self, view: View, n: int) -> None:
        self.present = np.zeros(n, dtype=bool)
        self.notes: dict[str, Any] = {"missing_evidence": view.evidence}
        self._view = view

    def __call__(self, rows: np.ndarray, keep: np.ndarray | None = None) -> Part:
        nobody = torch.zeros(0, dtype=torch.int64)
        spec, size = self._view.spec, len(rows)
        if self._view.part is Events:
            no_number, no_flag = torch.zeros(0), torch.zeros(0, dtype=torch.bool)
            first = torch.zeros(1, dtype=torch.int64)
            return Events(nobody, size, torch.zeros(0, dtype=torch.int32), no_number, no_flag, time_days=no_number, timed=no_flag, offsets=first)
        if isinstance(spec, VectorSpec):
            value, category = torch.zeros(0, spec.n_values), torch.zeros(0, len(spec.cardinalities), dtype=torch.int32)
            return Vector(nobody, size, value, value.bool(), category)
        n_variants = spec.n_variants  # type: ignore[union-attr]
        return Genotypes(nobody, size, torch.zeros(0, -(-n_variants // 4), dtype=torch.uint8), n_variants)


def target_tensors(target: TargetTable, pseudo: PseudoOutcomes | None = None) -> Target:
    """A target's columns as tensors over all its rows; without pseudo-outcomes ``pseudo`` is NaN."""
    column = {name: target.table[name].to_numpy() for name in ("outcome", "observed", "time_days", "event", "entry_days", "treatment", "weight")}
    number = {k: torch.from_numpy(column[k].astype(np.float32)) for k in ("outcome", "time_days", "entry_days", "weight")}
    whole = {k: torch.from_numpy(column[k].astype(np.int64)) for k in ("event", "treatment")}
    observed = torch.from_numpy(column["observed"].astype(bool))
    made = PseudoOutcomes.none(target.table.height) if pseudo is None else pseudo
    value, weight = (torch.from_numpy(x.astype(np.float32)) for x in (made.value, made.weight))
    return Target(observed=observed, pseudo=value, pseudo_weight=weight, **number, **whole)


def take(target: Target, rows: torch.Tensor) -> Target:
    """These rows of a target."""
    return replace(target, **{f.name: getattr(target, f.name)[rows] for f in fields(target)})


def only_at(target: TargetTable, rows: np.ndarray) -> TargetTable:
    """The target with every row but these blinded: not observed, outcome and times NaN."""
    seen = np.zeros(target.table.height, dtype=bool)
    seen[rows] = True
    blind = {"outcome": float("nan"), "observed": False, "time_days": float("nan"), "event": -1, "entry_days": 0.0, "treatment": -1, "weight": 1.0}
    mask = pl.lit(pl.Series(seen))
    return replace(target, table=target.table.with_columns(pl.when(mask).then(pl.col(k)).otherwise(pl.lit(v)).alias(k) for k, v in blind.items()))


def at_rows(target: TargetTable, rows: np.ndarray) -> TargetTable:
    """These rows of a target."""
    return replace(target, table=target.table[rows])


@final
class Batches:
    """Makes batches of one cohort's rows, fetched as a batch and not row by row.

    Args:
        readers: by view name (see `open_views`).
        evidence_of: view name -> its evidence.
        evidences: the network's evidences in order, M of them.
        targets: by task name, over all cohort rows; empty when there are no outcomes.
        pseudo: by task name, of those that learn or are chosen by pseudo-outcomes, over all cohort rows.
        hidden: evidences whose content is taken as absent.
    """

    def __init__(
        self,
        readers: Mapping[str, Reader],
        evidence_of: Mapping[str, str],
        evidences: tuple[str, ...],
        *,
        targets: Mapping[str, TargetTable],
        pseudo: Mapping[str, PseudoOutcomes] | None = None,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        self.readers, self.evidences = dict(readers), evidences
        self.column = {view: evidences.index(evidence_of[view]) for view in readers}
        self.present = np.zeros((_size(self.readers.values()), len(evidences)), dtype=bool)
        for view, column in self.column.items():
            if evidence_of[view] not in hidden:
                self.present[:, column] |= self.readers[view].present
        self._shown = np.array([e not in hidden for e in evidences])
        self._targets = {task: target_tensors(target, (pseudo or {}).get(task)) for task, target in targets.items()}

    def __call__(self, rows: np.ndarray, keep: np.ndarray | None = None) -> Batch:
        """The batch of these rows.

        Args:
            rows: i64 (B,), cohort rows; any order, repeats allowed.
            keep: bool (B, M), False hides an evidence of a row (evidence dropout); None keeps all.
        """
        shown = np.broadcast_to(self._shown, (len(rows), len(self.evidences)))
        kept = shown if keep is None else shown & keep
        index = torch.from_numpy(np.asarray(rows, dtype=np.int64).copy())
        return Batch(
            parts={view: reader(rows, kept[:, self.column[view]]) for view, reader in self.readers.items()},
            present=torch.from_numpy(self.present[rows] & kept),
            targets={task: take(target, index) for task, target in self._targets.items()},
            row_id=index,
        )

    def nothing(self) -> Batch:
        """The batch of no rows."""
        return Batch({}, torch.zeros(0, len(self.evidences), dtype=torch.bool), {}, torch.zeros(0, dtype=torch.int64))


def _size(readers: Iterable[Reader]) -> int:
    return len(next(iter(readers)).present)

"""What all views that give a Vector share: the reader of a precomputed matrix, the spec, and which rows of a batch are there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from equipoise.contract.tensors import Vector, VectorSpec
from equipoise.modality import Reader


def rows_there(present: np.ndarray, rows: np.ndarray, keep: np.ndarray | None) -> np.ndarray:
    """Places in the batch, i64 (P,) increasing, of the rows that are present and kept."""
    there = present[rows] if keep is None else present[rows] & keep
    return np.flatnonzero(there)


class VectorReader(Reader):
    """Reads rows of a matrix that was transformed once, when the cohort was opened.

    Args:
        present: bool (n,).
        value: f64 or f32 (n, F), NaN = not observed.
        category: i32 (n, C), 0 = missing or unknown.
        notes: see `Reader`.
    """

    def __init__(self, *, present: np.ndarray, value: np.ndarray, category: np.ndarray, notes: dict[str, Any]) -> None:
        self.present, self.notes = np.array(present, bool), notes
        self._observed = np.isfinite(value)
        self._value = np.where(self._observed, value, 0.0).astype(np.float32)
        self._category = category.astype(np.int32)

    def __call__(self, rows: np.ndarray, keep: np.ndarray | None = None) -> Vector:
        place = rows_there(self.present, rows, keep)
        at = rows[place]
        value, observed, category = (torch.from_numpy(x[at]) for x in (self._value, self._observed, self._category))
        return Vector(rows=torch.from_numpy(place), size=len(rows), value=value, observed=observed, category=category)


def vector_spec(value: np.ndarray, cardinalities: tuple[int, ...], n_bins: int) -> VectorSpec:
    """The spec of scaled train values f64 (m, F), with the edges of ``n_bins`` equally filled bins; -2..2 where a column has no value."""
    edges = np.tile(np.linspace(-2.0, 2.0, n_bins + 1), (value.shape[1], 1))
    for f in range(value.shape[1]):
        seen = value[np.isfinite(value[:, f]), f]
        if seen.size:
            edges[f] = np.quantile(seen, np.linspace(0, 1, n_bins + 1))
    return VectorSpec(n_values=value.shape[1], cardinalities=cardinalities, edges=edges.astype(np.float32))


def spec_state(spec: VectorSpec) -> dict[str, Any]:
    groups = {name: torch.from_numpy(np.array(at)) for name, at in spec.groups.items()}
    return {"n_values": spec.n_values, "cardinalities": list(spec.cardinalities), "edges": torch.from_numpy(np.array(spec.edges)), "groups": groups}


def spec_from_state(state: dict[str, Any]) -> VectorSpec:
    # A model that was saved before views knew groups has none.
    groups = {name: at.numpy() for name, at in state.get("groups", {}).items()}
    return VectorSpec(int(state["n_values"]), tuple(int(c) for c in state["cardinalities"]), state["edges"].numpy(), groups)

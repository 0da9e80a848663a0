"""The points behind the figures as CSV: one file a kind of curve, one line a point, at full precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from equipoise.report.reading import mapping
from equipoise.report.tables import as_csv, tasks_of

KINDS = ("roc", "calibration", "decision", "risk_distribution", "scatter")


def curve_tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Kind of curve -> CSV with the columns task, model, curve and those of the curve; only kinds that some model has."""
    made: dict[str, list[dict[str, Any]]] = {}
    for task, own in tasks_of(results):
        for model, curves in mapping(own, "curves").items():
            for kind, label, curve in _found(curves):
                made.setdefault(kind, []).extend({"task": task, "model": model, "curve": label} | line for line in _points(curve))
    return {kind: as_csv(list(dict.fromkeys(k for line in lines for k in line)), lines) for kind, lines in made.items()}


def _found(curves: Any, label: str = "") -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Kind, label (a class, a horizon, the groups of a calibration plot) and curve, however nested."""
    for name, inner in curves.items() if isinstance(curves, Mapping) else ():
        if not isinstance(inner, Mapping):
            continue
        if name not in KINDS:
            yield from _found(inner, str(name))
        elif any(isinstance(v, list) for v in inner.values()):
            yield name, label, inner
            if isinstance(inner.get("bins"), Mapping):
                yield f"{name}_groups", label, inner["bins"]
        else:
            yield from ((name, str(own), curve) for own, curve in inner.items() if isinstance(curve, Mapping))


def _points(curve: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A line a point; a two-way table becomes a line a cell."""
    columns = {k: v for k, v in curve.items() if isinstance(v, list)}
    grids = {k: v for k, v in columns.items() if v and isinstance(v[0], list)}
    for name, grid in grids.items():
        for i, row in enumerate(grid):
            yield from ({"row": i, "column": j, name: value} for j, value in enumerate(row))
    flat = {k: v for k, v in columns.items() if k not in grids}
    for point in zip_longest(*flat.values()):
        yield dict(zip(flat, point, strict=True))

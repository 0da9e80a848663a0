"""A cohort in memory, as sources deliver it and before it is frozen on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

STATIC_TIME = np.iinfo(np.int64).min
"""The time of an event that has none (MEDS statics): sorts first, never after any prediction time."""


@dataclass
class EventStore:
    """Coded events of the cohort's subjects, packed by subject and sorted by time, statics first.

    Args:
        codes: code strings; the position is the number in ``code``.
        units: per code, the unit of its value as the source declares it, "" unknown.
        code: i32 (E,).
        value: f32 (E,), NaN where the event carries no value.
        time_us: i64 (E,), microseconds since 1970-01-01; `STATIC_TIME` for statics.
        start: i64 (n,): row r may use events ``start[r]:stop[r]``, which holds nothing later than its prediction time.
        stop: i64 (n,).
        time_of_row_us: i64 (n,), the prediction times.
    """

    codes: tuple[str, ...]
    units: tuple[str, ...]
    code: np.ndarray
    value: np.ndarray
    time_us: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    time_of_row_us: np.ndarray


@dataclass(frozen=True)
class Column:
    """One column of a column store. ``levels`` only for kind "category"; ``unit`` in UCUM, "" unknown or none."""

    name: str
    kind: Literal["number", "category"]
    unit: str = ""
    levels: tuple[str, ...] = ()


@dataclass
class ColumnStore:
    """Row-aligned numbers and categories of one evidence.

    Args:
        numbers: the number columns, in the order of ``number``'s columns.
        categories: the category columns, in the order of ``category``'s columns.
        number: f64 (n, F), NaN = not observed.
        category: i32 (n, C), index into the column's levels, -1 = not observed.
    """

    numbers: tuple[Column, ...]
    categories: tuple[Column, ...]
    number: np.ndarray
    category: np.ndarray


@dataclass
class GenotypeStore:
    """Hard calls, sample-major, in PLINK's 2-bit code (see `contract.tensors.Genotypes`).

    Args:
        packed: u8 (G, ceil(V/4)), one line a genotyped person.
        index: i64 (n,), each row's line in ``packed``, -1 = not genotyped.
        variants: columns chromosome (String), variant_id (String), position (Int64), counted_allele, other_allele (String); V lines.
    """

    packed: np.ndarray
    index: np.ndarray
    variants: pl.DataFrame


Store = EventStore | ColumnStore | GenotypeStore


@dataclass
class TargetTable:
    """Outcomes of all rows: ``table`` has the columns of `contract.tables.TARGET`; ``classes`` for a multiclass outcome; ``unit`` for a continuous one."""

    kind: str
    table: pl.DataFrame
    classes: tuple[str, ...] = ()
    unit: str = ""


@dataclass
class Draft:
    """Everything that a cohort holds, validated and joined; `cohort.frozen.freeze` writes it.

    Args:
        rows: columns of `contract.tables.ROWS`.
        present: bool (n, M), in the order of ``stores``.
        stores: by evidence.
        targets: by target name.
        scores: published scores by name, f64 (n,), NaN where missing; never inputs of the model.
        folds: columns of `contract.tables.FOLDS`, or None.
        flow: from raw to included: lines with "step", "n_rows", "n_subjects" and, where useful, "note".
        sources: lines with "name" (no path), "sha256", "bytes".
        counts: whatever a report should print of the join and the ranges, JSON-able, aggregates only.
    """

    rows: pl.DataFrame
    present: np.ndarray
    stores: dict[str, Store]
    targets: dict[str, TargetTable]
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    folds: pl.DataFrame | None = None
    flow: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)

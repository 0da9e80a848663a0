"""What a cohort is read from: inputs that are hashed, and sources of evidence that fill a store row by row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from equipoise.cohort.draft import Store
from equipoise.contract.tables import TIME


@dataclass(frozen=True)
class Asked:
    """The rows that a source is asked to fill.

    Args:
        subject_id: the subject of every row, canonical spelling, String (n,).
        time: the prediction time of every row, `contract.tables.TIME` (n,), null where there is none.
        id_type: "str" or "int", the declared type of subject ids.
        predict_only: the rows have no outcomes; a declared column that the source lacks is then counted, not refused.
        refused: by file, columns that are outcomes or published scores and can be no input.
        reserved: by file, columns that serve another purpose (id, cluster, role, fold): an input only where they are named.
        label_file: the table of labels, or None.
    """

    subject_id: pl.Series
    time: pl.Series
    id_type: str
    predict_only: bool = False
    refused: Mapping[Path, frozenset[str]] = field(default_factory=dict)
    reserved: Mapping[Path, frozenset[str]] = field(default_factory=dict)
    label_file: Path | None = None

    @property
    def size(self) -> int:
        return self.subject_id.len()

    @property
    def time_us(self) -> np.ndarray:
        """Prediction times in microseconds, i64 (n,); the largest integer where there is none."""
        return self.time.cast(TIME).cast(pl.Int64).fill_null(np.iinfo(np.int64).max).to_numpy()


@dataclass(frozen=True)
class Delivery:
    """What a source of evidence delivers.

    Args:
        store: filled for the rows asked for.
        present: bool (n,).
        counts: aggregates for the report: the join (see `ids.join_counts`), ranges, units, dropped columns.
        notes: sentences that a user should read, logged as warnings; no identifiers.
    """

    store: Store
    present: np.ndarray
    counts: dict[str, Any]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Claim:
    """Columns of a table that serve another purpose than a model's input.

    Args:
        path: the table.
        columns: an input only where they are named.
        outcomes: no input ever.
    """

    path: Path
    columns: frozenset[str]
    outcomes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, path: str, columns: Iterable[str | None], outcomes: Iterable[str] = ()) -> Claim:
        """With the path resolved and absent columns left out."""
        return cls(Path(path).expanduser().resolve(), frozenset(c for c in columns if c is not None), frozenset(outcomes))


class Input(ABC):
    """Anything that a cohort is read from. Final classes are frozen dataclasses whose fields are their keywords in the config."""

    paths: ClassVar[tuple[str, ...]] = ("path",)
    """Fields that hold paths: they are not part of the fingerprint, the content is."""

    @abstractmethod
    def inputs(self) -> dict[str, Path]:
        """Every file that it reads, by a name without a folder of this machine in it. A file may not exist: then the cohort is refused."""

    def claims(self) -> Claim | None:
        """What it uses of a table for something else than a model's input."""
        return None

    def settings(self) -> dict[str, Any]:
        """Its keywords without paths, JSON-able."""
        found = {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name not in self.paths}  # type: ignore[arg-type]
        return {"class": type(self).__name__, **found}


class EvidenceSource(Input):
    """Fills one evidence's store."""

    genotypes: ClassVar[bool] = False
    """Whether the store is a `GenotypeStore`, from which relatives can be found."""

    @abstractmethod
    def read(self, asked: Asked) -> Delivery:
        """Reads, validates and joins.

        Raises:
            UserError: a file is wrong, or nothing of it belongs to the rows asked for.
        """


def _plain(value: Any) -> Any:
    if isinstance(value, Input):
        return value.settings()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value

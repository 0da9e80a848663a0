"""One column of a table, looked up by subject: families, sites, published scores; and relatives who belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from equipoise.cohort.clusters import join_clusters
from equipoise.cohort.evidence import Asked, Claim, Input
from equipoise.cohort.ids import canonical_ids
from equipoise.cohort.join import to_rows
from equipoise.cohort.reading import as_number, as_time, has_columns, read_table
from equipoise.contract.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Lookup(Input):
    """A column of a table keyed by subject.

    Args:
        path: parquet, CSV or TSV.
        id: the column of subject ids.
        column: the column to look up.
        time: the column that says when a line became known (the last line not after the prediction time is taken), or null: one line a subject.
    """

    path: str
    id: str
    column: str
    time: str | None = None

    def inputs(self) -> dict[str, Path]:
        path = Path(self.path).expanduser()
        return {path.name: path}

    def claims(self) -> Claim:
        return Claim.of(self.path, [self.id, self.column, self.time])

    def read(self, asked: Asked, key: str) -> pl.Series:
        """The value for every row, null where there is none.

        Args:
            asked: the rows.
            key: the config key, for errors.
        """
        path = Path(self.path).expanduser()
        table = read_table(path)
        has_columns(table, [self.id, self.column, *([self.time] if self.time else [])], path, key)
        ids = canonical_ids(table[self.id], asked.id_type, f"Column {self.id} of {path}")
        time = None if self.time is None else as_time(table[self.time], f"Column {self.time} of {path}")
        return to_rows(asked, ids, time, table.select(self.column), f"Table {path}")[self.column]

    def texts(self, asked: Asked, key: str) -> pl.Series:
        """The value for every row as text."""
        return self.read(asked, key).cast(pl.String)

    def numbers(self, asked: Asked, key: str) -> np.ndarray:
        """The value for every row as a number, f64 (n,), NaN where there is none."""
        return as_number(self.read(asked, key), f"Column {self.column} of {self.path}").fill_null(np.nan).to_numpy().copy()


@dataclass(frozen=True, kw_only=True)
class Relatives(Input):
    """Pairs of related people, such as KING's table: whoever is joined by such a pair is in one cluster.

    Args:
        path: parquet, CSV or TSV; one line a pair.
        first: the column of the first person's id.
        second: the column of the second's.
        kinship: the column of the kinship coefficient.
        minimum: pairs from this coefficient on are joined; 0.0442 is KING's bound of third-degree relatives.

    Source: Manichaikul et al. 2010, Bioinformatics 26:2867, table 1 (bounds of the kinship coefficient).
    """

    path: str
    first: str
    second: str
    kinship: str
    minimum: float = 0.0442

    def inputs(self) -> dict[str, Path]:
        path = Path(self.path).expanduser()
        return {path.name: path}

    def join(self, cluster: np.ndarray, asked: Asked) -> tuple[np.ndarray, int]:
        """Joins clusters that a pair connects.

        Args:
            cluster: (n,) of str, all rows of a subject in one.
            asked: the rows.

        Returns:
            The new clusters, each named by the first of its names, and how many pairs lie within the cohort.
        """
        path = Path(self.path).expanduser()
        table = read_table(path)
        has_columns(table, [self.first, self.second, self.kinship], path, "cohort.relatives")
        if not 0 < self.minimum <= 0.5:
            raise UserError(f"Config key cohort.relatives.minimum is {self.minimum}", expected="a kinship coefficient in (0, 0.5]", mend="correct it")
        table = table.filter((as_number(table[self.kinship], f"Column {self.kinship} of {path}") >= self.minimum).fill_null(False))
        row_of = dict(zip(asked.subject_id.to_list(), range(asked.size), strict=True))
        pairs = []
        for a, b in zip(*(canonical_ids(table[c], asked.id_type, f"Column {c} of {path}").to_list() for c in (self.first, self.second)), strict=True):
            if a in row_of and b in row_of:
                pairs.append((row_of[a], row_of[b]))
        left, right = np.array(pairs, np.int64).reshape(-1, 2).T
        return join_clusters(cluster, left, right), len(pairs)

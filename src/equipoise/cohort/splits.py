"""Where roles and folds come from: a table that gives them (MEDS splits among them), or chance by whole clusters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.evidence import Asked, Claim, Input
from equipoise.cohort.ids import canonical_ids, join_counts
from equipoise.cohort.join import to_rows
from equipoise.cohort.outcomes import strata_of
from equipoise.cohort.reading import as_number, has_columns, read_table
from equipoise.cohort.roles import assign_roles
from equipoise.contract.errors import UserError
from equipoise.contract.tables import FOLDS, ROLES

UNPLACED = ""
"""The role of a row that the splits do not name; such rows are left out of the cohort and counted."""


class Roles(Input):
    """Gives every row its role."""

    @abstractmethod
    def assign(self, asked: Asked, cluster: np.ndarray, targets: Mapping[str, TargetTable]) -> tuple[np.ndarray, dict[str, Any]]:
        """Role of every row, (n,) of str, `UNPLACED` where there is none, and counts of the join."""


class Folds(Input):
    """Gives the rows of cross-validation."""

    @abstractmethod
    def lay(self, asked: Asked, cluster: np.ndarray, targets: Mapping[str, TargetTable]) -> tuple[pl.DataFrame, dict[str, Any]]:
        """The lines of `contract.tables.FOLDS`, and counts of the join."""


@dataclass(frozen=True, kw_only=True)
class GivenRoles(Roles):
    """Roles from a table with a split a subject, e.g. MEDS's ``metadata/subject_splits.parquet``.

    Args:
        path: parquet, CSV or TSV; one line a subject.
        id: the column of subject ids.
        column: the column of splits.
        divide: each split that occurs -> the role that it serves, or roles with shares; a split with null is left out.
        stratum: the target by which divisions are stratified, or null.
        seed: of the divisions.
    """

    path: str
    id: str
    column: str
    divide: Mapping[str, Any]
    stratum: str | None = None
    seed: int = 0

    def inputs(self) -> dict[str, Path]:
        path = Path(self.path).expanduser()
        return {path.name: path}

    def claims(self) -> Claim:
        return Claim.of(self.path, [self.id, self.column])

    def assign(self, asked: Asked, cluster: np.ndarray, targets: Mapping[str, TargetTable]) -> tuple[np.ndarray, dict[str, Any]]:
        path = Path(self.path).expanduser()
        table = read_table(path)
        has_columns(table, [self.id, self.column], path, "cohort.roles")
        ids = canonical_ids(table[self.id], asked.id_type, f"Column {self.id} of {path}")
        counts = join_counts(asked.subject_id, ids, f"table {path}")
        split = to_rows(asked, ids, None, table.select(pl.col(self.column).cast(pl.String)), f"Table {path}")[self.column]
        given = split.fill_null(UNPLACED).to_numpy().astype(str)
        unknown = sorted(set(given.tolist()) - {UNPLACED, *map(str, self.divide)})
        if unknown:
            raise UserError(
                f"Column {self.column} of {path} has {len(unknown)} splits that cohort.roles.divide does not name",
                expected=f"one of {', '.join(map(str, self.divide))}",
                examples=", ".join(map(repr, unknown[:3])),
                mend="say in cohort.roles.divide which role it serves, or null to leave it out",
            )
        self._refuse_straddling(given, cluster)
        role = np.full(given.size, UNPLACED, dtype=object)
        stratum = stratum_of(self.stratum, targets)
        for number, (name, serves) in enumerate(self.divide.items()):
            mine = np.flatnonzero(given == str(name))
            if serves is None or not mine.size:
                continue
            shares = check_shares({serves: 1.0} if isinstance(serves, str) else serves, f"cohort.roles.divide.{name}")
            part = assign_roles(cluster[mine], shares, self.seed, None if stratum is None else stratum[mine], counters=(number,))
            role[mine] = part
        return role.astype(str), counts

    def _refuse_straddling(self, given: np.ndarray, cluster: np.ndarray) -> None:
        """A cluster in two splits would be a leak that no division mends."""
        pairs = {(c, s) for c, s in zip(cluster.tolist(), given.tolist(), strict=True) if s != UNPLACED}
        names = [c for c, _ in pairs]
        if (both := len(names) - len(set(names))) > 0:
            raise UserError(
                f"{both} clusters lie in two splits of {self.path}",
                expected="every cluster (subject, family, household) in one split",
                mend="make splits by cluster, or declare the clusters by which these splits were made",
            )


@dataclass(frozen=True, kw_only=True)
class RandomRoles(Roles):
    """Roles by chance, whole clusters, seeded.

    Args:
        shares: role -> share of the rows; they are scaled to sum to 1.
        stratum: the target whose outcomes every role gets its share of, or null.
        seed: a counter of its own, so that a sweep over the training seed keeps its rows.
    """

    shares: Mapping[str, float]
    stratum: str | None = None
    seed: int = 0

    def inputs(self) -> dict[str, Path]:
        return {}

    def assign(self, asked: Asked, cluster: np.ndarray, targets: Mapping[str, TargetTable]) -> tuple[np.ndarray, dict[str, Any]]:
        shares = check_shares(self.shares, "cohort.roles.shares")
        return assign_roles(cluster, shares, self.seed, stratum_of(self.stratum, targets)), {}


@dataclass(frozen=True, kw_only=True)
class GivenFolds(Folds):
    """Folds from a table: in which fold each subject is held out.

    Args:
        path: parquet, CSV or TSV; a line a subject and repeat.
        id: the column of subject ids.
        fold: the column of fold numbers.
        repeat: the column of repeat numbers; null for one repeat, number 0.
        part: for tables with a line a subject, fold and part: the column that says whether the subject is trained on or held out; or null.
        held_out: the value of ``part`` that means held out.
    """

    path: str
    id: str
    fold: str
    repeat: str | None = None
    part: str | None = None
    held_out: str | None = None

    def inputs(self) -> dict[str, Path]:
        path = Path(self.path).expanduser()
        return {path.name: path}

    def claims(self) -> Claim:
        return Claim.of(self.path, [self.id, self.fold, self.repeat, self.part])

    def lay(self, asked: Asked, cluster: np.ndarray, targets: Mapping[str, TargetTable]) -> tuple[pl.DataFrame, dict[str, Any]]:
        path = Path(self.path).expanduser()
        table = read_table(path)
        has_columns(table, [self.id, self.fold, *(c for c in (self.repeat, self.part) if c)], path, "cohort.folds")
        if self.part is not None:
            table = table.filter((pl.col(self.part).cast(pl.String) == str(self.held_out)).fill_null(False))
            if not table.height:
                raise UserError(f"No line of {path} has {self.part} = {self.held_out!r}", mend="correct cohort.folds.held_out")
        ids = canonical_ids(table[self.id], asked.id_type, f"Column {self.id} of {path}")
        counts = join_counts(asked.subject_id, ids, f"table {path}")
        lines = pl.DataFrame(
            {
                "subject": ids,
                "repeat": _whole(table[self.repeat], f"Column {self.repeat} of {path}") if self.repeat else pl.Series([0] * ids.len(), dtype=pl.Int64),
                "fold": _whole(table[self.fold], f"Column {self.fold} of {path}"),
            }
        )
        if again := int(lines.select(pl.struct("subject", "repeat").is_duplicated().sum()).item()):
            raise UserError(f"{path}: {again} lines hold a subject out twice in a repeat", expected="one fold a subject and repeat", mend="correct the table")
        rows = pl.DataFrame({"subject": asked.subject_id}).with_row_index("row_id")
        folds = rows.join(lines, on="subject", how="inner").select([pl.col(c).cast(t) for c, t in FOLDS.items()]).sort("repeat", "row_id")
        _refuse_straddling_folds(folds, cluster, str(path))
        repeats = lines["repeat"].n_unique()
        counts.pop("duplicated")  # a subject stands once a repeat
        return folds, {**counts, "repeats": repeats, "rows_without_fold": asked.size * repeats - folds.height}


@dataclass(frozen=True, kw_only=True)
class RandomFolds(Folds):
    """Folds by chance, whole clusters, seeded.

    Args:
        folds: how many, at least 2.
        repeats: how often the division is made anew.
        stratum: the target whose outcomes every fold gets its share of, or null.
        seed: a counter.
    """

    folds: int
    repeats: int = 1
    stratum: str | None = None
    seed: int = 0

    def inputs(self) -> dict[str, Path]:
        return {}

    def lay(self, asked: Asked, cluster: np.ndarray, targets: Mapping[str, TargetTable]) -> tuple[pl.DataFrame, dict[str, Any]]:
        if self.folds < 2 or self.repeats < 1:
            raise UserError(f"cohort.folds: {self.folds} folds, {self.repeats} repeats", expected="at least 2 folds and 1 repeat", mend="correct them")
        stratum = stratum_of(self.stratum, targets)
        shares = {str(k): 1.0 for k in range(self.folds)}
        tables = []
        for repeat in range(self.repeats):
            fold = assign_roles(cluster, shares, self.seed, stratum, counters=(0, 0, repeat)).astype(np.int64)
            tables.append(pl.DataFrame({"row_id": np.arange(asked.size), "repeat": np.full(asked.size, repeat), "fold": fold}, schema=FOLDS))
        return pl.concat(tables), {"repeats": self.repeats, "rows_without_fold": 0}


def stratum_of(name: str | None, targets: Mapping[str, TargetTable]) -> np.ndarray | None:
    """The strata of the target of this name, or None."""
    if name is None:
        return None
    if name not in targets:
        raise UserError(f"Stratum {name!r} is no target", expected=f"one of {', '.join(targets) or 'none'}, or null", mend="correct `stratum`")
    return strata_of(targets[name])


def check_shares(shares: Mapping[str, Any], key: str) -> dict[str, float]:
    """Shares by role; UserError names the config key of what is no role or no share."""
    for role, share in shares.items():
        if role not in ROLES:
            raise UserError(f"Config key {key} names the role {role!r}", expected=f"one of {', '.join(ROLES)}", mend="correct the role")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < float("inf"):
            raise UserError(f"Config key {key}.{role} is {share!r}", expected="a share >= 0", mend="correct the share")
    return {role: float(share) for role, share in shares.items()}


def _whole(column: pl.Series, of: str) -> pl.Series:
    number = as_number(column, of)
    if number.null_count() or bool((number % 1 != 0).any()) or bool((number < 0).any()):
        raise UserError(f"{of} holds values that are no whole numbers >= 0", mend="number repeats and folds 0, 1, 2, ...")
    return number.cast(pl.Int64)


def _refuse_straddling_folds(folds: pl.DataFrame, cluster: np.ndarray, of: str) -> None:
    table = folds.with_columns(pl.Series("cluster", cluster[folds["row_id"].to_numpy()]))
    both = int((table.group_by("repeat", "cluster").agg(pl.col("fold").n_unique())["fold"] > 1).sum())
    if both:
        raise UserError(
            f"{both} clusters lie in two folds of one repeat of {of}",
            expected="every cluster (subject, family, household) in one fold",
            mend="use folds made by cluster, or declare the clusters by which these folds were made",
        )

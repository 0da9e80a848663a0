"""Roles: which rows teach, select, calibrate and are held out. Whole clusters, counter-seeded, stratified; laws that refuse what would leak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.contract.counter import numpy_stream
from equipoise.contract.errors import UserError
from equipoise.contract.tables import ROLES


def assign_roles(
    cluster: np.ndarray, shares: Mapping[str, float], seed: int, stratum: np.ndarray | None = None, *, counters: tuple[int, ...] = ()
) -> np.ndarray:
    """Gives whole clusters to roles so that rows, and each stratum's rows, come near their shares.

    Clusters come in a seeded random order; each, with v_s rows of stratum s, goes to the role r of least ``sum_s v_s T_rs / D_rs``, with T the rows
    given so far and D those desired: to the role that lacks most of what it brings. Its own size is no part of the rule, or small roles would
    never get a large family.

    Args:
        cluster: (n,), any sortable values.
        shares: role -> share > 0; they are scaled to sum to 1. A role with share 0 gets nothing.
        seed: a counter.
        stratum: (n,) labels, such as outcome classes; None for one stratum.
        counters: further counters of the random order, such as repeat and fold.

    Returns:
        Role names, (n,) of str.

    Raises:
        UserError: fewer clusters than roles, or a share is negative.

    Source: ours, after the greedy stratified grouping of scikit-learn's StratifiedGroupKFold, with unequal shares.

    >>> family = np.array(["a", "a", "b", "c", "c", "d"])
    >>> role = assign_roles(family, {"train": 0.5, "held_out": 0.5}, seed=0)
    >>> bool(role[0] == role[1]), sorted(set(role.tolist()))
    (True, ['held_out', 'train'])
    """
    names = [name for name, share in shares.items() if share != 0]
    share = np.array([float(shares[name]) for name in names])
    if not names or (share < 0).any() or not np.isfinite(share).all():
        raise UserError(f"Role shares {dict(shares)}", expected="at least one share above 0 and none below", mend="correct the shares")
    label, member = np.unique(cluster, return_inverse=True)
    if label.size < len(names):
        raise UserError(
            f"{label.size} clusters cannot be divided into {len(names)} roles",
            expected="at least one cluster a role",
            found=f"{cluster.size} rows in {label.size} clusters for roles {', '.join(names)}",
            mend="use fewer roles or finer clusters",
        )
    kinds, kind = np.unique(np.zeros(cluster.size) if stratum is None else stratum, return_inverse=True)
    table = np.zeros((label.size, kinds.size))
    np.add.at(table, (member, kind), 1.0)
    order = numpy_stream("roles", seed, *counters).permutation(label.size)
    chosen = _greedy(table[order], share / share.sum())
    place = np.empty(label.size, np.int64)
    place[order] = chosen
    return np.array(names)[place[member]]


def _greedy(table: np.ndarray, share: np.ndarray) -> np.ndarray:
    """For each cluster in order its role, i64 (G,). ``table`` is rows by stratum, (G, S)."""
    # The rows' total stands beside the strata, so that sizes keep to the shares where strata are tiny.
    table = np.column_stack([table, table.sum(1)])
    desired = share[:, None] * table.sum(0)[None, :]
    given = np.zeros_like(desired)
    chosen = np.empty(table.shape[0], np.int64)
    clusters_in = np.zeros(share.size, np.int64)
    for i, count in enumerate(table):
        cost = (given * count / desired).sum(1)
        left = table.shape[0] - i
        if left <= int((clusters_in == 0).sum()):
            cost[clusters_in > 0] = np.inf  # the last clusters go to the roles that have none
        best = int(np.argmin(cost))
        chosen[i] = best
        given[best] += count
        clusters_in[best] += 1
    return chosen


def fold_split(cohort: Cohort, repeat: int, fold: int, *, select_share: float, calibrate_share: float, seed: int, stratum: np.ndarray | None = None) -> Split:
    """The roles of one fold of a cross-validation: its rows are held out, select and calibrate come from the others, by whole clusters.

    Args:
        cohort: a cohort with folds.
        repeat: which repeat.
        fold: which fold of it.
        select_share: share of the outer-train rows, in [0, 1).
        calibrate_share: likewise; the rest is train.
        seed: a counter; repeat and fold are counters too.
        stratum: (n,) labels over all cohort rows, or None.

    Raises:
        UserError: the cohort has no such fold, or the shares leave nothing to train on.
    """
    if cohort.folds is None:
        raise UserError("The cohort has no folds", expected="cohort.folds", mend="give folds to the cohort, or use validation=fixed")
    here = cohort.folds.filter(cohort.folds["repeat"] == repeat)
    row, number = here["row_id"].to_numpy(), here["fold"].to_numpy()
    held_out = np.sort(row[number == fold])
    if not held_out.size:
        known = sorted({(int(r), int(f)) for r, f in cohort.folds.select("repeat", "fold").unique().iter_rows()})
        raise UserError(f"The cohort has no fold {fold} in repeat {repeat}", expected=f"(repeat, fold) among {known[:30]}", mend="correct validation.repeats")
    outer = np.sort(row[number != fold])
    train_share = 1.0 - select_share - calibrate_share
    if min(select_share, calibrate_share) < 0 or train_share <= 0:
        raise UserError(f"select_share {select_share} and calibrate_share {calibrate_share}", expected="both >= 0, together below 1", mend="lower them")
    shares = {"train": train_share, "select": select_share, "calibrate": calibrate_share}
    cluster = cohort.rows["cluster"].to_numpy()
    role = assign_roles(cluster[outer], shares, seed, None if stratum is None else stratum[outer], counters=(1 + repeat, 1 + fold))
    split = Split(held_out=held_out, **{name: outer[role == name] for name in ("train", "select", "calibrate")})
    check_disjoint(cluster, split)
    return split


def folds_of(cohort: Cohort, repeat: int) -> list[int]:
    """The fold numbers of a repeat, increasing; empty when there is no such repeat."""
    if cohort.folds is None:
        return []
    return sorted(int(f) for f in cohort.folds.filter(cohort.folds["repeat"] == repeat)["fold"].unique())


def inner_folds(cluster: np.ndarray, rows: np.ndarray, k: int, seed: int, stratum: np.ndarray | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """k inner splits of ``rows`` for tuning, clusters kept whole.

    Args:
        cluster: (n,) over all cohort rows.
        rows: i64, the rows to divide.
        k: at least 2; lowered to the number of clusters where there are fewer.
        seed: a counter.
        stratum: (n,) labels over all cohort rows, or None.

    Returns:
        (fit rows, check rows), each increasing; every row is checked once.

    Raises:
        UserError: fewer than two clusters.
    """
    rows = np.sort(rows)
    k = min(k, np.unique(cluster[rows]).size)
    if k < 2:
        raise UserError("Inner folds need at least 2 clusters", found=f"{rows.size} rows in one cluster", mend="give more training rows")
    part = assign_roles(cluster[rows], {str(i): 1.0 for i in range(k)}, seed, None if stratum is None else stratum[rows], counters=(0, k))
    return [(rows[part != str(i)], rows[part == str(i)]) for i in range(k)]


def check_disjoint(cluster: np.ndarray, split: Split) -> None:
    """The law of roles: no row and no cluster serves two of them.

    Args:
        cluster: (n,) over all cohort rows.
        split: the roles.

    Raises:
        UserError: naming the two roles and the number of clusters between them.
    """
    mine: dict[str, set[Any]] = {role: set(cluster[split.rows(role)].tolist()) for role in ROLES}
    for i, first in enumerate(ROLES):
        for second in ROLES[i + 1 :]:
            if both := len(mine[first] & mine[second]):
                raise UserError(
                    f"{both} clusters serve both {first} and {second}",
                    expected="every cluster (subject, family, household) in one role",
                    mend="divide by cluster, or declare the clusters by which these rows were divided",
                )

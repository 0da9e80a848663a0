"""How the synthetic rows are divided: roles at random, by site or by calendar time, and five folds; clusters are never cut."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from equipoise.cohort.generator.dials import require_choice, stream
from equipoise.cohort.generator.people import People
from equipoise.cohort.roles import assign_roles

FOLDS = 5


def divide_rows(people: People, shares: Mapping[str, float], split: str, seed: int) -> np.ndarray:
    """Role of every row, (n,) of str.

    Args:
        people: everybody; site and calendar are the same within a cluster.
        shares: role -> share.
        split: "random": all roles at random; "site": the last sites are held out, the fewest that reach the share; "calendar": the latest
            prediction times are.
        seed: the cohort's seed.
    """
    require_choice("split", split, ("random", "site", "calendar"))
    cluster = people.cluster.astype(str)
    if split == "random" or not shares.get("held_out"):
        return np.asarray(assign_roles(cluster, dict(shares), seed))
    total = sum(shares.values())
    wanted = shares["held_out"] / total
    if split == "site":
        share_from = np.array([(people.site >= s).mean() for s in range(int(people.site.max()) + 1)])
        held_out = people.site >= int(np.flatnonzero(share_from >= wanted).max())
    else:
        held_out = people.calendar >= np.quantile(people.calendar, 1.0 - wanted)
    role = np.full(cluster.size, "held_out", dtype="<U9")
    rest = {r: s for r, s in shares.items() if r != "held_out"}
    role[~held_out] = assign_roles(cluster[~held_out], rest, seed)
    return role


def five_folds(cluster: np.ndarray, seed: int) -> pl.DataFrame:
    """One repeat of five folds by cluster, columns of `contract.tables.FOLDS`."""
    order = stream("folds", seed).permutation(int(cluster.max()) + 1)
    fold = (order % FOLDS)[cluster]
    return pl.DataFrame({"row_id": np.arange(cluster.size, dtype=np.int64), "repeat": np.zeros(cluster.size, np.int64), "fold": fold.astype(np.int64)})

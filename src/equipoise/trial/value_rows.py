"""What is known of the judged rows beside predictions and outcomes: who has which evidence, the base columns, strata and sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import polars as pl

from equipoise.contract.tables import BASE_PREFIX, PRESENT_PREFIX, SCENARIO_ALL, SITE_UNSEEN, STRATUM_PREFIX
from equipoise.trial.judged import Arm
from equipoise.trial.rows import ROW_KEY, Forecasts, Rows


@dataclass(frozen=True)
class RowFacts:
    """Arrays over the rows of a `Rows`, in its order.

    Args:
        present: by evidence, bool (n,).
        base: f64 (n, k), base columns as numbers: levels as indicators, a missing number as the mean and an indicator; sites are among them.
        base_names: the columns behind it, without the site.
        strata: by name, values (n,) of object, None where not known.
        site: (n,) of object, None where not known.
        unseen: bool (n,), rows of sites that taught nothing.
        subject: (n,) of str.
    """

    present: Mapping[str, np.ndarray]
    base: np.ndarray
    base_names: tuple[str, ...]
    strata: Mapping[str, np.ndarray]
    site: np.ndarray
    unseen: np.ndarray
    subject: np.ndarray


def row_facts(table: pl.DataFrame, model: str) -> RowFacts:
    """From a validated table of one task, rows in the order of `rows_of`.

    Args:
        table: the table that `rows_of` was given.
        model: whose lines without a hidden evidence say what was present.
    """
    keys = table.select(ROW_KEY).unique().sort(ROW_KEY)
    own = table.filter((pl.col("model") == model) & (pl.col("scenario") == SCENARIO_ALL)).unique(ROW_KEY, keep="first", maintain_order=True)
    first = keys.join(own, on=ROW_KEY, how="left", nulls_equal=True, maintain_order="left")
    site = _objects(first["site"])
    base = {c.removeprefix(BASE_PREFIX): first[c] for c in first.columns if c.startswith(BASE_PREFIX)}
    blocks = [_as_numbers(c) for c in (*base.values(), first["site"])]
    unseen = first[SITE_UNSEEN].fill_null(False).to_numpy() if SITE_UNSEEN in first.columns else np.zeros(keys.height, dtype=bool)
    return RowFacts(
        present={c.removeprefix(PRESENT_PREFIX): first[c].fill_null(False).to_numpy() for c in first.columns if c.startswith(PRESENT_PREFIX)},
        base=np.column_stack([np.empty((keys.height, 0)), *blocks]),
        base_names=tuple(base),
        strata={c.removeprefix(STRATUM_PREFIX): _objects(first[c]) for c in first.columns if c.startswith(STRATUM_PREFIX)},
        site=site,
        unseen=unseen,
        subject=first["subject_id"].to_numpy().astype(str),
    )


def _objects(column: pl.Series) -> np.ndarray:
    return np.array(column.to_list(), dtype=object)


def _as_numbers(column: pl.Series) -> np.ndarray:
    """f64 (n, k): a number and, where some are missing, which; or all levels but the first, missing being one."""
    if column.dtype.is_numeric():
        value = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
        missing = ~np.isfinite(value)
        filled = np.where(missing, value[~missing].mean() if (~missing).any() else 0.0, value)
        return np.column_stack([filled, missing]) if missing.any() else filled[:, None]
    level = np.unique(column.fill_null("").to_numpy().astype(str), return_inverse=True)[1].reshape(-1)
    return (level[:, None] == np.arange(1, int(level.max(initial=0)) + 1)).astype(np.float64)


def restricted(rows: Rows, where: np.ndarray, arms: Mapping[Arm, Forecasts], weight: np.ndarray | None = None) -> Rows:
    """These rows with these forecasts, clusters numbered anew.

    Args:
        rows: all rows.
        where: bool (n,).
        arms: over all rows.
        weight: f64 (n,), multiplied into the analysis weights; None: ones.
    """
    at = np.flatnonzero(where)
    taken = {f.name: getattr(rows, f.name)[at] for f in fields(Rows) if f.name not in ("kind", "labels", "forecasts", "cluster", "groups")}
    taken["groups"] = {name: label[at] for name, label in rows.groups.items()}
    if weight is not None:
        taken["weight"] = taken["weight"] * weight[at]
    cluster = np.unique(rows.cluster[at], return_inverse=True)[1].reshape(-1)
    return replace(rows, **taken, cluster=cluster, forecasts={arm: _taken(f, at) for arm, f in arms.items()})


def _taken(forecasts: Forecasts, at: np.ndarray) -> Forecasts:
    return replace(forecasts, **{f.name: getattr(forecasts, f.name)[at] for f in fields(Forecasts) if f.name != "n_abstained"})

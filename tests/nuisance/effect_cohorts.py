"""Cohorts of one evidence whose treatment effect is known, and the settings of their nuisances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.draft import Column, ColumnStore, TargetTable
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.cohort.targets import target_table
from equipoise.contract.counter import stream_seed
from equipoise.testing.cohorts import tiny_draft
from small_config import small_config


def columns_cohort(
    folder: Path, x: np.ndarray, targets: dict[str, TargetTable], roles: tuple[float, ...] = (0.6, 0.2, 0.1, 0.1), *, a_cluster: int = 1
) -> Cohort:
    """A cohort whose one evidence, ``biomarker``, is the columns of x, f64 (n, k).

    Args:
        folder: must not exist.
        x: f64 (n, k).
        targets: by name, of n rows.
        roles: shares of train, select, calibrate and held-out rows, in this order of rows.
        a_cluster: rows of a cluster.
    """
    n, k = x.shape
    draft = tiny_draft(n=20)
    cluster = np.array([f"c{i // a_cluster}" for i in range(n)])
    role = np.repeat(["train", "select", "calibrate", "held_out"], np.diff(np.r_[0, np.round(np.cumsum(roles) * n / a_cluster).astype(int) * a_cluster]))
    draft.rows = pl.DataFrame(
        {
            "row_id": np.arange(n),
            "subject_id": [f"p{i}" for i in range(n)],
            "prediction_time": pl.Series([None] * n, dtype=pl.Datetime("us")),
            "cluster": cluster,
            "site": ["here"] * n,
            "role": role,
        }
    )
    draft.present = np.ones((n, 1), dtype=bool)
    draft.stores = {"biomarker": ColumnStore(tuple(Column(f"x{j}", "number") for j in range(k)), (), x, np.zeros((n, 0), np.int32))}
    draft.targets, draft.scores, draft.folds = targets, {}, None
    return freeze(draft, folder, f"columns-{stream_seed('columns', n, k, a_cluster)}-{hash(x.tobytes())}", {})


def effect_target(outcome: np.ndarray, treatment: np.ndarray, **further: np.ndarray) -> TargetTable:
    """A target of kind treatment_effect."""
    return TargetTable("treatment_effect", target_table(outcome, treatment=treatment, **further))


def settings(estimators: tuple[str, ...] = ("linear",), **changed: Any) -> dict[str, Any]:
    """The config's ``nuisance`` with these estimators."""
    node = small_config()["nuisance"]
    return {**node, "estimators": {k: v for k, v in node["estimators"].items() if k in estimators}, **changed}


def config_of(task: str = "effect_learner", *, nuisance: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    """A config of one effect task on the biomarkers, its target called "effect"."""
    made = small_config(views=("biomarker",), tasks=(task,), head="point", **{f"task__{task}__target": "effect", **values})
    if "width" in made["task"][task]:
        made["task"][task]["width"] = 8
    return made | {"nuisance": nuisance or settings()}

"""Chooses config values by cross-validation inside the training rows, clusters kept whole. A plain loop over a small grid."""

from __future__ import annotations

import copy
import itertools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.outcomes import strata_of
from equipoise.cohort.roles import inner_folds
from equipoise.cohort.split import Split
from equipoise.config.nearest import nearest
from equipoise.contract.errors import UserError
from equipoise.learner.train import train_member
from equipoise.nuisance import CrossFits
from equipoise.record import write_json

log = logging.getLogger("equipoise.tune")


def tuned(
    config: Mapping[str, Any], cohort: Cohort, rows: np.ndarray, folder: Path, crossfits: CrossFits | None = None, *, stops: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config with the chosen values, and a record of what was tried.

    What chooses is select/nll of the rows left out: for tasks on a treatment's effect the R- or DR-loss, with nuisances from the fold's other rows.

    Args:
        config: a resolved config; ``tune.grid`` maps dotted keys to lists of values, ``tune.folds`` is the number of inner folds, 0 for no tuning.
        cohort: the cohort.
        rows: i64, the only rows that serve here; none of them is judged.
        folder: where the inner fits lie; finished ones are skipped on resume.
        crossfits: makes pseudo-outcomes; None: made here.
        stops: whether the fit that is tuned for has select rows, so that each inner fit is read at its best epoch. False: at its last, where that
            fit will end too.

    Returns:
        A config, and {"chosen": {key: value}, "tried": [{"values", "select_nll", "per_fold"}]} (empty without a grid).

    Raises:
        UserError: a key of the grid is not in the config.
    """
    grid = {str(k): list(v) for k, v in config["tune"]["grid"].items()}
    if not grid or not config["tune"]["folds"]:
        return dict(config), {}
    crossfits, cluster = crossfits or CrossFits(cohort), cohort.rows["cluster"].to_numpy()
    folds = inner_folds(cluster, rows, int(config["tune"]["folds"]), int(config["seed"]), strata(config, cohort))
    tried: list[dict[str, Any]] = []
    for j, values in enumerate(itertools.product(*grid.values())):
        choice = dict(zip(grid, values, strict=True))
        one = with_values(config, choice if stops else {**choice, "learner.patience": None})
        losses = []
        for i, (fit_rows, check_rows) in enumerate(folds):
            nothing = np.empty(0, np.int64)
            at = folder / "tune" / f"{j:02d}_{i}"
            own = Split(fit_rows, check_rows, nothing, nothing)
            train_member(one, cohort, own, seed=int(config["seed"]), folder=at, loggers=[], pseudo=crossfits.of(one, own, at))
            losses.append(_select_loss(at, stops=stops))
        tried.append({"values": choice, "select_nll": float(np.mean(losses)), "per_fold": losses})
        log.info("tuning %s: select/nll %.4f", ", ".join(f"{k}={v}" for k, v in choice.items()), tried[-1]["select_nll"])
    best = min(tried, key=lambda t: float(t["select_nll"]))
    record = {"chosen": best["values"], "tried": tried, "folds": len(folds)}
    write_json(folder / "tune.json", record)
    return with_values(config, best["values"]), record


def strata(config: Mapping[str, Any], cohort: Cohort) -> np.ndarray:
    """The first task's outcome in classes, by which rows are divided evenly, i64 (n,) over all cohort rows."""
    return strata_of(cohort.target(next(iter(config["task"].values()))["target"]))


def _select_loss(folder: Path, *, stops: bool) -> float:
    """select/nll of the best epoch, or of the last."""
    losses = json.loads((folder / "history.json").read_text())["select_loss"]
    return float(np.min(losses) if stops else losses[-1])


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the config with these dotted keys set.

    >>> with_values({"a": {"b": 1}}, {"a.b": 2})
    {'a': {'b': 2}}
    """
    made: dict[str, Any] = copy.deepcopy(dict(config))
    for key, value in values.items():
        node: Any = made
        *parents, last = key.split(".")
        for part in parents:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            from equipoise.config.compose import dotted

            raise UserError(f"tune.grid names {key}, which the config does not have", mend=nearest(key, dotted(made)) or "correct the key")
        node[last] = value
    return made

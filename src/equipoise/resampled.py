"""Trainings on resampled rows: how much a model's gain would be another one had other people taught it, and its comparators."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.contract.tables import RESAMPLED_PREFIX, SCENARIO_ALL, Role
from equipoise.fit import SplitFit, fit_split, resampled_rows
from equipoise.trial.way import FEWEST

log = logging.getLogger("equipoise.resampled")

_MOST_LOST = 0.2
"""Larger shares of resamples that could not be fitted are no sample of what training gives."""


def with_resampled(config: Mapping[str, Any], cohort: Cohort, split: Split, role: Role, folder: Path, fit: SplitFit) -> SplitFit:
    """A split's fit with ``validation.resampled`` further ones, each on clusters of train, select and calibrate rows drawn with replacement.

    Everything is done anew in each: tuning, members, recalibration, comparators. Their predictions of the evaluated rows stand in the table as
    scenario ``resampled:<k>``; `trial.way` reads how the differences spread.

    Args:
        config: the resolved config.
        cohort: the cohort.
        split: of the fit.
        role: whose rows are predicted.
        folder: the split's folder; finished ones below ``folder/resampled`` are read.
        fit: what `fit_split` gave.

    Raises:
        UserError: too many resamples could not be fitted.
    """
    asked = int(config["validation"]["resampled"])
    if not asked or role == "select":
        return fit
    cluster, seed, lean = cohort.rows["cluster"].to_numpy(), int(config["seed"]), _lean(config)
    tables, lost = [fit.table], []
    for k in range(asked):
        log.info("training %d of %d on resampled rows", k + 1, asked)
        try:
            made = fit_split(lean, cohort, drawn(split, cluster, seed, k), role, folder / "resampled" / f"{k}", repeat=0, fold=0, loggers=[])
        except UserError as e:
            lost.append(str(e.recorded))
            continue
        own = made.table.filter(pl.col("scenario") == SCENARIO_ALL)
        tables.append(own.with_columns(pl.lit(f"{RESAMPLED_PREFIX}{k}").alias("scenario")))
    if too_many_lost(asked, len(lost)):
        raise UserError(
            f"{len(lost)} of {asked} trainings on resampled rows could not be made",
            found=lost[0] if lost else "",
            mend="give more rows, or set validation.resampled=0",
        )
    return SplitFit(pl.concat(tables, how="diagonal_relaxed"), fit.notes | {"resampled": {"asked": asked, "lost": len(lost)}})


def too_many_lost(asked: int, lost: int) -> bool:
    """Whether what is left is no sample of what training gives: fewer than four fifths, or too few to show a spread."""
    return lost > _MOST_LOST * asked or asked - lost < FEWEST


def drawn(split: Split, cluster: np.ndarray, seed: int, k: int) -> Split:
    """The k-th resample: whole clusters within each role but the evaluated ones, which stay as they are."""
    roles = {name: resampled_rows(split.rows(name), cluster, "resampled", seed, k, i) for i, name in enumerate(("train", "select", "calibrate"))}  # type: ignore[arg-type]
    return Split(**roles, held_out=split.held_out)


def check_resampled(config: Mapping[str, Any]) -> None:
    """Refuses what cannot be done, before anything is trained.

    Raises:
        UserError: too few trainings, or a cross-validation.
    """
    asked = int(config["validation"]["resampled"])
    if not asked:
        return
    if asked < FEWEST:
        raise UserError(f"validation.resampled is {asked}", expected=f"0, or at least {FEWEST}", mend=f"set validation.resampled={max(FEWEST, 10)}")
    if config["validation"]["folds"]:
        raise UserError(
            "A cross-validation does not train on resampled rows", expected="validation.resampled=0", mend="judge the cohort's own roles, or leave it out"
        )


def _lean(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without what only the first fit is asked for."""
    made: dict[str, Any] = copy.deepcopy(dict(config))
    made["validation"] |= {"masked": False, "resampled": 0}
    made["trial"] |= {"value_of": [], "subsets": "none"}
    return made

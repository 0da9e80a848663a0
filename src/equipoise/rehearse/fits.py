"""What a twin's models say of every held-out row: settings tried on select rows, the best one fitted as a run would, comparators beside it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.calibration import Calibration
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.comparator import Comparator
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.contract.tables import RESAMPLED_PREFIX, SCENARIO_ALL
from equipoise.fit import comparators_of, fit_split, teaching_rows
from equipoise.learner.train import train_member
from equipoise.nuisance import CrossFits
from equipoise.predict_table import outcomes, prediction_table
from equipoise.rehearse.stand_in import Additive
from equipoise.resampled import drawn, too_many_lost, with_resampled
from equipoise.tune import with_values


@dataclass(frozen=True)
class Fits:
    """Predictions of held-out rows.

    Args:
        table: a predictions table, held-out rows in order for each model.
        required: comparators of the verdict.
        not_run: why some did not apply.
        interval: what the predictions' interval is.
    """

    table: pl.DataFrame
    required: list[str]
    not_run: dict[str, str]
    interval: dict[str, Any] | None


def settings_of(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every setting of the sweep with every seed, as dotted keys."""
    grid = {str(k): list(v) for k, v in config["rehearse"]["sweep"].items()}
    seeds = [int(config["seed"]) + i for i in range(int(config["rehearse"]["seeds"]))]
    return [dict(zip(grid, values, strict=True)) | {"seed": seed} for values in itertools.product(*grid.values()) for seed in seeds]


def fitted(config: Mapping[str, Any], twin: Cohort, split: Split, question: Question, folder: Path) -> Fits:
    """Fits everything on a twin and predicts its held-out rows.

    Args:
        config: of twins (see `smaller.for_twins`).
        twin: with outcomes of train, select and calibrate rows.
        split: its roles.
        question: the first one.
        folder: for the members, empty.
    """
    if config["rehearse"]["model"] == "fast":
        return _fast(config, twin, split, question)
    tried, crossfits = settings_of(config), CrossFits(twin)
    losses = []
    for i, values in enumerate(tried if len(tried) > 1 else ()):
        one = with_values(config, values)
        at = folder / f"{i}" / "member_0"
        train_member(one, twin, split, seed=int(one["seed"]), folder=at, loggers=[], pseudo=crossfits.of(one, split, at))
        losses.append(min(json.loads((folder / f"{i}" / "member_0" / "history.json").read_text())["select_loss"], default=np.inf))
    best = int(np.argmin(losses)) if losses else 0
    fit = fit_split(with_values(config, tried[best]), twin, split, "held_out", folder / f"{best}", repeat=0, fold=0, loggers=[])
    fit = with_resampled(with_values(config, tried[best]), twin, split, "held_out", folder / f"{best}", fit)
    kept = (pl.col("scenario") == SCENARIO_ALL) | pl.col("scenario").str.starts_with(RESAMPLED_PREFIX)
    table = fit.table.filter(kept & (pl.col("task") == question.task))
    return Fits(table, fit.notes["required"], fit.notes["not_run"], fit.notes["prediction"].get("interval"))


def _fast(config: Mapping[str, Any], twin: Cohort, split: Split, question: Question) -> Fits:
    """The stand-in in the network's place; its penalty is chosen on select rows. The same again on as many resampled rows as the config asks for."""
    cluster, seed, asked, lost = twin.rows["cluster"].to_numpy(), int(config["seed"]), int(config["validation"]["resampled"]), 0
    tables, not_run = _fast_once(config, twin, split, question, SCENARIO_ALL)
    for k in range(asked):
        try:
            tables += _fast_once(config, twin, drawn(split, cluster, seed, k), question, f"{RESAMPLED_PREFIX}{k}")[0]
        except UserError:
            lost += 1
            if too_many_lost(asked, lost):
                raise
    required = [c.name for c in comparators_of(config) if c.required]
    return Fits(pl.concat(tables, how="diagonal_relaxed"), required, not_run, None)


def _fast_once(config: Mapping[str, Any], twin: Cohort, split: Split, question: Question, scenario: str) -> tuple[list[pl.DataFrame], dict[str, str]]:
    """Predictions of the stand-in and of every comparator that applies, and why the others do not."""
    model = Additive(select=split.select)
    model.fit(twin, split.train, question)
    tables, not_run = [_predicted(config, model, twin, split, question, scenario)], {}
    for comparator in comparators_of(config):
        if (why := comparator.applies(twin, question)) is not None:
            not_run[f"{comparator.name}/{question.task}"] = why
            continue
        comparator.fit(twin, teaching_rows(split, "held_out"), question)
        tables.append(_predicted(config, comparator, twin, split, question, scenario))
    return tables, not_run


def _predicted(config: Mapping[str, Any], model: Comparator, twin: Cohort, split: Split, question: Question, scenario: str) -> pl.DataFrame:
    raw = model.predict(twin, split.held_out).risk
    risk = raw
    if split.calibrate.size:
        calibration: Calibration = make(config["calibration"])
        y, observed = outcomes(twin, question, split.calibrate)
        calibration.fit(question, model.predict(twin, split.calibrate).risk, y, observed)
        risk = calibration.apply(raw)
    return prediction_table(question, twin, split.held_out, model=model.name, scenario=scenario, risk_raw=raw, risk=risk, role="held_out")

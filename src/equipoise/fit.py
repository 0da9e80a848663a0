"""One split, from cohort to predictions: members, recalibration, comparators, every scenario. A finished split is read, not made again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.roles import Split, inner_folds
from equipoise.comparator import Comparator
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.contract.tables import SCENARIO_ALL, Role
from equipoise.learner.train import train_member
from equipoise.predict import Ensemble
from equipoise.predict_table import outcomes, prediction_table
from equipoise.record import write_json
from equipoise.tune import tuned

log = logging.getLogger("equipoise.fit")


@dataclass(frozen=True)
class SplitFit:
    """What one split gave.

    Args:
        table: the predictions table of the evaluated rows, all models and scenarios.
        notes: {"questions", "required", "not_run", "comparators", "training", "tuned", "interval", "reader_notes", "n_parameters"}; aggregates only.
    """

    table: pl.DataFrame
    notes: dict[str, Any]


def fit_split(config: Mapping[str, Any], cohort: Cohort, split: Split, role: Role, folder: Path, *, repeat: int, fold: int, loggers: list[Any]) -> SplitFit:
    """Fits everything on one split and predicts its evaluated rows.

    Args:
        config: the resolved config.
        cohort: the cohort.
        split: row numbers by role.
        role: whose rows are predicted: held_out, or select in a sweep.
        folder: the split's folder.
        repeat: of the cross-validation, 0 for a fixed split.
        fold: likewise.
        loggers: Lightning loggers for the members' training.
    """
    done = _read(folder)
    if done is not None:
        log.info("fold %d.%d is finished, read from its folder", repeat, fold)
        return done
    config, tuning = tuned(config, cohort, split, folder)
    ensemble = train_ensemble(config, cohort, split, folder, loggers)
    questions, draws = ensemble.questions, int(config["learner"]["predict_draws"])
    scenarios = _scenarios(config, questions)
    tables, not_run, noted = [], {}, {}
    for name, hidden in scenarios.items():
        made = ensemble.predict(cohort, split.rows(role), draws=draws, scenario=name, hidden=hidden, repeat=repeat, fold=fold, role=role)
        tables.append(made.table)
        if name == SCENARIO_ALL:
            manifest = made.manifest
    for question in questions:
        for comparator in comparators_of(config):
            why_not = comparator.applies(cohort, question)
            if why_not is not None:
                not_run[f"{comparator.name}/{question.task}"] = why_not
                continue
            tables += _compared(config, comparator, cohort, split, role, question, scenarios, repeat, fold)
            noted[f"{comparator.name}/{question.task}"] = comparator.notes()
    notes = {
        "questions": [vars(q) for q in questions],
        "required": [c.name for c in comparators_of(config) if c.required],
        "not_run": not_run,
        "comparators": noted,
        "training": _histories(folder),
        "tuned": tuning,
        "prediction": manifest,
    }
    fit = SplitFit(pl.concat(tables, how="diagonal_relaxed"), notes)
    _write(fit, folder)
    return fit


def train_ensemble(config: Mapping[str, Any], cohort: Cohort, split: Split, folder: Path, loggers: list[Any]) -> Ensemble:
    """Trains the members, joins them and recalibrates the ensemble on the calibrate rows."""
    members = int(config["members"])
    paths = []
    for i, own in enumerate(_member_splits(config, cohort, split, members)):
        log.info("member %d of %d: %d train rows, %d select rows", i + 1, members, own.train.size, own.select.size)
        paths.append(train_member(config, cohort, own, seed=int(config["seed"]) + i, folder=folder / f"member_{i}", loggers=loggers))
    ensemble = Ensemble.of(paths)
    ensemble.calibrate(cohort, split.calibrate, config["calibration"], draws=int(config["learner"]["predict_draws"]))
    ensemble.save(folder / "ensemble.pt")
    return ensemble


def _member_splits(config: Mapping[str, Any], cohort: Cohort, split: Split, members: int) -> Iterable[Split]:
    """The members' own splits: with ``rotate_select`` each keeps another part of train and select rows for its early stopping."""
    if not config["validation"]["rotate_select"] or members < 2:
        return [split] * members
    rows = np.sort(np.concatenate([split.train, split.select]))
    folds = inner_folds(cohort.rows["cluster"].to_numpy(), rows, members, int(config["seed"]))
    return [Split(fit_rows, check_rows, split.calibrate, split.held_out) for fit_rows, check_rows in folds]


def comparators_of(config: Mapping[str, Any]) -> list[Comparator]:
    """The config's comparators, freshly made."""
    return [make(node) for node in config["comparator"].values()]


def _scenarios(config: Mapping[str, Any], questions: tuple[Question, ...]) -> dict[str, frozenset[str]]:
    """Scenario name -> hidden evidences."""
    evidences = questions[0].evidences
    scenarios: dict[str, frozenset[str]] = {SCENARIO_ALL: frozenset()}
    if config["validation"]["masked"] and len(evidences) > 1:
        scenarios |= {f"masked:{e}": frozenset({e}) for e in evidences}
    return scenarios


def _compared(
    config: Mapping[str, Any],
    comparator: Comparator,
    cohort: Cohort,
    split: Split,
    role: Role,
    question: Question,
    scenarios: dict[str, frozenset[str]],
    repeat: int,
    fold: int,
) -> list[pl.DataFrame]:
    """Fits one comparator on train and select rows (it tunes itself inside them), recalibrates it as the model is, and predicts."""
    from equipoise.calibration import Calibration

    log.info("comparator %s for %s", comparator.name, question.task)
    fitted_on = np.sort(np.concatenate([split.train, split.select]))
    comparator.fit(cohort, fitted_on, question)
    calibration: Calibration | None = None
    if split.calibrate.size:
        calibration = make(config["calibration"])
        outcome, observed = outcomes(cohort, question, split.calibrate)
        calibration.fit(question, comparator.predict(cohort, split.calibrate).risk, outcome, observed)
    tables, rows = [], split.rows(role)
    for scenario, hidden in scenarios.items():
        forecast = comparator.predict(cohort, rows, hidden)
        risk = calibration.apply(forecast.risk) if calibration is not None else forecast.risk
        tables.append(
            prediction_table(
                question,
                cohort,
                rows,
                model=comparator.name,
                scenario=scenario,
                repeat=repeat,
                fold=fold,
                risk_raw=forecast.risk,
                risk=risk,
                total=forecast.total,
                role=role,
            )
        )
    return tables


def _histories(folder: Path) -> list[dict[str, Any]]:
    return [{"member": i, **json.loads(p.read_text())} for i, p in enumerate(sorted(folder.glob("member_*/history.json")))]


def _write(fit: SplitFit, folder: Path) -> None:
    part = folder / ".predictions.parquet.part"
    fit.table.write_parquet(part)
    part.replace(folder / "predictions.parquet")
    write_json(folder / "fit.json", fit.notes)


def _read(folder: Path) -> SplitFit | None:
    """A finished split's fit: fit.json is written last."""
    if not (folder / "fit.json").is_file():
        return None
    return SplitFit(pl.read_parquet(folder / "predictions.parquet"), json.loads((folder / "fit.json").read_text()))

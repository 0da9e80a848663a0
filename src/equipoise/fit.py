"""One split, from cohort to predictions: members, recalibration, comparators, every scenario. A finished split is read, not made again."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise import __version__
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.roles import inner_folds
from equipoise.cohort.split import Split
from equipoise.comparator import Comparator
from equipoise.contract.counter import numpy_stream
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.contract.tables import SCENARIO_ALL, Role
from equipoise.init_from import of_split
from equipoise.learner.train import train_member
from equipoise.nuisance import RECORD, CrossFits
from equipoise.predict import Ensemble
from equipoise.predict_table import masked, outcomes, prediction_table, read_predictions
from equipoise.record import config_hash, write_json
from equipoise.trial.protocol import protocol_of
from equipoise.tune import strata, tuned
from equipoise.whole_file import write_whole

log = logging.getLogger("equipoise.fit")


@dataclass(frozen=True)
class SplitFit:
    """What one split gave.

    Args:
        table: the predictions table of the evaluated rows, all models and scenarios.
        notes: {"questions", "required", "not_run", "comparators", "training", "nuisance", "chosen_by", "tuned", "n_calibrate", "prediction", "pretrained"};
            aggregates only.
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
    config, start = of_split(config, cohort, split, role, repeat=repeat, fold=fold)
    stamp = _stamp(config, cohort, split, role)
    done = _read(folder, stamp)
    if done is not None:
        log.info("fold %d.%d is finished, read from its folder", repeat, fold)
        return done
    teaching = teaching_rows(split, role)
    crossfits = CrossFits(cohort)
    config, tuning = tuned(config, cohort, teaching, folder, crossfits, stops=split.select.size > 0)
    ensemble = train_ensemble(config, cohort, split, folder, loggers, role=role, crossfits=crossfits)
    questions, draws = ensemble.questions, int(config["learner"]["predict_draws"])
    tables, not_run, noted = [], {}, {}
    for name, hidden in _scenarios(config, questions, subsets=True).items():
        place: dict[str, Any] = {"scenario": name, "hidden": hidden, "repeat": repeat, "fold": fold, "role": role}
        made = ensemble.predict(cohort, split.rows(role), draws=draws, abstain_novelty=config["abstain_novelty"], **place)
        tables.append(with_known_propensity(config, made.table))
        if name == SCENARIO_ALL:
            manifest = made.manifest
    for question in questions:
        for comparator in comparators_of(config):
            why_not = comparator.applies(cohort, question)
            if why_not is not None:
                not_run[f"{comparator.name}/{question.task}"] = why_not
                continue
            tables += _compared(config, comparator, cohort, split, teaching, role, question, _scenarios(config, questions), repeat, fold)
            noted[f"{comparator.name}/{question.task}"] = comparator.notes()
    notes = {
        "questions": [vars(q) for q in questions],
        "required": [c.name for c in comparators_of(config) if c.required],
        "not_run": not_run,
        "comparators": noted,
        "training": _histories(folder),
        "nuisance": [{"member": i, **own} for i, own in enumerate(_records(folder, RECORD))],
        "chosen_by": crossfits.loss(config, split, pl.concat(tables, how="diagonal_relaxed"), questions[0].task) if role == "select" else None,
        "tuned": tuning,
        "n_calibrate": int(split.calibrate.size),
        "prediction": manifest,
        "pretrained": [start.told()] if start is not None else [],
    }
    fit = SplitFit(pl.concat(tables, how="diagonal_relaxed"), notes)
    _write(fit, folder, stamp)
    return fit


def with_known_propensity(config: Mapping[str, Any], table: pl.DataFrame) -> pl.DataFrame:
    """The model's predictions with P(treated) as it was declared (`nuisance.propensity`) in place of the network's own."""
    known, stated = config["nuisance"]["propensity"], pl.col("propensity")
    return table if known is None else table.with_columns(pl.when(stated.is_null()).then(stated).otherwise(float(known)).alias("propensity"))


def joined_notes(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The notes of all folds as one: what was tuned is listed by fold, counts are summed, whatever did not run in some fold is named."""
    first = folds[0]
    made = dict(first) | {"training": [t for f in folds for t in f["training"]], "tuned": [f["tuned"] for f in folds if f["tuned"]]}
    made["pretrained"] = [start for f in folds for start in f.get("pretrained", [])]
    if len(folds) == 1:
        return made
    made["nuisance"] = [n for f in folds for n in f["nuisance"]]
    made["chosen_by"] = _over_folds([f["chosen_by"] for f in folds])
    made["n_calibrate"] = None  # every fold has its own
    made["not_run"] = {k: why for f in folds for k, why in f["not_run"].items()}
    models = dict.fromkeys(k for f in folds for k in f["comparators"])
    made["comparators"] = {m: _by_fold([f["comparators"][m] for f in folds if m in f["comparators"]]) for m in models}
    readers = [f["prediction"].get("reader_notes", {}) for f in folds]
    made["prediction"] = first["prediction"] | {"reader_notes": {v: _summed([r[v] for r in readers if v in r]) for v in readers[0]}}
    return made


def _over_folds(losses: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """The folds' losses on select rows as one, by their rows; None where there are none."""
    known = [loss for loss in losses if loss is not None]
    if not known:
        return None
    n = [int(loss["n_rows"]) for loss in known]
    return {"name": known[0]["name"], "value": float(np.average([loss["value"] for loss in known], weights=n)), "n_rows": sum(n)}


def _by_fold(notes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Values by fold, one value where all agree."""
    values = {k: [n.get(k) for n in notes] for k in notes[0]}
    return {k: v[0] if all(x == v[0] for x in v) else v for k, v in values.items()}


def _summed(notes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {k: sum(n.get(k, 0) for n in notes) if isinstance(v, int | float) else v for k, v in notes[0].items()}


def teaching_rows(split: Split, role: Role) -> np.ndarray:
    """The rows from which comparators and tuning may learn, i64: train and select rows, or train rows alone where the select rows are judged (a sweep)."""
    return split.train if role == "select" else np.sort(np.concatenate([split.train, split.select]))


def train_ensemble(
    config: Mapping[str, Any],
    cohort: Cohort,
    split: Split,
    folder: Path,
    loggers: list[Any],
    *,
    role: Role = "held_out",
    crossfits: CrossFits | None = None,
) -> Ensemble:
    """Trains the members, joins them and recalibrates the ensemble on the calibrate rows.

    Args:
        config: the resolved config.
        cohort: the cohort.
        split: row numbers by role.
        folder: for the members' folders and ensemble.pt.
        loggers: Lightning loggers.
        role: whose rows will be judged; select rows that will be judged choose epochs, but no member trains on them.
        crossfits: makes pseudo-outcomes, and has made some already; None: made here.
    """
    crossfits = crossfits or CrossFits(cohort)
    members = int(config["members"])
    paths = []
    for i, own in enumerate(_member_splits(config, cohort, split, members, role)):
        log.info("member %d of %d: %d train rows, %d select rows", i + 1, members, own.train.size, own.select.size)
        at = folder / f"member_{i}"
        paths.append(train_member(config, cohort, own, seed=int(config["seed"]) + i, folder=at, loggers=loggers, pseudo=crossfits.of(config, own, at)))
    ensemble = Ensemble.of(paths)
    ensemble.calibrate(cohort, split.calibrate, config["calibration"], config["conformal"], draws=int(config["learner"]["predict_draws"]))
    ensemble.save(folder / "ensemble.pt")
    return ensemble


def _member_splits(config: Mapping[str, Any], cohort: Cohort, split: Split, members: int, role: Role) -> Iterable[Split]:
    """The members' own splits.

    With ``rotate_select`` each keeps another part of train and select rows for its early stopping; with ``bootstrap_members`` each learns from train
    clusters drawn with replacement, as often as they were drawn.
    """
    cluster, seed = cohort.rows["cluster"].to_numpy(), int(config["seed"])
    own = [split] * members
    if config["validation"]["rotate_select"] and members > 1 and role != "select":
        folds = inner_folds(cluster, teaching_rows(split, role), members, seed, strata(config, cohort))
        own = [Split(fit_rows, check_rows, split.calibrate, split.held_out) for fit_rows, check_rows in folds]
    if config["bootstrap_members"]:
        own = [replace(s, train=resampled_rows(s.train, cluster, "bootstrap-member", seed + i)) for i, s in enumerate(own)]
    return own


def resampled_rows(rows: np.ndarray, cluster: np.ndarray, purpose: str, *counters: int) -> np.ndarray:
    """As many whole clusters of these rows as there are, drawn with replacement; the stream is that of the counters.

    Args:
        rows: i64 (m,).
        cluster: (n,), of all cohort rows.
        purpose: see `contract.counter`.
        counters: likewise.
    """
    names, number = np.unique(cluster[rows], return_inverse=True)
    drawn = numpy_stream(purpose, *counters).integers(0, max(names.size, 1), names.size)
    return np.repeat(rows, np.bincount(drawn, minlength=names.size)[number])


def comparators_of(config: Mapping[str, Any]) -> list[Comparator]:
    """The config's comparators, freshly made."""
    return [make(node) for node in config["comparator"].values()]


def _scenarios(config: Mapping[str, Any], questions: tuple[Question, ...], *, subsets: bool = False) -> dict[str, frozenset[str]]:
    """Scenario name -> hidden evidences: none; each in turn where the config asks for it; with ``subsets`` whatever the protocol's claims ask for."""
    evidences = questions[0].evidences
    protocol = protocol_of(config["trial"])
    largest = 1 if len(evidences) > 1 and (config["validation"]["masked"] or (subsets and protocol.value_of)) else 0
    if subsets and protocol.subsets == "all":
        largest = len(evidences) - 1
    hidden = (own for size in range(1, largest + 1) for own in itertools.combinations(evidences, size))
    return {SCENARIO_ALL: frozenset()} | {masked(own): frozenset(own) for own in hidden}


def _compared(
    config: Mapping[str, Any],
    comparator: Comparator,
    cohort: Cohort,
    split: Split,
    teaching: np.ndarray,
    role: Role,
    question: Question,
    scenarios: dict[str, frozenset[str]],
    repeat: int,
    fold: int,
) -> list[pl.DataFrame]:
    """Fits one comparator on the teaching rows (it tunes itself inside them), recalibrates it as the model is, and predicts."""
    from equipoise.calibration import Calibration

    log.info("comparator %s for %s", comparator.name, question.task)
    comparator.fit(cohort, teaching, question)
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
    return [{"member": i, **own} for i, own in enumerate(_records(folder, "history.json"))]


def _records(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted(folder.glob(f"member_*/{name}"))]


def _stamp(config: Mapping[str, Any], cohort: Cohort, split: Split, role: Role) -> str:
    """What a finished fit depends on, in 16 hex digits; a folder whose fit has another stamp is not read."""
    made = hashlib.sha256(f"{__version__} {config_hash(config)} {cohort.hash} {role}".encode())
    for rows in (split.train, split.select, split.calibrate, split.held_out):
        made.update(np.int64(rows.size).tobytes() + np.ascontiguousarray(rows, dtype=np.int64).tobytes())
    return made.hexdigest()[:16]


def _write(fit: SplitFit, folder: Path, stamp: str) -> None:
    write_whole(folder / "predictions.parquet", fit.table.write_parquet)
    write_json(folder / "fit.json", {"stamp": stamp, **fit.notes})


def _read(folder: Path, stamp: str) -> SplitFit | None:
    """A finished split's fit: fit.json is written last.

    Raises:
        UserError: it is of another cohort, role, config or version.
    """
    if not (folder / "fit.json").is_file():
        return None
    notes = json.loads((folder / "fit.json").read_text())
    if notes.pop("stamp", None) != stamp:
        raise UserError(
            f"Folder {folder} holds a finished fit of another cohort, role, config or version",
            mend="give another run_dir, or delete the folder; its predictions are not those of this command",
        )
    return SplitFit(read_predictions(folder / "predictions.parquet"), notes)

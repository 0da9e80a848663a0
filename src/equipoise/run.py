"""The verbs' work, in order. Cross-validation is a plain loop here."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise import __version__
from equipoise.assemble import make_pretrainable
from equipoise.cohort.build import build_cohort
from equipoise.cohort.draft import TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.groups import check_subgroups, with_subgroups
from equipoise.cohort.outcomes import check_events, event_counts
from equipoise.cohort.roles import check_disjoint, fold_split, folds_of
from equipoise.cohort.split import Split
from equipoise.conformed import check_conformal, halves
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.tables import Role
from equipoise.fit import SplitFit, comparators_of, fit_split, joined_notes, train_ensemble
from equipoise.init_from import of_split, with_content
from equipoise.judge import SEALED, cohort_facts, judge, log_results, open_seal, predictions_hash, sealed_rows
from equipoise.learner.loggers import logging_to
from equipoise.nuisance import CrossFits
from equipoise.record import commit, config_hash, print_config, recording, save_config, speak, write_json
from equipoise.rehearsed import rehearsal_of
from equipoise.resampled import check_resampled, with_resampled
from equipoise.trial.endpoints import endpoints_of
from equipoise.trial.protocol import protocol_of
from equipoise.tune import strata
from equipoise.value import check_value, with_value
from equipoise.whole_file import write_whole

log = logging.getLogger("equipoise.run")


def run_verb(verb: str, config: dict[str, Any], folder: Path, *, command: str, sweep: bool = False) -> dict[str, Any]:
    """Does a verb's work in a run folder.

    Args:
        verb: cohort, pretrain, train, predict, evaluate or run.
        config: the resolved, checked config.
        folder: the run folder; a run of the same config that was broken off goes on.
        command: the command line, for the record.
        sweep: a job of a sweep: held-out rows stay sealed, select rows are evaluated.

    Returns:
        results.json's content for `run` and `evaluate`, else {}; `run` adds "chosen_by", a treatment's effect's loss on select rows where a sweep asks.
    """
    speak()
    work: Callable[..., dict[str, Any]] = {
        "cohort": _cohort,
        "pretrain": _pretrain,
        "train": _train,
        "predict": _predict,
        "evaluate": _evaluate,
        "run": _run,
    }[verb]
    _refuse_early(verb, config, folder)
    if verb in ("run", "train"):
        config = with_content(config)
    if verb == "evaluate":
        return work(config, folder, {"command": command}, sweep)
    print_config(config)
    if verb == "cohort":
        return work(config, folder, {}, sweep)
    with _nothing_half_written(folder):
        text = save_config(config, folder)
        with recording(folder, command) as manifest, threads(int(config["trainer"]["threads"])):
            manifest |= {"config_hash": config_hash(config), "name": config["name"], "config_yaml": text}
            _first_lines(config)
            return work(config, folder, manifest, sweep)


@contextmanager
def _nothing_half_written(folder: Path) -> Iterator[None]:
    """A mistake that shows before any work is done leaves no run folder behind: the corrected command would be refused as another config's."""
    new = not folder.exists()
    try:
        yield
    except UserError:
        if new and folder.is_dir() and {p.name for p in folder.iterdir()} <= {"config.yaml", "manifest.json", "run.log"}:
            shutil.rmtree(folder)
        raise


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Limits torch's and the trees' threads. Their default, one a core, makes small models several times slower, above all on a busy machine."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        # Linear algebra keeps its own threads: it alone does single large pieces of work.
        with threadpool_limits(limits=n, user_api="openmp"):
            yield
    finally:
        torch.set_num_threads(before)


def _refuse_early(verb: str, config: Mapping[str, Any], folder: Path) -> None:
    """Mistakes that can be seen before anything is written, or hours of training before they would show."""
    protocol_of(config["trial"])
    if config["site"] is not None and not str(config["site"]).strip():
        raise UserError("Config key site is blank", expected="the name of a hospital or cohort, or null", mend="correct site")
    if verb in ("run", "train"):
        from equipoise.task.time_to_event import refuse_open_horizons

        refuse_open_horizons(config)
    if verb == "pretrain":
        make_pretrainable(config)
        if config["init_from"]:
            raise UserError("`equipoise pretrain` starts from nothing", found="init_from", mend="leave init_from out; it belongs to `equipoise run`")
    if verb == "predict":
        if not config["model"]:
            raise UserError("`equipoise predict` needs a model", mend="give model=RUN, the folder of a finished run or training")
        if not (Path(config["model"]) / "ensemble.pt").is_file():
            raise UserError(
                f"There is no model in {config['model']}", expected="a run folder with ensemble.pt", mend="train first: equipoise train run_dir=..."
            )


def _first_lines(config: Mapping[str, Any]) -> None:
    from equipoise.learner.device import device_name

    log.info(
        "equipoise %s%s, config %s, seed %s, %s",
        __version__,
        f" ({c})" if (c := commit()) else "",
        config_hash(config),
        config["seed"],
        device_name(config["trainer"]),
    )


def open_source(config: Mapping[str, Any]) -> Cohort:
    """Builds or opens the config's cohort."""
    paths = {k: Path(config["paths"][k]).expanduser().resolve() for k in ("cohorts", "truth")}
    return build_cohort(make(config["cohort"]), paths["cohorts"], truth_dir=paths["truth"])


def _cohort(config: dict[str, Any], folder: Path, manifest: dict[str, Any], sweep: bool) -> dict[str, Any]:
    cohort = open_source(config)
    for line in cohort.manifest["flow"]:
        log.info("%-60s %8d rows %8d subjects", line["step"], line["n_rows"], line["n_subjects"])
    for evidence in cohort.evidences:
        log.info("evidence %-12s %-10s present in %5.1f %% of rows", evidence, cohort.kind_of(evidence), 100 * cohort.present_in(evidence).mean())
    print(f"cohort: {cohort.folder}")
    return {}


def _pretrain(config: dict[str, Any], folder: Path, manifest: dict[str, Any], sweep: bool) -> dict[str, Any]:
    """One pretraining for a fixed split; one a fold for a cross-validation, on the rows that teach there."""
    from equipoise.learner.estimate import Trainings
    from equipoise.learner.pretrain import pretrain

    cohort = open_source(config)
    manifest |= {"cohort_hash": cohort.hash}
    splits = list(_splits(config, cohort))
    trainings = Trainings(folds=len(splits), grid=0, inner_folds=0, members=1)
    with logging_to(config, folder) as loggers:
        for repeat, fold, split in splits:
            check_disjoint(cohort.rows["cluster"].to_numpy(), split)
            at = _place(config, folder, repeat, fold, split)
            pretrain(config, cohort, split, seed=int(config["seed"]), folder=at, trainings=trainings, loggers=loggers)
    print(f"pretrained: init_from={folder}")
    return {}


def _train(config: dict[str, Any], folder: Path, manifest: dict[str, Any], sweep: bool) -> dict[str, Any]:
    cohort = open_source(config)
    split = Split.of(cohort)
    _check_split(config, cohort, split)
    config, _ = of_split(config, cohort, split, "held_out", repeat=0, fold=0)
    with logging_to(config, folder) as loggers:
        train_ensemble(config, cohort, split, folder, loggers)
    print(f"model: {folder / 'ensemble.pt'}")
    return {}


def _predict(config: dict[str, Any], folder: Path, manifest: dict[str, Any], sweep: bool) -> dict[str, Any]:
    from equipoise.predict import Ensemble, write_predictions

    ensemble = Ensemble.load(Path(config["model"]) / "ensemble.pt")
    cohort = open_source(config)
    made = ensemble.predict(cohort, np.arange(cohort.size), draws=int(config["learner"]["predict_draws"]), abstain_novelty=config["abstain_novelty"])
    made = replace(made, table=without_outcomes(made.table))
    for view, notes in made.manifest.get("reader_notes", {}).items():
        for what, count in notes.items():
            if count:
                log.warning("%s: %s: %s", view, what.replace("_", " "), count)
    abstained = made.table["abstain_reason"].is_not_null().sum()
    log.info("predicted %d rows, %d of them without any evidence (abstained)", cohort.size, abstained)
    print(f"predictions: {write_predictions(folder, made)}")
    return {}


def without_outcomes(table: pl.DataFrame) -> pl.DataFrame:
    """A predictions table whose outcomes are null: only `run` may put predictions beside outcomes, and it writes the opening down."""
    known = ("outcome", "time_days", "event", "entry_days", "treatment", "weight")
    return table.with_columns(pl.lit(None).cast(table.schema[c]).alias(c) for c in known)


def _run(config: dict[str, Any], folder: Path, manifest: dict[str, Any], sweep: bool) -> dict[str, Any]:
    cohort = open_source(config)
    manifest |= {"cohort_hash": cohort.hash}
    log.info("cohort %s: %d rows of %d subjects", cohort.hash, cohort.size, cohort.manifest["n_subjects"])
    role: Role = "select" if sweep or config["sealed"] else "held_out"
    rehearsal = rehearsal_of(config, cohort.hash)
    with logging_to(config, folder) as loggers:
        fits = _fit_all(config, cohort, folder, loggers, role)
        table = with_subgroups(pl.concat([f.table for f in fits], how="diagonal_relaxed"), cohort, protocol_of(config["trial"]).subgroups)
        write_whole(folder / "predictions.parquet", table.write_parquet)
        judged = "cross-validation" if config["validation"]["folds"] and role == "held_out" else role
        notes = joined_notes([f.notes for f in fits]) | {"role": judged, "cohort": cohort_facts(cohort), "rehearsal": rehearsal}
        write_json(folder / "notes.json", notes)
        if judged == "cross-validation":
            write_whole(folder / SEALED, cohort.rows[cohort.rows_in("held_out")].select("subject_id", "prediction_time").write_parquet)
        opening = open_seal(config, cohort.hash, table, judged, sealed_rows(folder), rehearsal)
        manifest |= {"pretrained": notes["pretrained"]} if notes["pretrained"] else {}
        manifest |= {"opening": opening, "role": judged, "predictions_hash": predictions_hash(table)}
        results = judge(config, folder, manifest, table, notes, opening)
        log_results(loggers, results)
    print(f"report: {folder / 'report.html'}")
    return results | {"chosen_by": notes["chosen_by"]}


def _fit_all(config: dict[str, Any], cohort: Cohort, folder: Path, loggers: list[Any], role: Role) -> list[SplitFit]:
    """One fit for a fixed split; one a fold for a cross-validation, each in its own folder."""
    fits = []
    for repeat, fold, split in _splits(config, cohort):
        _check_split(config, cohort, split)
        fits.append(_fit_one(config, cohort, split, role, _place(config, folder, repeat, fold, split), repeat, fold, loggers))
    return fits


def _place(config: Mapping[str, Any], folder: Path, repeat: int, fold: int, split: Split) -> Path:
    """Where a split's files lie: in the run's folder, or in one a fold, whose turn is said."""
    if not config["validation"]["folds"]:
        return folder
    log.info("repeat %d, fold %d: %s", repeat, fold, split.sizes())
    return folder / f"fold_{repeat}_{fold}"


def _splits(config: Mapping[str, Any], cohort: Cohort) -> Iterator[tuple[int, int, Split]]:
    """Repeat, fold and split: the cohort's own roles, or each fold of a cross-validation. Outcomes, where there are any, divide a fold's rows evenly."""
    validation = config["validation"]
    if not validation["folds"]:
        yield 0, 0, Split.of(cohort)
        return
    stratum = strata(config, cohort) if cohort.manifest["targets"] else None
    for repeat in validation["repeats"]:
        for fold in folds_of(cohort, repeat) or _no_repeat(cohort, repeat):
            shares = {k: validation[k] for k in ("select_share", "calibrate_share")}
            yield repeat, fold, fold_split(cohort, repeat, fold, **shares, seed=int(config["seed"]), stratum=stratum)


def _fit_one(config: dict[str, Any], cohort: Cohort, split: Split, role: Role, folder: Path, repeat: int, fold: int, loggers: list[Any]) -> SplitFit:
    fit = fit_split(config, cohort, split, role, folder, repeat=repeat, fold=fold, loggers=loggers)
    fit = with_value(config, cohort, split, role, folder, fit, repeat=repeat, fold=fold)
    return with_resampled(config, cohort, split, role, folder, fit)


def _no_repeat(cohort: Cohort, repeat: int) -> list[int]:
    known = sorted(cohort.folds["repeat"].unique().to_list()) if cohort.folds is not None else []
    raise UserError(
        f"The cohort has no folds of repeat {repeat}", expected=f"one of {known}" if known else "a cohort with folds", mend="correct validation.repeats"
    )


def _check_split(config: Mapping[str, Any], cohort: Cohort, split: Split) -> None:
    check_disjoint(cohort.rows["cluster"].to_numpy(), split)
    if split.train.size == 0:
        raise UserError("The cohort has no train rows", found=f"roles {split.sizes()}", mend="give the cohort roles, or a share for train")
    check_conformal(config["conformal"], {t: cohort.target(node["target"]).kind for t, node in config["task"].items()}, split.calibrate.size)
    for comparator in comparators_of(config):
        comparator.check(cohort)
    check_value(config, cohort)
    check_resampled(config)
    check_subgroups(cohort, protocol_of(config["trial"]).subgroups, [str(view["evidence"]) for view in config["modality"].values()])
    CrossFits(cohort).of(config, split, Path())  # made when it is called: here its settings are checked
    for node in config["task"].values():
        target = cohort.target(node["target"])
        _check_protocol(config, node, target)
        check_events(
            target,
            split,
            min_train=int(config["validation"]["min_events_train"]),
            min_held_out=int(config["validation"]["min_events_held_out"]),
            of=f"target {node['target']!r}",
        )
        _check_calibrate(config, cohort, target, split, node["target"])


def _check_protocol(config: Mapping[str, Any], node: Mapping[str, Any], target: TargetTable) -> None:
    """An endpoint that this kind of outcome does not have is refused before training, and before the seal is opened."""
    protocol = protocol_of(config["trial"])
    horizons = node.get("horizons_days") or [protocol.horizon_days or 1.0]  # where the task chooses its own, names alone can be checked
    endpoints_of(target.kind, protocol, tuple(float(h) for h in horizons))
    if target.kind == "treatment_effect" and node.get("horizon_days") is not None and protocol.horizon_days != float(node["horizon_days"]):
        raise UserError(
            f"The effect on {node['target']!r} is asked by {float(node['horizon_days']):g} days, and the protocol declares another horizon",
            expected=f"trial.horizon_days={float(node['horizon_days']):g}",
            found="none" if protocol.horizon_days is None else f"{protocol.horizon_days:g}",
            mend="set trial.horizon_days to horizon_days of the task",
        )


def _check_calibrate(config: Mapping[str, Any], cohort: Cohort, target: TargetTable, split: Split, name: str) -> None:
    """What recalibration would refuse after hours of training is refused before them."""
    node, rows = config["calibration"], split.calibrate
    minimum = int(node.get("min_events") or 0)
    if not rows.size or target.kind not in ("binary", "continuous"):
        return
    recalibrating, _ = halves(config["conformal"], node, cohort.rows["cluster"].to_numpy()[rows], 0)
    found = event_counts(target, rows[recalibrating])
    if min(found.values()) < minimum:
        beside = "" if recalibrating.all() else ", in the half that a conformal option leaves"
        raise UserError(
            f"Target {name!r} has too few calibrate rows for recalibration{beside}",
            expected=f"at least {minimum} of each kind",
            found=", ".join(f"{k}: {v}" for k, v in found.items()),
            mend="give more rows the role calibrate, or choose calibration=none",
        )


def _evaluate(config: dict[str, Any], folder: Path, manifest: dict[str, Any], sweep: bool) -> dict[str, Any]:
    """Judges a finished run again, or a table that Equipoise did not make."""
    if config["predictions"]:
        from equipoise.foreign import evaluate_foreign

        return evaluate_foreign(config, folder, manifest["command"])
    from equipoise.again import judge_again

    return judge_again(config, folder, manifest["command"])

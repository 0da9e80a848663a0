"""Trains one member: views fitted, network assembled, best weights kept, everything resumable."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equipoise.assemble import assemble, fit_views
from equipoise.batches import Batches, at_rows, evidences_of, open_views
from equipoise.cohort.draft import TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.data import CohortData, FetchRows, chunks, dropout_of
from equipoise.learner.after import Seen, finish_parts, finish_spread
from equipoise.learner.course import Course
from equipoise.learner.device import device_of
from equipoise.learner.epochs import run_epochs
from equipoise.learner.estimate import estimate, trainings_of
from equipoise.learner.loggers import Logger
from equipoise.learner.module import Learner
from equipoise.learner.monitor import Monitor, base_rate_nll
from equipoise.learner.resume import Checkpoint
from equipoise.learner.weigh import weigh_views
from equipoise.model import Model, digest
from equipoise.record import write_json

log = logging.getLogger("equipoise.learner")

_LEARNT_NOTHING = 1e-3
"""Nats by which select/nll must lie below that of the base rate to count as learning."""
_DECIDES = ("d_model", "modality", "fusion", "head", "task", "learner", "optimizer", "scheduler")
# What changes when a checkpoint is written, or how predictions are made, but not the weights.
_DECIDES_NOT = ("checkpoint_minutes", "predict_draws")


def train_member(config: Mapping[str, Any], cohort: Cohort, split: Split, *, seed: int, folder: Path, loggers: Sequence[Logger]) -> Path:
    """Trains one member and writes ``folder/model.pt``, ``history.json`` and ``metrics.csv``.

    A finished member is skipped, an interrupted one goes on from ``folder/checkpoint/last.ckpt`` to the weights that it would have had.

    Args:
        config: resolved.
        cohort: with the targets of the config's tasks.
        split: train rows fit; select rows, where there are some, choose the epoch.
        seed: the member's.
        folder: the member's own.
        loggers: what else is told of the epochs.

    Returns:
        The path of model.pt.

    Raises:
        UserError: the config, the cohort or an earlier file in the folder does not fit.
        KeyboardInterrupt: the user stopped training; its checkpoint is written.
    """
    model_path, last = folder / "model.pt", folder / "checkpoint" / "last.ckpt"
    stamp = stamp_of(config, cohort, split, seed)
    if model_path.is_file() and (folder / "history.json").is_file():
        if Model.load(model_path).facts.get("stamp") != stamp:
            raise UserError(f"Folder {folder} holds a member of another config, cohort or seed", mend="give another run_dir, or delete that folder")
        log.info("%s is trained already", folder.name)
        return model_path
    device = device_of(config["trainer"])
    targets = {name: cohort.target(node["target"]) for name, node in config["task"].items()}
    seen = _observed(targets, split)
    # Rows of one subject are no independent evidence against the priors: subjects are n, whatever the number of their prediction times.
    n_train = cohort.rows["subject_id"][seen].n_unique()
    views = fit_views(config, cohort, split.train)
    network = assemble(config, views, {name: at_rows(target, split.train) for name, target in targets.items()}, seed=seed)
    batches = Batches(open_views(views, cohort), {k: v.evidence for k, v in views.items()}, evidences_of(views), targets=targets)
    data = _data(config, batches, split, seed, device)
    course = Course()
    learner = Learner(
        network,
        course,
        watch=Monitor(network, int(config["learner"]["select_draws"]), stream_seed("select", seed)),
        optimizer=config["optimizer"],
        schedule=make(config["scheduler"]),
        settings=config["learner"],
        n_train=n_train,
        n_batches=data.n_batches,
        seed=seed,
    )
    checkpoint = Checkpoint.load(last, stamp) if last.is_file() else None
    if checkpoint is not None:
        course = learner.course = checkpoint.course
        network.load_state_dict(checkpoint.weights)
        learner.restored = checkpoint.optimizer
        data.start_at(course.epoch, course.batch)
        log.info("going on in epoch %d after batch %d", course.epoch + 1, course.batch)
    else:
        log.info("%s: %s", folder.name, estimate(config, learner, data, device, trainings_of(config, cohort, folder)).sentence())
    if not course.finished:
        run_epochs(config, learner, data, device, folder, stamp, checkpoint, loggers)
    if course.best_weights:
        network.load_state_dict(course.best_weights)
    network.to("cpu").eval()
    n_draws, select_chunks = int(config["learner"]["select_draws"]), chunks(split.select, _select_batch(config))
    # First: what heads and tasks fit is fitted to what the fusion says in the end.
    weigh_views(network, batches, select_chunks, n_draws=n_draws, seed=seed)
    train, select = Seen.of(network, batches, chunks(split.train, _select_batch(config))), Seen.of(network, batches, select_chunks)
    finish_parts(network, train, n_draws=n_draws, seed=seed, independent=n_train / seen.size)
    base = base_rate_nll(network, (batches(rows) for rows in select_chunks)) if split.select.size else None
    finish_spread(network, select, n_draws=n_draws, seed=seed)
    network.novelty.fit(train.z[train.present], select.z[select.present])
    _say_end(folder, course, base)
    write_json(folder / "history.json", {**course.history(), "base_select_loss": base, "n_parameters": network.n_parameters()})
    facts = {"stamp": stamp, "cohort": cohort.hash, "seed": seed, "n_train": n_train, "n_parameters": network.n_parameters(), "best_epoch": course.best_epoch}
    Model.of(config, views, network, facts).save(model_path)
    shutil.rmtree(last.parent, ignore_errors=True)
    return model_path


def stamp_of(config: Mapping[str, Any], cohort: Cohort, split: Split, seed: int) -> str:
    """What the weights depend on, in 16 hex digits."""
    kept = {k: config[k] for k in _DECIDES}
    kept["learner"] = {k: v for k, v in kept["learner"].items() if k not in _DECIDES_NOT}
    rows = [torch.from_numpy(np.ascontiguousarray(r)) for r in (split.train, split.select)]
    return digest({"config": json.loads(json.dumps(kept)), "precision": config["trainer"]["precision"], "cohort": cohort.hash, "rows": rows, "seed": seed})


def _data(config: Mapping[str, Any], batches: Batches, split: Split, seed: int, device: torch.device) -> CohortData:
    settings = config["learner"]
    return CohortData(
        FetchRows(batches, dropout=dropout_of(settings["evidence_dropout"], batches.evidences), seed=seed),
        split.train,
        split.select,
        batch_size=int(settings["batch_size"]),
        select_batch_size=_select_batch(config),
        seed=seed,
        num_workers=int(config["trainer"]["num_workers"]),
        pin_memory=device.type == "cuda",
    )


def _select_batch(config: Mapping[str, Any]) -> int:
    return 4 * int(config["learner"]["batch_size"])


def _observed(targets: Mapping[str, TargetTable], split: Split) -> np.ndarray:
    """Train rows with an observed outcome of at least one task, i64.

    Raises:
        UserError: a task has none in the train rows, or none in the select rows though there are such rows.
    """
    observed = {name: target.table["observed"].to_numpy() for name, target in targets.items()}
    for name, seen in observed.items():
        for role, rows in (("train", split.train), ("select", split.select)):
            if (role == "train" or rows.size) and not seen[rows].any():
                raise UserError(
                    f"No {role} row has an observed outcome of task {name!r}", found=f"{rows.size} {role} rows", mend="correct the roles or the target"
                )
    return split.train[np.logical_or.reduce(list(observed.values()))[split.train]]


def _say_end(folder: Path, course: Course, base: float | None) -> None:
    best = f", best select/nll {course.best_loss:.4f} in epoch {course.best_epoch + 1} (base rate {base:.4f})" if base is not None else ""
    log.info("%s: %d epochs in %.1f s%s", folder.name, course.epoch, course.seconds, best)
    if base is not None and course.best_loss > base - _LEARNT_NOTHING:
        log.warning(
            "%s is no better than the base rate on select rows: there is no signal, or the priors of encoders or fusion are too tight for so few rows "
            "(raise their prior_scale)",
            folder.name,
        )

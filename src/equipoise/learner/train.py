"""Trains one member: views fitted, network assembled, best weights kept, everything resumable."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
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
from equipoise.data import FetchRows, chunks, dropout_of
from equipoise.learner.after import Seen, finish_parts, finish_spread
from equipoise.learner.course import Course
from equipoise.learner.device import device_of
from equipoise.learner.epochs import cohort_data, say_end, select_batch, train_through
from equipoise.learner.estimate import trainings_of
from equipoise.learner.left_out import asks_left_out, left_out, sizes_spread, spread_draws
from equipoise.learner.loggers import Logger
from equipoise.learner.module import Learner
from equipoise.learner.monitor import Monitor, base_rate_nll
from equipoise.learner.weigh import weigh_views
from equipoise.model import Model, digest
from equipoise.network import Network
from equipoise.pretrained import Pretrained
from equipoise.record import write_json
from equipoise.stats.pseudo_outcomes import PseudoOutcomes
from equipoise.task.arms import ArmsTask

log = logging.getLogger("equipoise.learner")

_DECIDES = ("d_model", "modality", "fusion", "head", "task", "nuisance", "learner", "optimizer", "scheduler")
# What changes when a checkpoint is written, or how predictions are made, but not the weights.
_DECIDES_NOT = ("checkpoint_minutes", "predict_draws")


def train_member(
    config: Mapping[str, Any],
    cohort: Cohort,
    split: Split,
    *,
    seed: int,
    folder: Path,
    loggers: Sequence[Logger],
    pseudo: Callable[[], Mapping[str, PseudoOutcomes]] = dict,
) -> Path:
    """Trains one member and writes ``folder/model.pt``, ``history.json`` and ``metrics.csv``.

    A finished member is skipped, an interrupted one goes on from ``folder/checkpoint/last.ckpt`` to the weights that it would have had.

    Args:
        config: resolved.
        cohort: with the targets of the config's tasks.
        split: train rows fit; select rows, where there are some, choose the epoch.
        seed: the member's.
        folder: the member's own.
        loggers: what else is told of the epochs.
        pseudo: makes the pseudo-outcomes of the tasks on a treatment's effect, by task (`nuisance.CrossFits.of`); asked only where something is left
            to train.

    Returns:
        The path of model.pt.

    Raises:
        UserError: the config, the cohort or an earlier file in the folder does not fit.
        KeyboardInterrupt: the user stopped training; its checkpoint is written.
    """
    model_path = folder / "model.pt"
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
    start = started_from(config)
    if start is not None:
        start.start_view(views[start.view])
    network = assemble(config, views, {name: at_rows(target, split.train) for name, target in targets.items()}, seed=seed)
    if start is not None:
        start.start_encoder(network.encoders[start.view])
    made = pseudo()
    _refuse_no_pseudo(network, made, split)
    batches = Batches(open_views(views, cohort), {k: v.evidence for k, v in views.items()}, evidences_of(views), targets=targets, pseudo=made)
    fetch = FetchRows(batches, dropout=dropout_of(config["learner"]["evidence_dropout"], batches.evidences), seed=seed)
    data = cohort_data(config, fetch, split.train, split.select, seed=seed, device=device)
    learner = Learner(
        network,
        Course(),
        watch=Monitor(network, int(config["learner"]["select_draws"]), stream_seed("select", seed)),
        optimizer=config["optimizer"],
        schedule=make(config["scheduler"]),
        settings=config["learner"],
        n_train=n_train,
        n_batches=data.n_batches,
        seed=seed,
    )
    trainings = trainings_of(config, cohort, folder, sizes_spread=sizes_spread(network))
    course = train_through(config, learner, data, device, folder, stamp, trainings=trainings, loggers=loggers)
    n_draws, select_chunks = int(config["learner"]["select_draws"]), chunks(split.select, select_batch(config))
    # First: what heads and tasks fit is fitted to what the fusion says in the end.
    weigh_views(network, batches, select_chunks, n_draws=n_draws, seed=seed)
    train_chunks = chunks(split.train, select_batch(config))
    train, select = Seen.of(network, batches, train_chunks), Seen.of(network, batches, select_chunks)
    # As in training, some evidences dropped: a posterior that never saw a row without an evidence would be lost on the first one.
    finish_parts(
        network, train, lambda: Seen.of(network, lambda rows: fetch.train(rows, 0), train_chunks), n_draws=n_draws, seed=seed, independent=n_train / seen.size
    )
    base = base_rate_nll(network, (batches(rows) for rows in select_chunks)) if split.select.size else None
    if sizes_spread(network):

        def inner(own: Split, at: Path) -> Path:
            return train_member(config, cohort, own, seed=seed, folder=at, loggers=[], pseudo=pseudo)

        if asks_left_out(config, split, folder):
            finish_spread(network, *left_out(config, cohort, split, inner, seed=seed, folder=folder))
        else:
            finish_spread(network, select, spread_draws(config, network, select, seed))
    network.novelty.fit(train.z[train.present], select.z[select.present])
    say_end(folder, course, base, effects=all(network.task(name).joint_score for name in network.tasks))
    write_json(folder / "history.json", {**course.history(), "base_select_loss": base, "n_parameters": network.n_parameters()})
    facts = {"stamp": stamp, "cohort": cohort.hash, "seed": seed, "n_train": n_train, "n_parameters": network.n_parameters(), "best_epoch": course.best_epoch}
    facts["pretrained"] = start.hash() if start is not None else None
    Model.of(config, views, network, facts).save(model_path)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    return model_path


def started_from(config: Mapping[str, Any]) -> Pretrained | None:
    """The pretrained encoder that the config names and has a view for (see `init_from`, which chose it and looked for leaks)."""
    if not config["init_from"]:
        return None
    found = Pretrained.load(Path(config["init_from"]["path"]))
    found.check(config)
    return found


def stamp_of(config: Mapping[str, Any], cohort: Cohort, split: Split, seed: int) -> str:
    """What the weights depend on, in 16 hex digits."""
    kept = {k: config[k] for k in _DECIDES}
    kept["learner"] = {k: v for k, v in kept["learner"].items() if k not in _DECIDES_NOT}
    rows = [torch.from_numpy(np.ascontiguousarray(r)) for r in (split.train, split.select)]
    start = config["init_from"]["hash"] if config["init_from"] else None
    return digest(
        {
            "config": json.loads(json.dumps(kept)),
            "precision": config["trainer"]["precision"],
            "cohort": cohort.hash,
            "rows": rows,
            "seed": seed,
            "init_from": start,
        }
    )


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


def _refuse_no_pseudo(network: Network, made: Mapping[str, PseudoOutcomes], split: Split) -> None:
    """An effect is never chosen by the fit of the outcome, and never learnt from nuisances that saw the same rows.

    Raises:
        ValueError: the caller gave no pseudo-outcomes where a task needs them.
    """
    for name in network.tasks:
        task = network.task(name)
        if isinstance(task, ArmsTask):
            for role, rows, needed in (("train", split.train, task.learns_from is not None), ("select", split.select, split.select.size > 0)):
                if needed and not (name in made and made[name].known[rows].any()):
                    raise ValueError(f"task {name} needs pseudo-outcomes of {role} rows: give pseudo=nuisance.CrossFits(cohort).of(...)")

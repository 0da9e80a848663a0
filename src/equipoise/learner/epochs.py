"""The epochs of a training: Lightning's loop with our callbacks, from wherever the course stands to its end or the user's Ctrl-C."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from equipoise.data import CohortData, Fetch
from equipoise.learner.callbacks import Bar, CloseEpoch, WriteCheckpoints, show_bar
from equipoise.learner.course import Course
from equipoise.learner.estimate import Trainings, estimate
from equipoise.learner.interrupt import answering
from equipoise.learner.loggers import Logger, tag_of, write_lines
from equipoise.learner.module import Learner
from equipoise.learner.quiet import equal_bits, quiet
from equipoise.learner.resume import Checkpoint

log = logging.getLogger("equipoise.learner")

_NO_SIGNAL = (
    "is no better than the base rate on select rows: there is no signal, or the priors of encoders or fusion are too tight for so few rows "
    "(raise their prior_scale)"
)
_NO_EFFECTS = "is no better on select rows than one effect for all, the difference of the arms' means: no differing effects were found"


def select_batch(config: Mapping[str, Any]) -> int:
    """Rows of a batch that is not trained on, at most."""
    return 4 * int(config["learner"]["batch_size"])


def cohort_data(config: Mapping[str, Any], fetch: Fetch, train: np.ndarray, select: np.ndarray, *, seed: int, device: torch.device) -> CohortData:
    """Batches of these rows as the config's ``learner`` and ``trainer`` ask."""
    return CohortData(
        fetch,
        train,
        select,
        batch_size=int(config["learner"]["batch_size"]),
        select_batch_size=select_batch(config),
        seed=seed,
        num_workers=int(config["trainer"]["num_workers"]),
        pin_memory=device.type == "cuda",
    )


def train_through(
    config: Mapping[str, Any],
    learner: Learner,
    data: CohortData,
    device: torch.device,
    folder: Path,
    stamp: str,
    *,
    trainings: Trainings,
    loggers: Sequence[Logger],
) -> Course:
    """Trains to the end, from ``folder/checkpoint/last.ckpt`` where there is one; the network is left with its best weights, on the processor, evaluating.

    Args:
        config: its ``learner`` and ``trainer`` count.
        learner: before training.
        data: its batches.
        device: where it runs.
        folder: for the checkpoint and ``metrics.csv``; named in the log.
        stamp: see `Checkpoint`.
        trainings: of the whole run, for the estimate of its time.
        loggers: are told of each epoch.

    Returns:
        The finished course.

    Raises:
        KeyboardInterrupt: the user stopped; the checkpoint is written.
    """
    last = folder / "checkpoint" / "last.ckpt"
    checkpoint = Checkpoint.load(last, stamp) if last.is_file() else None
    if checkpoint is not None:
        course = learner.course = checkpoint.course
        learner.network.load_state_dict(checkpoint.weights)
        learner.restored = checkpoint.optimizer
        data.start_at(course.epoch, course.batch)
        log.info("going on in epoch %d after batch %d", course.epoch + 1, course.batch)
    else:
        log.info("%s: %s", folder.name, estimate(config, learner, data, device, trainings).sentence())
    if not learner.course.finished:
        _run_epochs(config, learner, data, device, folder, stamp, checkpoint, loggers)
    if learner.course.best_weights:
        learner.network.load_state_dict(learner.course.best_weights)
    learner.network.to("cpu").eval()
    return learner.course


def say_end(folder: Path, course: Course, base: float | None, *, effects: bool = False) -> None:
    """The last line of a training, and a warning where nothing was learnt: the loss on select rows beside that of the base rates, where there are some.

    Args:
        folder: named in the log.
        course: finished.
        base: select/nll of the base rates, or of one effect for all; None: there are no select rows.
        effects: whether the loss is that of effects.
    """
    best = f", best select/nll {course.best_loss:.4f} in epoch {course.best_epoch + 1} (base rate {base:.4f})" if base is not None else ""
    log.info("%s: %d epochs in %.1f s%s", folder.name, course.epoch, course.seconds, best)
    # In nats; the loss of effects is in squared units of the outcome, where no gain is too small to count.
    if base is not None and course.best_loss >= base - (0.0 if effects else 1e-3):
        log.warning("%s %s", folder.name, _NO_EFFECTS if effects else _NO_SIGNAL)


def _run_epochs(
    config: Mapping[str, Any],
    learner: Learner,
    data: CohortData,
    device: torch.device,
    folder: Path,
    stamp: str,
    checkpoint: Checkpoint | None,
    loggers: Sequence[Logger],
) -> None:
    settings, tag = config["learner"], tag_of(folder)
    course = learner.course

    def tell(line: Mapping[str, float]) -> None:
        write_lines(folder / "metrics.csv", course.lines)
        for logger in loggers:
            logger.log_metrics({f"{k}{tag}": v for k, v in line.items() if "/" in k}, step=int(line["epoch"]))

    with answering() as interrupt, quiet(), equal_bits(bool(config["trainer"]["deterministic"]), device):
        last = folder / "checkpoint" / "last.ckpt"
        callbacks: list[Any] = [CloseEpoch(settings, tell), WriteCheckpoints(last, stamp, minutes=float(settings["checkpoint_minutes"]), interrupt=interrupt)]
        if show_bar(config["trainer"]):
            callbacks.append(Bar(folder.name, int(settings["max_epochs"]), data.n_batches))
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            precision=config["trainer"]["precision"],
            max_epochs=int(settings["max_epochs"]) - course.epoch,
            callbacks=callbacks,
            # Everything that Lightning would write or print is ours: checkpoints, metrics, the bar.
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=1.0 if data.n_select_rows else 0,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
        if checkpoint is not None and checkpoint.precision:
            trainer.precision_plugin.load_state_dict(dict(checkpoint.precision))
        trainer.fit(learner, datamodule=data)

"""The epochs of a training: Lightning's loop with our callbacks, from wherever the course stands to its end or the user's Ctrl-C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from equipoise.data import CohortData
from equipoise.learner.callbacks import Bar, CloseEpoch, WriteCheckpoints, show_bar
from equipoise.learner.interrupt import answering
from equipoise.learner.loggers import Logger, tag_of, write_lines
from equipoise.learner.module import Learner
from equipoise.learner.quiet import equal_bits, quiet
from equipoise.learner.resume import Checkpoint


def run_epochs(
    config: Mapping[str, Any],
    learner: Learner,
    data: CohortData,
    device: torch.device,
    folder: Path,
    stamp: str,
    checkpoint: Checkpoint | None,
    loggers: Sequence[Logger],
) -> None:
    """Trains until the course is finished.

    Args:
        config: its ``learner`` and ``trainer`` count.
        learner: whose course goes on.
        data: starts where the course stands.
        device: where it runs.
        folder: for ``metrics.csv`` and ``checkpoint/last.ckpt``.
        stamp: see `Checkpoint`.
        checkpoint: from which it goes on, or None.
        loggers: are told of each epoch.

    Raises:
        KeyboardInterrupt: the user stopped; the checkpoint is written.
    """
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

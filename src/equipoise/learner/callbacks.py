"""What happens around the training steps: epochs are closed, checkpoints written, interruptions answered, progress shown."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from equipoise.learner.course import weights_of
from equipoise.learner.interrupt import Interrupt, Interrupted
from equipoise.learner.module import Learner
from equipoise.learner.resume import Checkpoint

log = logging.getLogger("equipoise.learner")


@final
class CloseEpoch(Callback):
    """Ends an epoch: keeps the best weights, says when to stop, hands the epoch's metrics on.

    Args:
        settings: the config's ``learner``.
        tell: called with each finished epoch's line.
    """

    def __init__(self, settings: Mapping[str, Any], tell: Callable[[Mapping[str, float]], None]) -> None:
        self._settings, self._tell = settings, tell

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        learner = _learner(pl_module)
        line = learner.course.end_epoch(
            learner.select,
            weights_of(learner.network),
            lr=next(float(g["lr"]) for g in trainer.optimizers[0].param_groups if g["name"] == "head"),
            patience=self._settings["patience"],
            min_delta=float(self._settings["min_delta"]),
            max_epochs=int(self._settings["max_epochs"]),
        )
        trainer.should_stop = learner.course.finished
        self._tell(line)


@final
class WriteCheckpoints(Callback):
    """Writes the checkpoint at every epoch's end, inside a long epoch, and when the user interrupts.

    Args:
        path: of the checkpoint.
        stamp: see `Checkpoint`.
        minutes: the oldest that the last checkpoint may be.
        interrupt: whether the user has asked to stop.
        clock: seconds, monotonic.
    """

    def __init__(self, path: Path, stamp: str, *, minutes: float, interrupt: Interrupt, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._stamp, self._minutes, self._interrupt, self._clock = path, stamp, minutes, interrupt, clock
        self._written = self._last = clock()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._written = self._last = self._clock()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._interrupt.asked or self._clock() - self._written > 60 * self._minutes:
            self._write(trainer, _learner(pl_module))
        if self._interrupt.asked:
            course = _learner(pl_module).course
            log.warning("interrupted in epoch %d after batch %d; checkpoint %s", course.epoch + 1, course.batch, self._path)
            raise Interrupted

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer, _learner(pl_module))
        if self._interrupt.asked:  # in the epoch's selection: after the last epoch no batch would answer
            log.warning("interrupted after epoch %d; checkpoint %s", _learner(pl_module).course.epoch, self._path)
            raise Interrupted

    def _write(self, trainer: pl.Trainer, learner: Learner) -> None:
        now = self._clock()
        learner.course.seconds += now - self._last
        self._last = self._written = now
        state = trainer.precision_plugin.state_dict()
        Checkpoint(self._stamp, learner.course, weights_of(learner.network), trainer.optimizers[0].state_dict(), state).save(self._path)


@final
class Bar(Callback):
    """One progress bar over all batches of a member, in a terminal.

    Args:
        name: of the member.
        max_epochs: the most that there can be.
        n_batches: of an epoch.
    """

    def __init__(self, name: str, max_epochs: int, n_batches: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        words = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn(), TimeRemainingColumn()
        self._progress = Progress(*words, transient=True)
        self._task = self._progress.add_task(name, total=max_epochs * n_batches, said="")
        self._n_batches, self._max_epochs = n_batches, max_epochs

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._progress.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        course = _learner(pl_module).course
        self._progress.update(self._task, completed=course.epoch * self._n_batches + batch_idx + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        course = _learner(pl_module).course
        line = course.lines[-1]
        select = f", select/nll {line['select/nll']:.4f} (best {course.best_loss:.4f})" if "select/nll" in line else ""
        self._progress.update(self._task, said=f"epoch {course.epoch} of at most {self._max_epochs}, train/nll {line['train/nll']:.4f}{select}")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._progress.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._progress.stop()


def show_bar(trainer: Mapping[str, Any]) -> bool:
    """A bar is drawn where it is wanted and the output is a terminal."""
    return bool(trainer["progress"]) and sys.stdout.isatty()


def _learner(module: pl.LightningModule) -> Learner:
    assert isinstance(module, Learner)
    return module

"""The course of a member's training: where it is, what it has seen, its best weights. Together with the weights it is all that resuming needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from equipoise.contract.errors import UserError


@dataclass
class Course:
    """Plain numbers and tensors.

    Args:
        epoch: the epoch that is running, from 0.
        batch: its batches that are done.
        sums: of the running epoch: nll, loss, kl (times rows), rows.
        lines: one a finished epoch: metric name -> value.
        best_epoch: the epoch of the lowest select/nll, -1 before the first.
        best_loss: that loss.
        best_weights: the network's state then; empty without select rows.
        waited: epochs since the best.
        seconds: spent in training, over all interruptions.
        finished: nothing is left to train.
    """

    epoch: int = 0
    batch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    lines: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    waited: int = 0
    seconds: float = 0.0
    finished: bool = False

    def step(self, rows: int, values: Mapping[str, float]) -> None:
        """Counts one train batch."""
        self.batch += 1
        for name, value in {**values, "rows": 1.0}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * rows

    def end_epoch(
        self, select: Mapping[str, float], weights: Mapping[str, Tensor], *, lr: float, patience: int | None, min_delta: float, max_epochs: int
    ) -> dict[str, float]:
        """Closes the running epoch and returns its line.

        Args:
            select: metrics on select rows, ``select/nll`` among them; empty without select rows.
            weights: the network's state; copied when it is the best so far.
            lr: the learning rate at the end.
            patience: epochs without a lower select/nll before training stops; None = never.
            min_delta: by how much it must fall to count as lower.
            max_epochs: the most that there can be.

        Raises:
            UserError: the loss is not finite.
        """
        rows = max(self.sums.pop("rows", 0.0), 1.0)
        line = {"epoch": float(self.epoch), **{f"train/{k}": v / rows for k, v in self.sums.items()}, **select, "lr": lr}
        self.lines.append(line)
        if select:
            loss = select["select/nll"]
            if loss < self.best_loss - min_delta:
                self.best_epoch, self.best_loss, self.waited = self.epoch, loss, 0
                self.best_weights = {k: v.detach().cpu().clone() for k, v in weights.items()}
            else:
                self.waited += 1
            if self.best_epoch < 0 and self.epoch + 1 >= max_epochs:
                raise UserError("Training diverged: select/nll was never a finite number", mend="lower optimizer.lr, or set learner.clip_norm")
        else:
            self.best_epoch = self.epoch
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, {}
        self.finished = self.epoch >= max_epochs or (patience is not None and bool(select) and self.waited >= patience)
        return line

    def state(self) -> dict[str, Any]:
        return {**vars(self), "sums": dict(self.sums), "lines": [dict(line) for line in self.lines]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(**state)

    def history(self) -> dict[str, Any]:
        """For history.json: one list a metric, over the epochs."""
        return {
            "epochs": self.epoch,
            "best_epoch": self.best_epoch,
            "train_loss": [line["train/nll"] for line in self.lines],
            "select_loss": [line["select/nll"] for line in self.lines if "select/nll" in line],
            "seconds": round(self.seconds, 3),
        }


def weights_of(module: torch.nn.Module) -> dict[str, Tensor]:
    """The module's state, not copied."""
    return {k: v.detach() for k, v in module.state_dict().items()}

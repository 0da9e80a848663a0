"""The checkpoint of a training: weights, optimizer and course, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from equipoise.contract.errors import UserError
from equipoise.learner.course import Course
from equipoise.model import load_plain, save_plain

CHECKPOINT_KIND = "equipoise.checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """Everything that resuming needs; randomness is a function of counters and is not among it.

    Args:
        stamp: what is trained (see `stamp_of` in `train`): config, cohort, rows, seed.
        course: where training is.
        weights: the network's state.
        optimizer: its state.
        precision: the precision plugin's state, {} at full precision.
    """

    stamp: str
    course: Course
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    precision: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Writes the checkpoint in one step."""
        weights = {k: v.detach().cpu() for k, v in self.weights.items()}
        parts = {"weights": weights, "optimizer": dict(self.optimizer), "precision": dict(self.precision), "course": self.course.state()}
        save_plain(path, CHECKPOINT_KIND, {"stamp": self.stamp, **parts})

    @classmethod
    def load(cls, path: Path, stamp: str) -> Checkpoint:
        """Reads a checkpoint.

        Raises:
            UserError: it is damaged, or of another training.
        """
        state = load_plain(path, CHECKPOINT_KIND)
        if state["stamp"] != stamp:
            raise UserError(
                f"Checkpoint {path} is of another training: its config, cohort, rows or seed differ", mend="give another run_dir, or delete that folder"
            )
        return cls(stamp, Course.from_state(state["course"]), state["weights"], state["optimizer"], state["precision"])

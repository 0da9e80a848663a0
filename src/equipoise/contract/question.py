"""What is asked of a model, in words that task, comparator and trial share (no torch)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TargetKind = Literal["binary", "multiclass", "continuous", "time_to_event", "treatment_effect"]


@dataclass(frozen=True)
class Question:
    """One question about one target.

    Args:
        task: the task's name in the config, as written into the predictions table.
        target: the cohort target that it is about.
        kind: which kind of outcome that is.
        evidences: the evidences whose content may be used, in config order.
        classes: class names in order (multiclass only).
        horizons_days: horizons at which a risk is asked for, days > 0; of a treatment's effect on a time to event the one by which risks are compared.
    """

    task: str
    target: str
    kind: TargetKind
    evidences: tuple[str, ...]
    classes: tuple[str, ...] = ()
    horizons_days: tuple[float, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of the predictions table's ``target`` column that this question has, in order."""
        match self.kind:
            case "multiclass":
                return self.classes
            case "time_to_event":
                return tuple(horizon_label(h) for h in self.horizons_days)
            case "treatment_effect":
                return ("mu0", "mu1", "effect")
            case _:
                return ("",)


def horizon_label(horizon_days: float) -> str:
    """The label of a risk at a horizon.

    >>> horizon_label(365.0)
    'h=365'
    """
    return f"h={horizon_days:g}"

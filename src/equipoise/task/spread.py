"""What tasks on a continuous outcome share: the stated variance is sized by the errors of rows that training did not fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from equipoise.contract.question import Question
from equipoise.contract.tensors import Draws, Target
from equipoise.task import Answer, Task

FEWEST_FOR_SPREAD = 20
"""Select rows below which they do not size the spread (the relative error of a variance from n rows is sqrt(2 / n))."""
LEAST_SHARE = 0.05
"""Of the squared error that stays with the likelihood's spread where the draws differ by more than the error itself."""


class ContinuousTask(Task):
    """One number a row. ``log_shift`` f32 () is the log of the factor on the stated standard deviation, 0 until `fit_spread`."""

    kind = "continuous"
    log_shift: Tensor

    def __init__(self, *, target: str) -> None:
        super().__init__(target=target)
        self.register_buffer("log_shift", torch.zeros(()), persistent=False)

    def question(self, name: str, evidences: tuple[str, ...]) -> Question:
        return Question(task=name, target=self.target, kind="continuous", evidences=evidences)

    @torch.no_grad()
    def fit_spread(self, draws: Draws, target: Target) -> None:
        """Scales the stated variance so that its mean over these rows is their mean squared error, see `spread_shift`."""
        shift = spread_shift(self.answer(draws), target)
        if shift is not None:
            self.log_shift.copy_(self.log_shift + shift.to(self.log_shift))

    def state(self) -> dict[str, Any]:
        return {"log_shift": float(self.log_shift)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.log_shift.fill_(float(state.get("log_shift", 0.0)))


def spread_shift(answer: Answer, target: Target) -> Tensor | None:
    """log of the factor on the within-draw standard deviation that makes the mean predictive variance (the draws' own included) the mean squared error.

    Residuals of train rows are smaller than those of new ones, and comparators state the error of their inner folds: a spread fitted on train rows
    would make the model's forecast too sharp beside theirs. None with fewer than `FEWEST_FOR_SPREAD` observed rows, where the likelihood's own
    spread is the better guess.

    Args:
        answer: to select rows, one label.
        target: their outcomes.
    """
    seen = target.observed
    if int(seen.sum()) < FEWEST_FOR_SPREAD:
        return None
    weight, mean, variance = target.weight[seen].double(), answer.mean[:, seen, 0].double(), answer.variance[:, seen, 0].double()
    error = (target.outcome[seen].double() - mean.mean(0)).square()
    known = mean.var(0, correction=0)
    left = (weight * (error - known)).sum().clamp(min=LEAST_SHARE * (weight * error).sum())
    shift = 0.5 * torch.log(left / (weight * variance.mean(0)).sum())
    return shift if bool(torch.isfinite(shift)) else None

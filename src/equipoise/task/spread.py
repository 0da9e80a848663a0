"""The stated variance of a continuous outcome, sized by the errors of rows that training did not fit."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.contract.tensors import Target
from equipoise.task import Answer

FEWEST_FOR_SPREAD = 20
"""Select rows below which they do not size the spread (the relative error of a variance from n rows is sqrt(2 / n))."""
LEAST_SHARE = 0.05
"""Of the squared error that stays with the likelihood's spread where the draws differ by more than the error itself."""


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

"""Outcomes under two treatments, and a linear network that learns them to the end."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from torch import Tensor

from equipoise.cohort.draft import TargetTable
from equipoise.contract.tensors import Draws, Target
from equipoise.head.point import PointHead
from equipoise.task.arms import ArmsTask
from equipoise.testing.task_laws import sample_outcomes


def arms_of(outcome: np.ndarray, treated: np.ndarray) -> TargetTable:
    """A target of these outcomes, all observed."""
    table = sample_outcomes("treatment_effect", n=len(outcome), seed=0).table
    columns = {"outcome": outcome.astype(np.float64), "treatment": treated.astype(np.int64)}
    return TargetTable("treatment_effect", table.with_columns(observed=True, weight=1.0, **{k: pl.Series(v) for k, v in columns.items()}))


def linear_answer(task: ArmsTask, target: Target, x: np.ndarray, *, max_iter: int, start: torch.Generator | None = None) -> Tensor:
    """What the task answers, f64 (1, n, 3), after a head that is linear in x was trained with it; ``start``: draws the head's first weights."""
    z = torch.tensor(x, dtype=torch.float32)[:, None]
    head = PointHead(d_in=1, n_params=task.n_params, bias=task.start(), layers=0, prior_scale=10.0, bias_scale=10.0)
    if start is not None:
        torch.nn.init.normal_(head.out.weight, generator=start)
    optimizer = torch.optim.LBFGS([*head.parameters(), *task.parameters()], max_iter=max_iter, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.loss(head(z, n_draws=1, seed=0), target).mean() + (head.penalty() + task.penalty()) / len(x)
        loss.backward()
        return loss

    optimizer.step(closure)
    return task.answer(Draws(head(z, n_draws=1, seed=0).value.detach())).mean.detach()

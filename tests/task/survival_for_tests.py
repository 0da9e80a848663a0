"""Follow-up written out for tests of tasks on a time to event."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.contract.tensors import Draws
from equipoise.task import Task
from equipoise.testing.task_laws import sample_outcomes, target_of


def survival(time: np.ndarray, event: np.ndarray, entry: np.ndarray | None = None, weight: np.ndarray | None = None) -> TargetTable:
    n = len(time)
    table = sample_outcomes("time_to_event", n=n, seed=0).table
    columns = {"time_days": time, "event": event, "entry_days": np.zeros(n) if entry is None else entry, "weight": np.ones(n) if weight is None else weight}
    return TargetTable("time_to_event", table.with_columns(observed=True, **{k: pl.Series(v).cast(table[k].dtype) for k, v in columns.items()}))


def linear_fit(task: Task, outcomes: TargetTable, design: np.ndarray, max_iter: int = 300) -> np.ndarray:
    """Maximum likelihood coefficients f64 (columns, K) of a linear model, by L-BFGS, from the base rates; the design's first column is 1."""
    target, x = target_of(outcomes), torch.tensor(design, dtype=torch.float64)
    first = torch.zeros(design.shape[1], task.n_params, dtype=torch.float64)
    first[0] = task.start()
    beta = first.requires_grad_()
    optimizer = torch.optim.LBFGS([beta], max_iter=max_iter, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task.loss(Draws((x @ beta)[None]), target).sum() / len(x)
        loss.backward()
        return loss

    optimizer.step(closure)
    return beta.detach().numpy()


def competing(n: int, seed: int) -> tuple[TargetTable, float, float]:
    """Constant hazards of two causes, censoring and late entry; the rates a day of both causes."""
    rng = np.random.default_rng(seed)
    latent = np.stack([rng.uniform(0, 1500, n), rng.exponential(1000, n), rng.exponential(2000, n)])
    time, event = latent.min(0), latent.argmin(0)
    entry = np.where(rng.random(n) < 0.5, rng.uniform(0, 400, n), 0.0)
    kept = time > entry
    return survival(time[kept], event[kept], entry[kept]), 1 / 1000, 1 / 2000

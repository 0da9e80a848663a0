from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional as F

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.task.arms import ArmsTask
from equipoise.task.tarnet import TarNetTask
from equipoise.task.treatment_effect import TreatmentEffectTask
from equipoise.testing.task_laws import sample_outcomes, target_of
from task.effects_for_tests import linear_answer


def task_on(outcomes: TargetTable, **changed: Any) -> TarNetTask:
    chosen: dict[str, Any] = {
        "target": "response",
        "width": 6,
        "layers": 1,
        "prior_scale": 3.0,
        "propensity_weight": 1.0,
        "log_sigma_scale": 1.0,
        "horizon_days": None,
        "n_intervals": 1,
    }
    task = TarNetTask(**{**chosen, **changed})
    task.setup(outcomes)
    return task


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_each_arm_is_its_own_network_on_what_is_shared(layers: int) -> None:
    task = task_on(sample_outcomes("treatment_effect", n=200, seed=0), layers=layers)
    value = torch.randn(2, 9, 7, generator=generator(0))
    answer = task.answer(Draws(value)).mean
    for arm, branch in enumerate(task.branches):
        h = F.gelu(value[..., 1:])
        weights = [p.detach() for p in branch.parameters()]
        for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            h = F.gelu(h @ weight.T + bias)
        expected = torch.sigmoid(task.base[arm][0] + (h @ weights[-2].T + weights[-1])[..., 0])
        assert torch.allclose(answer[..., arm].float(), expected, atol=1e-6)
    assert torch.allclose(answer[..., 2], answer[..., 1] - answer[..., 0])
    assert torch.allclose(task.propensity(Draws(value)).float(), torch.sigmoid(value[..., 0]))


def test_a_row_teaches_only_the_branch_of_its_arm() -> None:
    outcomes = sample_outcomes("treatment_effect", n=100, seed=0)
    treated = TargetTable("treatment_effect", outcomes.table.filter(pl.col("treatment") == 1))
    task = task_on(outcomes)
    value = torch.randn(1, treated.table.height, 7, generator=generator(0))
    task.loss(Draws(value), target_of(treated)).sum().backward()
    moved = [sum(float(p.grad.abs().sum()) for p in branch.parameters() if p.grad is not None) for branch in task.branches]
    assert moved[0] == 0 < moved[1]


def test_the_branches_are_the_same_whatever_happened_to_the_global_stream() -> None:
    outcomes = sample_outcomes("treatment_effect", n=100, seed=0)
    states = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            states.append(task_on(outcomes).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


def effects(task: ArmsTask, outcomes: TargetTable, x: np.ndarray) -> np.ndarray:
    return linear_answer(task, target_of(outcomes), x, max_iter=80, start=generator(0))[0, :, 2].numpy()


def test_arms_of_different_shape_are_learnt_where_lines_cannot_follow() -> None:
    rng = np.random.default_rng(0)
    n, x = 2000, rng.standard_normal(2000)
    treated = rng.random(n) < 1 / (1 + np.exp(-x))
    truth = np.sin(2 * x) + 1
    y = pl.Series(0.5 * x**2 + treated * truth + 0.3 * rng.standard_normal(n))
    table = sample_outcomes("treatment_effect", n=n, seed=0).table.with_columns(
        outcome=y, observed=True, weight=1.0, treatment=pl.Series(treated.astype(np.int64))
    )
    outcomes = TargetTable("treatment_effect", table)
    lines = TreatmentEffectTask(target="response", propensity_weight=1.0, log_sigma_scale=1.0, horizon_days=None, n_intervals=1)
    lines.setup(outcomes)
    off = [float(np.sqrt(np.mean((effects(task, outcomes, x) - truth) ** 2))) for task in (task_on(outcomes, width=12), lines)]
    assert off[0] < 0.3
    assert off[0] < 0.5 * off[1]


def test_branches_without_width_are_refused() -> None:
    with pytest.raises(UserError, match="width >= 1"):
        task_on(sample_outcomes("treatment_effect", n=50, seed=0), width=0)

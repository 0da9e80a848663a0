"""Targeted regularisation of hazards: its direction, its minimum, and what it mends."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.targets import target_table
from equipoise.contract.tensors import Draws, Target, generator
from equipoise.stats.survival import censoring_survival
from equipoise.task.arm_hazards import HazardArm
from equipoise.task.dragonnet import DragonNetTask
from equipoise.task.hazards import incidence, influence
from equipoise.testing.discovery import options
from equipoise.testing.task_laws import new_task, sample_outcomes, target_of


def task_on(outcomes: TargetTable, *, horizon_days: float = 365.0, **changed: float) -> DragonNetTask:
    task = new_task({**options("task")["dragonnet_survival"], "horizon_days": horizon_days, **changed})
    assert isinstance(task, DragonNetTask)
    task.setup(outcomes)
    return task


@pytest.mark.parametrize("n_causes", [1, 3])
@pytest.mark.parametrize("horizon", [2.0, 2.7, 9.0])
def test_the_influence_is_the_derivative_of_the_incidence_by_each_hazard_over_the_share_at_risk(n_causes: int, horizon: float) -> None:
    edges = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])

    def risk(logits: torch.Tensor) -> torch.Tensor:
        return incidence(logits, edges, n_causes, (horizon,))[0]

    logits = torch.randn(4 * n_causes, generator=generator(n_causes), dtype=torch.float64)
    by_logit = torch.autograd.functional.jacobian(risk, logits).reshape(4, n_causes)
    padded = torch.cat([torch.zeros(4, 1, dtype=torch.float64), logits.reshape(4, n_causes)], 1)
    hazard = torch.softmax(padded, 1)[:, 1:]
    # dh_c / dl_b = h_c (1(b = c) - h_b): solved for the derivative by the hazards.
    by_hazard = torch.stack([torch.linalg.solve(torch.diag(h) - torch.outer(h, h), g) for h, g in zip(hazard, by_logit, strict=True)])
    survived = torch.cumprod(1 - hazard.sum(1), 0)
    at_risk = torch.cat([torch.ones(1, dtype=torch.float64), survived[:-1]])
    expected = by_hazard / at_risk[:, None]
    assert torch.allclose(influence(logits, edges, n_causes, horizon).reshape(4, n_causes), expected, atol=1e-9)
    if n_causes == 1 and horizon == 2.0:
        assert torch.allclose(expected[:, 0], torch.cat([survived[1] / survived[:2], torch.zeros(2, dtype=torch.float64)]))


def test_arms_move_by_the_influence_over_the_propensity_and_the_share_not_censored() -> None:
    outcomes = sample_outcomes("survival_effect", n=300, seed=0)
    task = task_on(outcomes, n_intervals=5)
    torch.nn.init.constant_(task.epsilon, 0.1)
    value = torch.randn(2, 7, task.n_params, generator=generator(0))
    arms, e = task.flat_arms(value[..., :-1]), torch.sigmoid(value[..., -1])
    assert isinstance(task.outcome, HazardArm)
    edges = task.outcome.edges
    for arm, inverse in ((0, -1 / (1 - e)), (1, 1 / e)):
        own = outcomes.table.filter((pl.col("treatment") == arm) & pl.col("observed"))
        columns = (own[name].to_numpy() for name in ("time_days", "event", "entry_days", "weight"))
        kept = torch.tensor(censoring_survival(*columns).at(edges[:-1].double().numpy()), dtype=torch.float32)
        n_causes = task.outcome.n_causes
        moved = influence(arms[:, :, arm], edges, n_causes, 365.0) / kept.repeat_interleave(n_causes)
        assert torch.allclose(task.arms_of(value)[:, :, arm], arms[:, :, arm] + 0.1 * inverse[..., None] * moved, atol=1e-5)
    again = task_on(sample_outcomes("survival_effect", n=300, seed=5), n_intervals=5)
    again.load_state(task.state())
    torch.nn.init.constant_(again.epsilon, 0.1)
    assert torch.equal(again.arms_of(value), task.arms_of(value))


def confounded(n: int, seed: int) -> tuple[TargetTable, np.ndarray, float]:
    """Rates exp(x - .8 a) / 500, treatment by x, censoring that is heavier in the treated; the propensity's logit, and the effect on the risk by day 300."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    a = (rng.random(n) < 1 / (1 + np.exp(-x))).astype(np.int64)
    rate = np.exp(x - 0.8 * a) / 500
    time, left = rng.exponential(1 / rate), rng.exponential(np.where(a == 1, 500, 1500))
    columns = {"time_days": np.minimum(time, left), "event": (time <= left).astype(np.int64), "treatment": a}
    risk = [1 - np.exp(-np.exp(x - 0.8 * arm) * 300 / 500) for arm in (0, 1)]
    return TargetTable("treatment_effect", target_table((time <= left).astype(float), **columns)), x, float((risk[1] - risk[0]).mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_arms_that_know_no_confounder_are_mended_by_the_propensity(seed: int) -> None:
    outcomes, logit, truth = confounded(20_000, seed)
    task, target = task_on(outcomes, horizon_days=300.0, n_intervals=8, propensity_weight=0.0), target_of(outcomes)
    value = task.start().repeat(1, len(logit), 1)
    value[..., -1] = torch.tensor(logit, dtype=torch.float32)
    unmoved = mean_effect(task, value)
    assert abs(unmoved - truth) > 0.08
    optimizer = torch.optim.LBFGS([task.epsilon], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task.loss(Draws(value), target).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert abs(mean_effect(task, value) - truth) < 0.25 * abs(unmoved - truth)
    assert score(task, value, target).abs() < 1e-3


def mean_effect(task: DragonNetTask, value: torch.Tensor) -> float:
    return float(task.answer(Draws(value)).mean[0, :, 2].mean().detach())


def score(task: DragonNetTask, value: torch.Tensor, target: Target) -> torch.Tensor:
    """The mean of direction times residual of the moved arms, by hand: events less hazard in every interval that a row was at risk in."""
    assert isinstance(task.outcome, HazardArm)
    edges, e = task.outcome.edges, torch.sigmoid(value[0, :, -1])
    direction = task.outcome.direction(task.flat_arms(value[..., :-1]))[0] * torch.stack([-1 / (1 - e), 1 / e], -1)[..., None]
    rows, a = torch.arange(len(e)), target.treatment
    hazard = torch.sigmoid(task.arms_of(value)[0].detach())[rows, a]
    left, right, time = edges[:-1], edges[1:], target.time_days[:, None]
    dies = (time > left) & (time <= right) & (target.event[:, None] == 1)
    exposure = torch.where(dies, 1.0, ((time - left) / (right - left)).clamp(0, 1))
    return (direction[rows, a] * (dies.float() - exposure * hazard)).sum(1).mean()

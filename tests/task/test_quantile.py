from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import ndtri
from sklearn.metrics import mean_pinball_loss

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.task.quantile import QuantileTask, normal_moments
from equipoise.testing.task_laws import sample_outcomes, target_of

LEVELS = [0.1, 0.5, 0.8, 0.95]


def task_on(outcomes: TargetTable, levels: list[float] | None = None) -> QuantileTask:
    task = QuantileTask(target="y", levels=levels or LEVELS, log_scale_scale=1.0)
    task.setup(outcomes)
    return task


def outcomes_of(y: np.ndarray) -> TargetTable:
    table = sample_outcomes("continuous", n=len(y), seed=0).table
    return TargetTable("continuous", table.with_columns(outcome=pl.Series(y), observed=True, weight=1.0))


def test_the_loss_is_scikit_learns_pinball_loss_in_the_working_likelihood() -> None:
    outcomes = sample_outcomes("continuous", n=60, seed=0)
    outcomes = TargetTable("continuous", outcomes.table.filter(pl.col("observed")).with_columns(weight=1.0))
    task, y = task_on(outcomes), outcomes.table["outcome"].to_numpy()
    torch.nn.init.constant_(task.log_scale, 0.3)
    draws = Draws(torch.randn(1, len(y), 4, generator=generator(0), dtype=torch.float64))
    q = task.quantiles(draws)[0].numpy()
    b = task.base_scale * math.exp(0.3)
    pinball = [mean_pinball_loss(y, q[:, j], alpha=level) / task.sd for j, level in enumerate(LEVELS)]
    expected = np.mean([p / b + math.log(b) - math.log(level * (1 - level)) for p, level in zip(pinball, LEVELS, strict=True)])
    assert float(task.loss(draws, target_of(outcomes)).mean().detach()) == pytest.approx(expected, rel=1e-5)


def test_the_hessian_is_the_working_likelihoods_fisher_information() -> None:
    task = task_on(sample_outcomes("continuous", n=60, seed=0))
    torch.nn.init.constant_(task.log_scale, -0.4)
    at, b = torch.randn(4, generator=generator(3), dtype=torch.float64), task.base_scale * math.exp(-0.4)
    by_value = torch.autograd.functional.jacobian(lambda v: task.quantiles(Draws(v[None, None]))[0, 0] / task.sd, at)
    expected = torch.zeros(4, 4, dtype=torch.float64)
    for level, slope in zip(LEVELS, by_value, strict=True):
        # Of asymmetric Laplace outcomes a share `level` lies below q; the score is (level - 1) / b there, and level / b above.
        information = level * ((level - 1) / b) ** 2 + (1 - level) * (level / b) ** 2
        expected += information * torch.outer(slope, slope) / len(LEVELS)
    assert torch.allclose(task.hessian(at[None])[0], expected, rtol=1e-6)


def test_quantiles_never_cross_whatever_the_parameters() -> None:
    task = task_on(sample_outcomes("continuous", n=100, seed=0))
    q = task.quantiles(Draws(5 * torch.randn(4, 200, 4, generator=generator(1))))
    assert (q.diff(dim=-1) > 0).all()


def test_the_start_has_the_quantiles_of_the_train_rows_and_is_a_minimum() -> None:
    outcomes = outcomes_of(np.random.default_rng(0).exponential(10, 999))
    task, target = task_on(outcomes), target_of(outcomes)
    start = task.start()
    expected = np.quantile(outcomes.table["outcome"].to_numpy(), LEVELS, method="inverted_cdf")
    assert task.quantiles(Draws(start[None, None]))[0, 0].numpy() == pytest.approx(expected, rel=1e-5)
    best = float(task.loss(Draws(start.expand(1, 999, -1)), target).mean().detach())
    for j in range(4):
        for moved in (-0.05, 0.05):
            step = torch.zeros(4)
            step[j] = moved
            assert float(task.loss(Draws((start + step).expand(1, 999, -1)), target).mean().detach()) > best


@pytest.mark.parametrize("levels", [[0.05, 0.5], [0.2, 0.4, 0.6], [0.01, 0.25, 0.5, 0.75, 0.99]])
def test_mean_and_variance_are_exact_for_a_normal_outcome_whatever_the_levels(levels: list[float]) -> None:
    w, m = (x.numpy() for x in normal_moments(levels))
    q = 3.0 + 2.0 * ndtri(levels)
    assert w @ q == pytest.approx(3.0)
    assert (q - w @ q) @ m @ (q - w @ q) == pytest.approx(4.0)


def test_mean_and_variance_are_those_of_lines_through_the_quantiles() -> None:
    levels, q = [0.1, 0.5, 0.8, 0.95], np.array([-1.0, 0.2, 2.5, 9.0])
    z = ndtri((np.arange(400_000) + 0.5) / 400_000)
    knots = ndtri(levels)
    slope = np.diff(q) / np.diff(knots)
    drawn = np.interp(z, knots, q)
    drawn = np.where(z < knots[0], q[0] + slope[0] * (z - knots[0]), np.where(z > knots[-1], q[-1] + slope[-1] * (z - knots[-1]), drawn))
    w, m = (x.numpy() for x in normal_moments(levels))
    assert w @ q == pytest.approx(drawn.mean(), abs=1e-4)
    assert q @ m @ q == pytest.approx((drawn**2).mean(), rel=1e-3)


def test_a_skewed_outcome_whose_spread_depends_on_the_row_gets_its_quantiles_and_its_moments() -> None:
    rng = np.random.default_rng(1)
    n, x = 3000, rng.uniform(-1, 1, 3000)
    y = 5 * x + np.exp(0.5 * x) * rng.gamma(4.0, 1.0, n)
    outcomes, design = outcomes_of(y), torch.tensor(np.column_stack([np.ones(n), x, x**2]), dtype=torch.float32)
    task, target = task_on(outcomes, [0.05, 0.25, 0.5, 0.75, 0.95]), target_of(outcomes)
    first = torch.zeros(3, 5)
    first[0] = task.start()
    beta = first.requires_grad_()
    optimizer = torch.optim.Adam([beta, *task.parameters()], lr=0.05)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 200)
        optimizer.zero_grad()
        task.loss(Draws((design @ beta)[None]), target).mean().backward()
        optimizer.step()
    draws = Draws((design @ beta).detach()[None])
    q = task.quantiles(draws)[0].numpy()
    for low, high in ((-1, 0), (0, 1)):
        part = (x >= low) & (x < high)
        assert (y[part, None] < q[part]).mean(0) == pytest.approx(task.levels, abs=0.035)
    with torch.no_grad():
        task.fit_spread(draws, target)
        answer = task.answer(draws)
    mean, sd = answer.mean[0, :, 0].numpy(), answer.variance[0, :, 0].sqrt().numpy()
    assert mean == pytest.approx(5 * x + 4 * np.exp(0.5 * x), abs=0.35)
    assert sd == pytest.approx(2 * np.exp(0.5 * x), rel=0.15)
    assert np.mean(sd**2) == pytest.approx(np.mean((y - mean) ** 2), rel=1e-5)


@pytest.mark.parametrize("levels", [[0.5], [], [0.5, 0.5], [0.9, 0.1], [0.0, 0.5], [0.5, 1.0]])
def test_impossible_levels_are_refused(levels: list[float]) -> None:
    with pytest.raises(UserError, match="increasing"):
        QuantileTask(target="y", levels=levels, log_scale_scale=1.0)


def test_many_equal_outcomes_still_give_quantiles_in_order() -> None:
    task = task_on(outcomes_of(np.r_[np.zeros(80), np.arange(1.0, 21.0)]))
    assert (task.quantiles(Draws(task.start()[None, None])).diff(dim=-1) > 0).all()

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.task.student_t import StudentTTask
from equipoise.testing.task_laws import sample_outcomes, target_of


def task_on(outcomes: TargetTable, *, df: float = 4.0, heteroscedastic: bool = False) -> StudentTTask:
    task = StudentTTask(target="y", df=df, heteroscedastic=heteroscedastic, log_sigma_scale=1.0)
    task.setup(outcomes)
    return task


def outcomes_of(y: np.ndarray) -> TargetTable:
    table = sample_outcomes("continuous", n=len(y), seed=0).table
    return TargetTable("continuous", table.with_columns(outcome=pl.Series(y), observed=True, weight=1.0))


@pytest.mark.parametrize("heteroscedastic", [False, True])
def test_the_loss_is_the_likelihood_of_torchs_student_t_less_the_log_of_the_scale(heteroscedastic: bool) -> None:
    outcomes = sample_outcomes("continuous", n=50, seed=0)
    task, target = task_on(outcomes, df=5.5, heteroscedastic=heteroscedastic), target_of(outcomes)
    if task.log_sigma is not None:
        torch.nn.init.constant_(task.log_sigma, -0.4)
    draws = Draws(torch.randn(4, 50, task.n_params, generator=generator(0)))
    sigma = torch.exp(draws.value[..., 1]) if heteroscedastic else torch.full((4, 50), math.exp(-0.4))
    t = torch.distributions.StudentT(5.5, task.centre + task.scale * draws.value[..., 0], task.scale * sigma)
    y = torch.where(target.observed, target.outcome, 0.0)
    expected = (-t.log_prob(y).mean(0) - math.log(task.scale)) * target.weight * target.observed
    assert torch.allclose(task.loss(draws, target), expected, atol=1e-4)
    answer = task.answer(draws)
    assert torch.allclose(answer.mean[..., 0].float(), t.mean)
    assert torch.allclose(answer.variance[..., 0].float(), t.variance, rtol=1e-5)


def test_centre_and_scale_are_scipys_most_likely_ones() -> None:
    y = stats.t.rvs(4, loc=10, scale=3, size=400, random_state=0)
    task = task_on(outcomes_of(y))
    _, centre, scale = stats.t.fit(y, fdf=4)
    assert (task.centre, task.scale) == (pytest.approx(centre, abs=1e-3), pytest.approx(scale, abs=1e-3))


def test_one_wild_value_moves_the_centre_little() -> None:
    y = np.random.default_rng(0).standard_normal(200)
    assert abs(task_on(outcomes_of(np.r_[y, 1e4])).centre - task_on(outcomes_of(y)).centre) < 0.05


@pytest.mark.parametrize("heteroscedastic", [False, True])
def test_the_hessian_is_the_fisher_information(heteroscedastic: bool) -> None:
    task = task_on(sample_outcomes("continuous", n=50, seed=0), df=6.0, heteroscedastic=heteroscedastic)
    params = torch.tensor([0.4, -0.7], dtype=torch.float64)[: task.n_params]
    log_sigma = params[1] if heteroscedastic else torch.tensor(0.0, dtype=torch.float64)
    # Midpoints of equal shares of the t stand for its expectation.
    noise = torch.tensor(stats.t.ppf((np.arange(200_000) + 0.5) / 200_000, 6.0))
    y = params[0] + noise * log_sigma.exp()

    def nll(p: torch.Tensor) -> torch.Tensor:
        sigma = p[1].exp() if heteroscedastic else torch.ones((), dtype=torch.float64)
        return -torch.distributions.StudentT(6.0, p[0], sigma).log_prob(y).mean()

    expected = torch.autograd.functional.hessian(nll, params)
    assert torch.allclose(task.hessian(params[None])[0], expected, atol=1e-3)


def test_select_rows_size_the_stated_variance_and_leave_the_likelihood_alone() -> None:
    outcomes = sample_outcomes("continuous", n=800, seed=4)
    task, target = task_on(outcomes), target_of(outcomes)
    draws = Draws(0.2 * torch.randn(5, 800, 1, generator=generator(0)))
    before = task.loss(draws, target)
    with torch.no_grad():
        task.fit_spread(draws, target)
        answer = task.answer(draws)
    seen, w = target.observed, target.weight[target.observed].double()
    mean, variance = answer.mean[:, seen, 0], answer.variance[:, seen, 0]
    stated = (w * (variance.mean(0) + mean.var(0, correction=0))).sum()
    assert float(stated) == pytest.approx(float((w * (target.outcome[seen].double() - mean.mean(0)).square()).sum()), rel=1e-5)
    assert torch.equal(task.loss(draws, target), before)


@pytest.mark.parametrize("df", [2.0, 0.5])
def test_a_t_without_a_variance_is_refused(df: float) -> None:
    with pytest.raises(UserError, match="no variance to state"):
        StudentTTask(target="y", df=df, heteroscedastic=False, log_sigma_scale=1.0)

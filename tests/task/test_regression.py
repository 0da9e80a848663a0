from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.task.regression import RegressionTask
from equipoise.testing.task_laws import sample_outcomes, target_of


def task_on(outcomes: TargetTable, *, heteroscedastic: bool) -> RegressionTask:
    task = RegressionTask(target="weight", heteroscedastic=heteroscedastic, log_sigma_scale=1.0)
    task.setup(outcomes)
    return task


@pytest.mark.parametrize("heteroscedastic", [False, True])
def test_the_loss_is_the_normal_likelihood_of_torch_in_the_outcomes_unit_less_log_sd(heteroscedastic: bool) -> None:
    outcomes = sample_outcomes("continuous", n=50, seed=0)
    task, target = task_on(outcomes, heteroscedastic=heteroscedastic), target_of(outcomes)
    if task.log_sigma is not None:
        torch.nn.init.constant_(task.log_sigma, -0.4)
    draws = Draws(torch.randn(4, 50, task.n_params, generator=generator(0)))
    answer = task.answer(draws)
    y = torch.where(target.observed, target.outcome, 0.0).double()
    density = torch.distributions.Normal(answer.mean[..., 0], answer.variance[..., 0].sqrt()).log_prob(y)
    expected = (-density.mean(0) - math.log(task.sd)) * target.weight * target.observed
    assert torch.allclose(task.loss(draws, target).double(), expected, atol=1e-4)


def test_scale_and_start_are_those_of_the_weighted_train_rows() -> None:
    outcomes = sample_outcomes("continuous", n=300, seed=0)
    seen = outcomes.table.filter(pl.col("observed"))
    y, w = seen["outcome"].to_numpy(), seen["weight"].to_numpy()
    task = task_on(outcomes, heteroscedastic=False)
    answer = task.answer(Draws(task.start().expand(1, 1, -1)))
    mean = np.average(y, weights=w)
    assert float(answer.mean) == pytest.approx(mean)
    assert float(answer.variance.detach()) == pytest.approx(np.average((y - mean) ** 2, weights=w))


def test_the_learnt_sigma_is_the_residual_standard_deviation() -> None:
    x = np.linspace(-2, 2, 2000)
    outcomes = sample_outcomes("continuous", n=2000, seed=3, x=x)  # 1200 + 150 x + N(0, 100^2)
    outcomes = TargetTable("continuous", outcomes.table.with_columns(weight=1.0))
    task, target = task_on(outcomes, heteroscedastic=False), target_of(outcomes)
    exact = Draws(torch.tensor((1200 + 150 * x - task.mean) / task.sd, dtype=torch.float32)[None, :, None])
    optimizer = torch.optim.LBFGS(task.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task.loss(exact, target).sum() + task.penalty()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert float(task.answer(exact).variance[0, 0, 0].detach()) ** 0.5 == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("heteroscedastic", [False, True])
@pytest.mark.parametrize("n_draws", [1, 6])
def test_select_rows_size_the_spread_so_that_the_stated_variance_is_the_error(heteroscedastic: bool, n_draws: int) -> None:
    """A sigma learnt on train rows that the network has memorised (a tenth of the truth) becomes that of errors on new rows, draws included."""
    outcomes = sample_outcomes("continuous", n=800, seed=4)
    task, target = task_on(outcomes, heteroscedastic=heteroscedastic), target_of(outcomes)
    if task.log_sigma is not None:
        torch.nn.init.constant_(task.log_sigma, math.log(0.1))
    draws = Draws(0.2 * torch.randn(n_draws, 800, task.n_params, generator=generator(0)) - 0.3)

    @torch.no_grad()
    def stated_and_actual() -> tuple[float, float]:
        answer, seen, w = task.answer(draws), target.observed, target.weight[target.observed].double()
        mean, variance = answer.mean[:, seen, 0], answer.variance[:, seen, 0]
        total = variance.mean(0) + mean.var(0, correction=0)
        error = (target.outcome[seen].double() - mean.mean(0)).square()
        return float((w * total).sum() / w.sum()), float((w * error).sum() / w.sum())

    before, actual = stated_and_actual()
    task.fit_spread(draws, target)
    after, same = stated_and_actual()
    assert same == actual
    assert abs(before / actual - 1) > 0.1
    assert after == pytest.approx(actual, rel=1e-5)
    again = task_on(outcomes, heteroscedastic=heteroscedastic)
    again.load_state_dict(task.state_dict())
    again.load_state(task.state())
    assert torch.equal(again.answer(draws).variance, task.answer(draws).variance)


def test_few_select_rows_leave_the_spread_to_the_likelihood() -> None:
    outcomes = sample_outcomes("continuous", n=15, seed=4)
    task = task_on(outcomes, heteroscedastic=False)
    task.fit_spread(Draws(torch.zeros(1, 15, 1)), target_of(outcomes))
    assert float(task.log_shift) == 0.0


def test_the_heteroscedastic_hessian_is_the_fisher_information() -> None:
    task = task_on(sample_outcomes("continuous", n=50, seed=0), heteroscedastic=True)
    params = torch.tensor([0.4, -0.7], dtype=torch.float64)
    noise = torch.randn(200_000, generator=generator(0), dtype=torch.float64)
    y = params[0] + noise * params[1].exp()

    def nll(p: torch.Tensor) -> torch.Tensor:
        return -torch.distributions.Normal(p[0], p[1].exp()).log_prob(y).mean()

    expected = torch.autograd.functional.hessian(nll, params)
    assert torch.allclose(task.hessian(params[None])[0], expected, atol=0.05)


def test_the_homoscedastic_hessian_is_the_precision() -> None:
    task = task_on(sample_outcomes("continuous", n=50, seed=0), heteroscedastic=False)
    assert task.log_sigma is not None
    torch.nn.init.constant_(task.log_sigma, math.log(0.5))
    assert torch.allclose(task.hessian(torch.zeros(3, 1)), torch.full((3, 1, 1), 4.0))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_an_observed_outcome_that_is_not_finite_is_refused(value: float) -> None:
    table = sample_outcomes("continuous", n=20, seed=0).table.with_columns(
        outcome=pl.when(pl.int_range(pl.len()) == 3).then(value).otherwise(1.0), observed=True
    )
    with pytest.raises(UserError, match=r"finite number.*1 rows"):
        task_on(TargetTable("continuous", table), heteroscedastic=False)


def test_an_outcome_that_does_not_vary_is_refused() -> None:
    table = sample_outcomes("continuous", n=20, seed=0).table.with_columns(outcome=pl.lit(0.1), observed=True)
    with pytest.raises(UserError, match=r"does not vary.*20 rows"):
        task_on(TargetTable("continuous", table), heteroscedastic=False)

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch
from torch.distributions import NegativeBinomial, Poisson

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.task.count import CountTask
from equipoise.testing.task_laws import sample_outcomes, target_of

DISTRIBUTIONS = ["poisson", "negative_binomial"]


def outcomes_of(y: np.ndarray, weight: np.ndarray | None = None) -> TargetTable:
    table = sample_outcomes("continuous", n=len(y), seed=0).table
    weight = np.ones(len(y)) if weight is None else weight
    return TargetTable("continuous", table.with_columns(outcome=pl.Series(y).cast(pl.Float64), observed=True, weight=pl.Series(weight)))


def counts(n: int, seed: int = 0) -> TargetTable:
    rng = np.random.default_rng(seed)
    return outcomes_of(rng.negative_binomial(2.0, 2.0 / (2.0 + 4.0), n), rng.uniform(0.5, 2, n))


def task_on(outcomes: TargetTable, distribution: str) -> CountTask:
    task = CountTask(target="visits", distribution=distribution, log_dispersion_scale=1.0)  # type: ignore[arg-type]
    task.setup(outcomes)
    return task


def torchs(task: CountTask, log_mean: torch.Tensor) -> Poisson | NegativeBinomial:
    if task.log_dispersion is None:
        return Poisson(torch.exp(log_mean))
    r = torch.exp(-task.log_dispersion.detach()) / task.base_dispersion
    return NegativeBinomial(r, logits=log_mean - torch.log(r))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_loss_mean_and_variance_are_those_of_torchs_distribution(distribution: str) -> None:
    outcomes = counts(80)
    task, target = task_on(outcomes, distribution), target_of(outcomes)
    if task.log_dispersion is not None:
        torch.nn.init.constant_(task.log_dispersion, 0.4)
    value = torch.randn(3, 80, 1, generator=generator(0))
    expected = torchs(task, value[..., 0])
    assert torch.allclose(task.loss(Draws(value), target), -expected.log_prob(target.outcome).mean(0) * target.weight, atol=1e-4)
    answer = task.answer(Draws(value))
    assert torch.allclose(answer.mean[..., 0].float(), expected.mean)
    assert torch.allclose(answer.variance[..., 0].float(), expected.variance, rtol=1e-4)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_start_is_the_mean_count_and_the_moment_estimate_of_the_dispersion(distribution: str) -> None:
    outcomes = counts(500)
    y, w = outcomes.table["outcome"].to_numpy(), outcomes.table["weight"].to_numpy()
    task = task_on(outcomes, distribution)
    answer = task.answer(Draws(task.start()[None, None]))
    mean = np.average(y, weights=w)
    assert float(answer.mean) == pytest.approx(mean, rel=1e-6)
    variance = mean if distribution == "poisson" else np.average((y - mean) ** 2, weights=w)
    assert float(answer.variance.detach()) == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_hessian_is_the_expected_second_derivative(distribution: str) -> None:
    task = task_on(counts(200), distribution)
    log_mean = torch.tensor([0.7], dtype=torch.float64)
    y = torch.arange(400.0, dtype=torch.float64)

    def expected_nll(at: torch.Tensor) -> torch.Tensor:
        return -(torchs(task, log_mean).log_prob(y).exp() * torchs(task, at).log_prob(y)).sum()

    expected = torch.autograd.functional.hessian(expected_nll, log_mean)
    assert torch.allclose(task.hessian(log_mean[None])[0].detach(), expected, rtol=1e-4)


def test_select_rows_make_a_poissons_stated_variance_that_of_its_errors() -> None:
    outcomes = counts(2000, seed=3)
    task, target = task_on(outcomes, "poisson"), target_of(outcomes)
    draws = Draws(task.start().expand(1, 2000, -1))
    before = task.answer(draws).variance.mean()
    task.fit_spread(draws, target)
    answer = task.answer(draws)
    error = np.average((outcomes.table["outcome"].to_numpy() - answer.mean[0, :, 0].numpy()) ** 2, weights=outcomes.table["weight"].to_numpy())
    assert float(answer.variance.mean()) == pytest.approx(error, rel=1e-5)
    assert float(answer.variance.mean()) > 2 * float(before)


@pytest.mark.reference
def test_a_linear_model_has_statsmodels_coefficients_and_dispersion() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(2)
    design = np.column_stack([np.ones(600), rng.standard_normal((600, 2))])
    mean = np.exp(design @ [1.0, 0.5, -0.3])
    y = rng.negative_binomial(2.0, 2.0 / (2.0 + mean))
    outcomes = outcomes_of(y)
    task, target, x = task_on(outcomes, "negative_binomial"), target_of(outcomes), torch.tensor(design)
    beta = torch.zeros(3, 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([beta, *task.parameters()], max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task.loss(Draws((x @ beta)[None]), target).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    oracle = sm.NegativeBinomial(y, design).fit(disp=0, method="newton").params
    assert task.log_dispersion is not None
    found = [*beta.detach()[:, 0].tolist(), task.base_dispersion * math.exp(float(task.log_dispersion.detach()))]
    assert found == pytest.approx(oracle, abs=1e-3)


@pytest.mark.parametrize("value", [-1.0, 0.5, math.nan, math.inf])
def test_outcomes_that_are_no_counts_are_refused(value: float) -> None:
    with pytest.raises(UserError, match=r"counts 0, 1, 2.*1 rows"):
        task_on(outcomes_of(np.array([0.0, 3.0, value])), "poisson")


def test_another_distribution_is_refused() -> None:
    with pytest.raises(UserError, match="poisson or negative_binomial"):
        CountTask(target="visits", distribution="zip", log_dispersion_scale=1.0)  # type: ignore[arg-type]

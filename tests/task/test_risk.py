from __future__ import annotations

import math

import polars as pl
import pytest
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.task.risk import RiskTask
from equipoise.testing.task_laws import sample_outcomes, target_of


def test_the_loss_is_the_bernoulli_likelihood_of_torch() -> None:
    outcomes = sample_outcomes("binary", n=50, seed=0)
    task = RiskTask(target="died", class_weight=None)
    task.setup(outcomes)
    target = target_of(outcomes)
    draws = torch.randn(4, 50, 1, generator=generator(0))
    y = torch.where(target.observed, target.outcome, 0.0)
    expected = -torch.distributions.Bernoulli(logits=draws[..., 0]).log_prob(y.expand(4, -1)).mean(0) * target.weight * target.observed
    assert torch.allclose(task.loss(Draws(draws), target), expected, atol=1e-6)


def test_the_start_is_the_weighted_prevalence() -> None:
    outcomes = sample_outcomes("binary", n=200, seed=0)
    seen = outcomes.table.filter(pl.col("observed"))
    prevalence = (seen["outcome"] * seen["weight"]).sum() / seen["weight"].sum()
    for class_weight in (None, 7.0):
        task = RiskTask(target="died", class_weight=class_weight)
        task.setup(outcomes)
        assert float(task.answer(Draws(task.start().expand(1, 1, -1))).mean) == pytest.approx(prevalence, rel=1e-6)


@pytest.mark.parametrize("class_weight", [None, 0.2, 8.0])
def test_with_a_class_weight_the_fitted_risk_is_still_the_share_of_events(class_weight: float | None) -> None:
    share = torch.tensor([0.05, 0.3, 0.8])
    n = 200
    group = torch.arange(3).repeat_interleave(n)
    outcome = torch.cat([(torch.arange(n) < round(n * float(p))) for p in share]).double()
    table = sample_outcomes("binary", n=3 * n, seed=0).table.with_columns(outcome=pl.Series(outcome.numpy()), observed=True, weight=1.0)
    task = RiskTask(target="died", class_weight=class_weight)
    task.setup(TargetTable("binary", table))
    target = target_of(TargetTable("binary", table))
    logit = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logit], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task.loss(Draws(logit[group][None, :, None]), target).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    risk = task.answer(Draws(logit.detach()[None, :, None])).mean[0, :, 0]
    assert torch.allclose(risk.float(), share, atol=1e-3)
    if class_weight is not None:
        assert not torch.allclose(torch.sigmoid(logit.detach()), share, atol=1e-2)


@pytest.mark.parametrize("class_weight", [None, 4.0])
def test_the_hessian_is_the_expected_second_derivative_of_the_loss(class_weight: float | None) -> None:
    task = RiskTask(target="died", class_weight=class_weight)
    logit = torch.tensor([-2.0, 0.3, 1.5])
    risk = task.answer(Draws(logit[None, :, None])).mean[0, :, 0]
    expected = torch.zeros(3)
    for outcome, share in ((0.0, 1 - risk), (1.0, risk)):
        table = sample_outcomes("binary", n=3, seed=0).table.with_columns(outcome=pl.lit(outcome), observed=True, weight=1.0)
        target = target_of(TargetTable("binary", table))

        def total(x: torch.Tensor, target: object = target) -> torch.Tensor:
            return task.loss(Draws(x[None, :, None]), target).sum()  # type: ignore[arg-type]

        expected += share.float() * torch.autograd.functional.hessian(total, logit).diagonal()
    assert torch.allclose(task.hessian(logit[:, None])[:, 0, 0], expected, atol=1e-5)


def test_an_outcome_that_is_neither_zero_nor_one_is_refused_with_the_count() -> None:
    outcomes = sample_outcomes("binary", n=50, seed=0)
    task = RiskTask(target="died", class_weight=None)
    task.setup(outcomes)
    wrong = TargetTable("binary", outcomes.table.with_columns(outcome=pl.when(pl.int_range(pl.len()) < 2).then(2.0).otherwise("outcome"), observed=True))
    wrong = TargetTable("binary", wrong.table.filter(pl.col("outcome").is_not_nan()))
    for call in (lambda: task.setup(wrong), lambda: task.loss(Draws(torch.zeros(1, wrong.table.height, 1)), target_of(wrong))):
        with pytest.raises(UserError, match=r"'died' has outcomes .* 2 rows"):
            call()


def test_one_class_only_is_refused_with_both_counts() -> None:
    table = sample_outcomes("binary", n=40, seed=0).table.with_columns(outcome=pl.lit(0.0), observed=True)
    with pytest.raises(UserError, match="0: 40, 1: 0"):
        RiskTask(target="died", class_weight=None).setup(TargetTable("binary", table))
    assert math.isnan(RiskTask(target="died", class_weight=None).prevalence)


def test_a_class_weight_of_zero_is_refused() -> None:
    with pytest.raises(UserError, match="class_weight"):
        RiskTask(target="died", class_weight=0.0)

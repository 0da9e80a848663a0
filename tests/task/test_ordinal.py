from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.task.ordinal import OrdinalTask
from equipoise.testing.task_laws import sample_outcomes, target_of


def task_on(outcomes: TargetTable) -> OrdinalTask:
    task = OrdinalTask(target="severity", threshold_scale=1.0)
    task.setup(outcomes)
    return task


def test_the_loss_is_the_difference_of_cumulative_probabilities() -> None:
    outcomes = sample_outcomes("multiclass", n=60, seed=0)
    task, target = task_on(outcomes), target_of(outcomes)
    torch.nn.init.normal_(task.moved, generator=generator(0))
    value = torch.randn(2, 60, 1, generator=generator(1))
    below = torch.sigmoid(task.thresholds() - value)
    cumulative = torch.cat([torch.zeros(2, 60, 1), below, torch.ones(2, 60, 1)], -1)
    p = cumulative.diff(dim=-1)
    assert torch.allclose(task.answer(Draws(value)).mean.float(), p, atol=1e-6)
    at = torch.where(target.observed, target.outcome, 0.0).long()
    each = -torch.log(p.gather(-1, at.expand(2, -1)[..., None])[..., 0]).mean(0)
    assert torch.allclose(task.loss(Draws(value), target), each * target.weight * target.observed, atol=1e-5)


def test_the_start_has_the_train_rows_shares() -> None:
    outcomes = sample_outcomes("multiclass", n=400, seed=0)
    seen = outcomes.table.filter(pl.col("observed"))
    share = np.bincount(seen["outcome"].to_numpy().astype(int), weights=seen["weight"].to_numpy()) + 0.5
    task = task_on(outcomes)
    assert task.answer(Draws(task.start()[None, None])).mean[0, 0].tolist() == pytest.approx((share / share.sum()).tolist(), abs=1e-6)


def test_thresholds_stay_in_order_whatever_the_parameters() -> None:
    task = task_on(sample_outcomes("multiclass", n=100, seed=0))
    for seed in range(20):
        torch.nn.init.normal_(task.moved, std=3.0, generator=generator(seed))
        assert (task.thresholds().diff() > 0).all()


def test_a_higher_score_moves_to_higher_classes() -> None:
    task = task_on(sample_outcomes("multiclass", n=100, seed=0))
    p = task.answer(Draws(torch.tensor([[[-2.0], [0.0], [2.0]]]))).mean[0]
    assert (p[:, 0].diff() < 0).all()
    assert (p[:, -1].diff() > 0).all()


def test_the_hessian_is_the_expected_second_derivative() -> None:
    task = task_on(sample_outcomes("multiclass", n=200, seed=0))
    at = torch.tensor([0.6], dtype=torch.float64)
    t = task.thresholds().detach().double()

    def p(score: torch.Tensor) -> torch.Tensor:
        one = torch.ones(1, dtype=torch.float64)
        return torch.cat([0 * one, torch.sigmoid(t - score), one]).diff()

    expected = torch.autograd.functional.hessian(lambda score: -(p(at).detach() * torch.log(p(score))).sum(), at)
    assert torch.allclose(task.hessian(at[None])[0].detach(), expected, rtol=1e-5)


@pytest.mark.reference
def test_a_linear_model_has_statsmodels_coefficients_and_thresholds() -> None:
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 2))
    outcome = np.digitize(x @ [1.0, -0.5] + rng.logistic(size=500), [-1.0, 0.3, 2.0])
    table = sample_outcomes("multiclass", n=500, seed=0).table.with_columns(outcome=pl.Series(outcome).cast(pl.Float64), observed=True, weight=1.0)
    outcomes = TargetTable("multiclass", table, ("none", "mild", "moderate", "severe"))
    task, target, design = task_on(outcomes), target_of(outcomes), torch.tensor(x)
    beta = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([beta, *task.parameters()], max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task.loss(Draws((design @ beta)[None]), target).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    model = OrderedModel(outcome, x, distr="logit")
    params = model.fit(method="bfgs", disp=0, gtol=1e-8).params
    assert beta.detach()[:, 0].tolist() == pytest.approx(params[:2], abs=1e-3)
    assert task.thresholds().detach().tolist() == pytest.approx(model.transform_threshold_params(params)[1:-1], abs=1e-3)


def test_a_class_that_train_rows_lack_starts_rare_and_classes_keep_the_targets_order() -> None:
    outcomes = sample_outcomes("multiclass", n=200, seed=0)
    more = TargetTable("multiclass", outcomes.table, ("mild", "moderate", "severe", "fatal"))
    task = task_on(more)
    p = task.answer(Draws(task.start()[None, None]))
    assert p.labels == ("mild", "moderate", "severe", "fatal")
    assert 0 < float(p.mean[0, 0, 3].detach()) < 0.01


def test_classes_out_of_range_are_refused() -> None:
    outcomes = sample_outcomes("multiclass", n=200, seed=0)
    with pytest.raises(UserError, match="class number from 0 to 1"):
        task_on(TargetTable("multiclass", outcomes.table, ("mild", "moderate")))

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch
from torch.distributions import Bernoulli, Normal

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.head.point import PointHead
from equipoise.task.treatment_effect import TreatmentEffectTask
from equipoise.testing.task_laws import sample_outcomes, target_of
from equipoise.uncertainty import decompose


def task_on(outcomes: TargetTable, propensity_weight: float = 0.5) -> TreatmentEffectTask:
    task = TreatmentEffectTask(target="response", propensity_weight=propensity_weight, log_sigma_scale=1.0, horizon_days=None, n_intervals=1)
    task.setup(outcomes)
    return task


def continuous(n: int) -> TargetTable:
    arms, outcome = sample_outcomes("treatment_effect", n=n, seed=0), sample_outcomes("continuous", n=n, seed=0)
    return TargetTable("treatment_effect", outcome.table.with_columns(arms.table["treatment"]))


@pytest.mark.parametrize("binary", [True, False])
def test_the_loss_is_the_outcome_in_the_received_arm_and_the_treatment(binary: bool) -> None:
    outcomes = sample_outcomes("treatment_effect", n=60, seed=0) if binary else continuous(60)
    task, target = task_on(outcomes), target_of(outcomes)
    draws = torch.randn(4, 60, 3, generator=generator(0))
    y = torch.where(target.observed, target.outcome, 0.0)
    arm = torch.where(target.treatment == 1, draws[..., 1], draws[..., 0])
    centre = 0.0 if binary else task.outcome.centre
    log_p = Bernoulli(logits=arm).log_prob(y.expand(4, -1)) if binary else Normal(arm, 1.0).log_prob((y - centre) / task.sd)
    log_p = log_p + 0.5 * Bernoulli(logits=draws[..., 2]).log_prob(target.treatment.float().expand(4, -1))
    assert torch.allclose(task.loss(Draws(draws), target), -log_p.mean(0) * target.weight * target.observed, atol=1e-5)


def test_the_arm_that_was_not_received_has_no_gradient() -> None:
    outcomes = sample_outcomes("treatment_effect", n=60, seed=0)
    target = target_of(outcomes)
    draws = torch.zeros(1, 60, 3, requires_grad=True)
    task_on(outcomes).loss(Draws(draws), target).sum().backward()
    assert draws.grad is not None
    other = torch.where(target.treatment == 1, draws.grad[0, :, 0], draws.grad[0, :, 1])
    assert (other == 0).all()


def test_rows_without_a_treatment_have_zero_loss() -> None:
    outcomes = sample_outcomes("treatment_effect", n=60, seed=0)
    task = task_on(outcomes)
    untreated = TargetTable("treatment_effect", outcomes.table.with_columns(treatment=pl.lit(-1)))
    assert (task.loss(Draws(torch.zeros(1, 60, 3)), target_of(untreated)) == 0).all()


def test_the_effect_is_in_the_outcomes_unit_and_its_epistemic_part_alone_is_estimated() -> None:
    task = task_on(continuous(200))
    draws = Draws(torch.randn(6, 5, 3, generator=generator(0)))
    answer = task.answer(draws)
    assert answer.labels == ("mu0", "mu1", "effect")
    assert torch.allclose(answer.mean[..., 2], task.sd * (draws.value[..., 1] - draws.value[..., 0]).double())
    split = decompose(answer.mean.numpy(), answer.variance.detach().numpy(), answer.form, answer.exclusive)
    assert np.isfinite(split.epistemic).all()
    assert np.isfinite(split.total[:, :2]).all()
    assert np.isnan(split.total[:, 2]).all()


def test_confounding_by_the_inputs_is_removed_and_the_effect_recovered() -> None:
    n = 6000
    rng = np.random.default_rng(0)
    x = rng.standard_normal(n)
    treated = rng.random(n) < 1 / (1 + np.exp(-1.5 * x))
    y = 50 + 6 * x - treated * (4 + 2 * x) + 3 * rng.standard_normal(n)
    table = sample_outcomes("treatment_effect", n=n, seed=0).table.with_columns(
        outcome=pl.Series(y), observed=True, weight=1.0, treatment=pl.Series(treated.astype(np.int64))
    )
    outcomes = TargetTable("treatment_effect", table)
    assert y[treated].mean() - y[~treated].mean() > 0  # the naive comparison has the wrong sign
    task, target, z = task_on(outcomes), target_of(outcomes), torch.tensor(x, dtype=torch.float32)[:, None]
    head = PointHead(d_in=1, n_params=3, bias=task.start(), layers=0, prior_scale=10.0, bias_scale=10.0)
    optimizer = torch.optim.LBFGS([*head.parameters(), *task.parameters()], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task.loss(head(z, n_draws=1, seed=0), target).mean() + (head.penalty() + task.penalty()) / n
        loss.backward()
        return loss

    optimizer.step(closure)
    draws = Draws(head(z, n_draws=1, seed=0).value.detach())
    effect = task.answer(draws).mean[0, :, 2].numpy()
    assert effect.mean() == pytest.approx(-(4 + 2 * x).mean(), abs=0.3)
    assert np.abs(effect + 4 + 2 * x).max() < 1.5
    assert float(task.answer(draws).variance[0, 0, 0].detach()) ** 0.5 == pytest.approx(3, rel=0.05)
    propensity = task.propensity(draws)[0].numpy()
    assert np.abs(propensity - 1 / (1 + np.exp(-1.5 * x))).max() < 0.05


def test_one_arm_only_and_a_third_arm_are_refused_with_the_counts() -> None:
    outcomes = sample_outcomes("treatment_effect", n=30, seed=0)
    for treatment, found in ((pl.lit(1), "treatment 0: 0, treatment 1: "), (pl.int_range(pl.len()) % 3, "treatment 2: ")):
        with pytest.raises(UserError, match=found):
            task_on(TargetTable("treatment_effect", outcomes.table.with_columns(treatment=treatment)))


def test_a_target_of_kind_binary_with_a_treatment_is_taken_as_one() -> None:
    outcomes = sample_outcomes("treatment_effect", n=80, seed=0)
    assert task_on(TargetTable("binary", outcomes.table)).outcome.kind == "binary"
    assert task_on(continuous(80)).outcome.kind == "continuous"
    assert math.isfinite(float(task_on(continuous(80)).penalty().detach()))

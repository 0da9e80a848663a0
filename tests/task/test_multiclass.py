from __future__ import annotations

import polars as pl
import pytest
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.task.multiclass import MulticlassTask
from equipoise.testing.task_laws import sample_outcomes, target_of


def task_on(outcomes: TargetTable) -> MulticlassTask:
    task = MulticlassTask(target="severity")
    task.setup(outcomes)
    return task


def test_the_loss_is_the_categorical_likelihood_of_torch() -> None:
    outcomes = sample_outcomes("multiclass", n=50, seed=0)
    target = target_of(outcomes)
    draws = torch.randn(4, 50, 3, generator=generator(0))
    y = torch.where(target.observed, target.outcome, 0.0)
    expected = -torch.distributions.Categorical(logits=draws).log_prob(y.expand(4, -1)).mean(0) * target.weight * target.observed
    assert torch.allclose(task_on(outcomes).loss(Draws(draws), target), expected, atol=1e-6)


def test_the_hessian_is_the_second_derivative_of_the_loss() -> None:
    outcomes = sample_outcomes("multiclass", n=1, seed=0)
    outcomes = TargetTable("multiclass", outcomes.table.with_columns(outcome=1.0, observed=True, weight=1.0), outcomes.classes)
    task = MulticlassTask(target="severity")
    task.load_state({"classes": ["a", "b", "c"], "shares": [0.2, 0.3, 0.5]})
    logits = torch.randn(3, generator=generator(1))
    expected = torch.autograd.functional.hessian(lambda x: task.loss(Draws(x[None, None]), target_of(outcomes)).sum(), logits)
    assert torch.allclose(task.hessian(logits[None])[0], expected, atol=1e-6)


def test_a_class_that_the_train_rows_lack_starts_rare_and_possible() -> None:
    outcomes = sample_outcomes("multiclass", n=300, seed=0)
    task = task_on(TargetTable("multiclass", outcomes.table, (*outcomes.classes, "fatal")))
    share = torch.softmax(task.start(), 0)
    assert 0 < share[3] < 0.01
    assert task.question("t", ()).labels == ("mild", "moderate", "severe", "fatal")


def test_a_class_number_outside_the_list_is_refused() -> None:
    outcomes = sample_outcomes("multiclass", n=60, seed=0)
    wrong = TargetTable("multiclass", outcomes.table.with_columns(outcome=pl.col("outcome") + 1), outcomes.classes)
    with pytest.raises(UserError, match="class number from 0 to 2"):
        task_on(wrong)
    with pytest.raises(UserError, match="class number from 0 to 2"):
        task_on(outcomes).loss(Draws(torch.zeros(1, 60, 3)), target_of(wrong))


def test_a_target_without_class_names_is_refused() -> None:
    with pytest.raises(UserError, match="names no classes"):
        task_on(TargetTable("multiclass", sample_outcomes("multiclass", n=30, seed=0).table))

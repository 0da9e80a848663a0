"""Laws of tasks. A package with a task of its own inherits `TaskLaws` and overrides the fixture ``node``, and `outcomes` for a new kind."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from equipoise.cohort.draft import TargetTable
from equipoise.contract.counter import numpy_stream
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.tables import TARGET
from equipoise.contract.tensors import Draws, Target, generator
from equipoise.task import Task
from equipoise.testing.discovery import options

KINDS = ("binary", "multiclass", "continuous", "time_to_event", "treatment_effect", "survival_effect")


class TaskLaws:
    """Draws -> loss and answer; finite on any batch; nothing where the outcome is not observed; what setup learns is in the state."""

    @pytest.fixture(params=sorted(options("task")))
    def node(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        """The config node of one task."""
        return options("task")[request.param]

    @pytest.fixture
    def train(self, node: dict[str, Any]) -> TargetTable:
        return self.outcomes(kind_for(node))

    @pytest.fixture
    def task(self, node: dict[str, Any], train: TargetTable) -> Task:
        task = new_task(node)
        task.setup(train)
        return task

    def outcomes(self, kind: str) -> TargetTable:
        """400 rows that fit the task."""
        return sample_outcomes(kind, n=400, seed=0)

    def test_the_parameters_start_at_finite_numbers(self, task: Task) -> None:
        assert task.start().shape == (task.n_params,)
        assert task.start().dtype == torch.float32
        assert torch.isfinite(task.start()).all()

    def test_the_start_predicts_the_base_rate(self, task: Task, train: TargetTable) -> None:
        base = task.start().requires_grad_()
        target = replace(target_of(train), pseudo=torch.full((train.table.height,), math.nan))  # base rates are those of the outcome
        task.loss(Draws(base.expand(1, train.table.height, -1)), target).sum().backward()
        assert base.grad is not None
        assert base.grad.abs().max() <= 0.01 * train.table.height

    def test_losses_are_finite_and_zero_where_the_outcome_is_not_observed(self, task: Task, train: TargetTable) -> None:
        target = target_of(train)
        draws = random_draws(task, train.table.height)
        draws.value.requires_grad_()
        loss = task.loss(draws, target)
        assert loss.shape == (train.table.height,)
        assert torch.isfinite(loss).all()
        assert (~target.observed).any()
        assert (loss[~target.observed] == 0).all()
        loss.sum().backward()
        assert draws.value.grad is not None
        assert torch.isfinite(draws.value.grad).all()
        assert (draws.value.grad[:, ~target.observed] == 0).all()
        # In a batch loss a row that was never at risk with an event teaches nothing.
        teaches = loss != 0 if task.batch_loss else target.observed
        assert (draws.value.grad[:, teaches] != 0).any(dim=2).all()

    def test_extreme_parameters_give_finite_losses(self, task: Task, train: TargetTable) -> None:
        for extreme in (-30.0, 30.0):
            loss = task.loss(Draws(torch.full((1, train.table.height, task.n_params), extreme)), target_of(train))
            assert torch.isfinite(loss).all()

    def test_analysis_weights_multiply_the_loss(self, task: Task, train: TargetTable) -> None:
        draws = random_draws(task, train.table.height)
        doubled = TargetTable(train.kind, train.table.with_columns(weight=pl.col("weight") * 2), train.classes, train.unit)
        assert torch.allclose(2 * task.loss(draws, target_of(train)), task.loss(draws, target_of(doubled)))

    def test_the_loss_is_the_mean_over_draws_and_each_row_is_its_own(self, task: Task, train: TargetTable) -> None:
        draws, target = random_draws(task, train.table.height), target_of(train)
        each = torch.stack([task.loss(Draws(value[None]), target) for value in draws.value])
        assert torch.allclose(each.mean(0), task.loss(draws, target), atol=1e-5)
        order = torch.randperm(train.table.height, generator=generator(1))
        permuted = target_of(TargetTable(train.kind, train.table[order.numpy()], train.classes, train.unit))
        assert torch.allclose(task.loss(Draws(draws.value[:, order]), permuted), task.loss(draws, target)[order], atol=1e-5 if task.batch_loss else 1e-6)
        half = target_of(TargetTable(train.kind, train.table[:200], train.classes, train.unit))
        alone = torch.allclose(task.loss(Draws(draws.value[:, :200]), half), task.loss(draws, target)[:200], atol=1e-5)
        assert alone != task.batch_loss, "a task says by batch_loss whether a row's loss depends on other rows"

    def test_select_rows_are_scored_as_losses_are(self, task: Task, train: TargetTable) -> None:
        draws, target = random_draws(task, train.table.height), target_of(train)
        score = task.score(draws, target)
        assert score.shape == (train.table.height,)
        assert torch.isfinite(score).all()
        assert (score[~target.observed] == 0).all()

    def test_a_batch_of_one_class_or_without_outcomes_or_all_censored_has_a_finite_loss(self, task: Task, train: TargetTable) -> None:
        t = train.table
        event = pl.col("event")
        for table in (
            t.filter(pl.col("observed") & (event <= 0)) if (t["event"] > 0).any() else t.filter(pl.col("outcome") == t["outcome"].drop_nans().min()),
            t.filter(~pl.col("observed")),
            t[:0],
        ):
            loss = task.loss(random_draws(task, table.height), target_of(TargetTable(train.kind, table, train.classes, train.unit)))
            assert loss.shape == (table.height,)
            assert torch.isfinite(loss).all()

    def test_the_answer_has_the_labels_of_the_question(self, task: Task) -> None:
        answer, question = task.answer(random_draws(task, 9)), task.question("name", ("ehr", "genotype"))
        assert (question.task, question.target, question.kind, question.evidences) == ("name", task.target, task.kind, ("ehr", "genotype"))
        assert answer.labels == question.labels
        assert answer.mean.shape == answer.variance.shape == (3, 9, len(answer.labels))
        assert len(answer.form) == len(answer.labels)
        assert torch.isfinite(answer.mean).all()
        assert not (answer.variance < 0).any()
        for i, form in enumerate(answer.form):
            if form == "entropy":
                p = answer.mean[..., i]
                assert ((p >= 0) & (p <= 1)).all()
                assert torch.allclose(answer.variance[..., i], p * (1 - p))
        if answer.exclusive:
            assert torch.allclose(answer.mean.sum(-1), torch.ones(3, 9, dtype=answer.mean.dtype))

    def test_propensities_are_probabilities_where_the_task_models_them(self, task: Task) -> None:
        propensity = task.propensity(random_draws(task, 9))
        if propensity is not None:
            assert propensity.shape == (3, 9)
            assert ((propensity > 0) & (propensity < 1)).all()

    def test_the_hessian_is_symmetric_and_not_negative_where_there_is_one(self, task: Task) -> None:
        params = random_draws(task, 9).value[0]
        try:
            hessian = task.hessian(params)
        except NotImplementedError:
            return
        assert hessian.shape == (9, task.n_params, task.n_params)
        assert torch.allclose(hessian, hessian.mT)
        assert (torch.linalg.eigvalsh(hessian.double()) > -1e-6).all()

    def test_a_loaded_task_needs_no_cohort(self, node: dict[str, Any], task: Task, train: TargetTable) -> None:
        fresh = new_task(node)
        fresh.load_state(json.loads(json.dumps(task.state())))
        fresh.load_state_dict(task.state_dict())
        draws, target = random_draws(task, train.table.height), target_of(train)
        assert torch.equal(fresh.loss(draws, target), task.loss(draws, target))
        assert torch.equal(fresh.answer(draws).mean, task.answer(draws).mean)
        assert torch.equal(fresh.start(), task.start())
        assert fresh.question("name", ()) == task.question("name", ())

    def test_gradients_reach_the_tasks_own_parameters(self, task: Task, train: TargetTable) -> None:
        draws = random_draws(task, train.table.height)
        draws.value.requires_grad_()
        assert task.penalty().shape == ()
        (task.loss(draws, target_of(train)).sum() + task.penalty()).backward()
        assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) and bool((p.grad != 0).any()) for p in task.parameters())

    def test_setup_refuses_rows_without_an_observed_outcome_with_the_count(self, node: dict[str, Any], train: TargetTable) -> None:
        table = train.table.with_columns(observed=pl.lit(False), outcome=math.nan)
        with pytest.raises(UserError, match=r"no observed outcome.*0 of 400"):
            new_task(node).setup(TargetTable(train.kind, table, train.classes, train.unit))

    def test_setup_refuses_an_outcome_that_does_not_vary(self, node: dict[str, Any], train: TargetTable) -> None:
        table = train.table.with_columns(outcome=pl.lit(1.0), event=pl.min_horizontal("event", pl.lit(0)))
        with pytest.raises(UserError, match=r"\d"):
            new_task(node).setup(TargetTable(train.kind, table, train.classes, train.unit))

    def test_setup_refuses_another_kind_of_outcome(self, node: dict[str, Any], train: TargetTable) -> None:
        with pytest.raises(UserError, match="is of kind 'something'"):
            new_task(node).setup(TargetTable("something", train.table, train.classes, train.unit))


def new_task(node: dict[str, Any]) -> Task:
    """A task from its config node, before setup."""
    made = make(node)
    assert isinstance(made, Task)
    return made


def kind_for(node: dict[str, Any]) -> str:
    """The kind of `sample_outcomes` that a task's config node can read."""
    task = new_task(node)
    return "survival_effect" if task.kind == "treatment_effect" and node.get("horizon_days") is not None else task.kind


def random_draws(task: Task, n_rows: int, n_draws: int = 3) -> Draws:
    """Parameters around the task's start."""
    return Draws(task.start() + torch.randn(n_draws, n_rows, task.n_params, generator=generator(7)))


def target_of(outcomes: TargetTable) -> Target:
    """A whole table as a batch's target."""
    t = outcomes.table

    def column(name: str, dtype: torch.dtype) -> Tensor:
        return torch.tensor(t[name].to_numpy(), dtype=dtype)

    floats = {name: column(name, torch.float32) for name in ("outcome", "time_days", "entry_days", "weight")}
    integers = {name: column(name, torch.int64) for name in ("event", "treatment")}
    pseudo = _weighted_difference(floats["outcome"], integers["treatment"])
    return Target(observed=column("observed", torch.bool), pseudo=pseudo, pseudo_weight=torch.ones(t.height), **floats, **integers)


def _weighted_difference(outcome: Tensor, treatment: Tensor) -> Tensor:
    """A pseudo-outcome of a trial with equal arms, NaN where the outcome is not observed or nobody was treated: (2 a - 1) 2 y."""
    return torch.where(treatment >= 0, (4 * treatment - 2) * outcome, math.nan)


def sample_outcomes(kind: str, *, n: int, seed: int, x: np.ndarray | None = None) -> TargetTable:
    """Outcomes of a kind: one in ten not observed, weights of 0.5 to 1.5; all depend on the state ``x``.

    Args:
        kind: one of `KINDS`.
        n: rows.
        seed: of everything.
        x: f64 (n,), or None for a standard normal.
    """
    rng = numpy_stream("sample-outcomes", seed)
    x = rng.standard_normal(n) if x is None else x
    columns: dict[str, Any] = {
        "outcome": np.full(n, math.nan),
        "observed": rng.random(n) < 0.9,
        "time_days": np.full(n, math.nan),
        "event": np.full(n, -1),
        "entry_days": np.zeros(n),
        "treatment": np.full(n, -1),
        "weight": rng.uniform(0.5, 1.5, n),
    }
    classes: tuple[str, ...] = ()
    match kind:
        case "binary":
            columns["outcome"] = rng.random(n) < 1 / (1 + np.exp(1.0 - x))
        case "multiclass":
            columns["outcome"] = np.digitize(x + rng.standard_normal(n), (-0.5, 1.0))
            classes = ("mild", "moderate", "severe")
        case "continuous":
            # Whole numbers, so that a count of events is served too.
            columns["outcome"] = np.round(1200 + 150 * x + 100 * rng.standard_normal(n))
        case "time_to_event":
            latent = np.stack([rng.uniform(100, 1500, n), rng.exponential(600 * np.exp(-0.5 * x)), rng.exponential(1800, n)])
            columns["event"], columns["time_days"] = latent.argmin(0), latent.min(0)
            columns["entry_days"] = np.where(rng.random(n) < 0.2, rng.uniform(0, 0.9, n) * columns["time_days"], 0.0)
            columns["outcome"] = columns["event"] > 0
        case "treatment_effect":
            columns["treatment"] = (rng.random(n) < 1 / (1 + np.exp(-0.5 * x))).astype(int)
            columns["outcome"] = rng.random(n) < 1 / (1 + np.exp(0.5 - x + 0.8 * columns["treatment"]))
        case "survival_effect":
            columns["treatment"] = (rng.random(n) < 1 / (1 + np.exp(-0.5 * x))).astype(int)
            slower = 1 + 0.8 * columns["treatment"]
            latent = np.stack([rng.uniform(100, 1500, n), rng.exponential(600 * slower * np.exp(-0.5 * x)), rng.exponential(1800, n)])
            columns["event"], columns["time_days"] = latent.argmin(0), latent.min(0)
            columns["outcome"] = columns["event"] > 0
        case _:
            raise ValueError(f"no outcomes of kind {kind!r}; kinds are {KINDS}")
    columns["outcome"] = np.where(columns["observed"], columns["outcome"], math.nan)
    told = "treatment_effect" if kind == "survival_effect" else kind
    return TargetTable(told, pl.DataFrame(columns).select([pl.col(k).cast(v) for k, v in TARGET.items()]), classes)

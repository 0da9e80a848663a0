"""Effects on a time to event: each arm's discrete hazards, read as risks by a horizon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.targets import target_table
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.stats.survival import aalen_johansen
from equipoise.task.arms import ArmsTask
from equipoise.task.time_to_event import TimeToEventTask
from equipoise.testing.discovery import options
from equipoise.testing.task_laws import new_task, sample_outcomes, target_of
from task.effects_for_tests import linear_answer

OPTIONS = ("treatment_effect_survival", "tarnet_survival", "dragonnet_survival", "effect_learner_survival")


def task_on(outcomes: TargetTable, option: str = "treatment_effect_survival", **changed: Any) -> ArmsTask:
    task = new_task({**options("task")[option], **changed})
    assert isinstance(task, ArmsTask)
    task.setup(outcomes)
    return task


@pytest.mark.parametrize("arm", [0, 1])
def test_an_arms_likelihood_and_risk_are_those_of_the_time_to_event_task(arm: int) -> None:
    outcomes = sample_outcomes("survival_effect", n=300, seed=0)
    task = task_on(outcomes, propensity_weight=0.0, n_intervals=6)
    alone = TimeToEventTask(target="given", n_intervals=6, horizons_days=[365.0])
    alone.setup(TargetTable("time_to_event", outcomes.table))
    own = TargetTable("treatment_effect", outcomes.table.filter(pl.col("treatment") == arm))
    k = alone.n_params
    assert task.n_params == 2 * k + 1
    value = torch.randn(3, own.table.height, 2 * k + 1, generator=generator(0))
    received = Draws(value[..., arm * k : (arm + 1) * k])
    assert torch.allclose(task.loss(Draws(value), target_of(own)), alone.loss(received, target_of(own)), atol=1e-5)
    assert torch.allclose(task.answer(Draws(value)).mean[..., arm], alone.answer(received).mean[..., 0])
    assert task.question("t", ()).horizons_days == (365.0,)


@pytest.mark.parametrize("option", OPTIONS)
def test_it_starts_at_each_arms_aalen_johansen(option: str) -> None:
    """Near the base rates of 4,000 rows, each arm's start is its incidence by the horizon."""
    outcomes = sample_outcomes("survival_effect", n=4000, seed=1)
    outcomes = TargetTable(outcomes.kind, outcomes.table.with_columns(weight=pl.lit(1.0)).filter("observed"))
    task = task_on(outcomes, option, n_intervals=40)
    answer = task.answer(Draws(task.start()[None, None])).mean[0, 0].detach().numpy()
    for arm in (0, 1):
        own = outcomes.table.filter(pl.col("treatment") == arm)
        curve = aalen_johansen(own["time_days"].to_numpy(), own["event"].to_numpy(), 1).at(np.array([365.0]))
        assert answer[arm] == pytest.approx(float(curve[0]), abs=0.01)
    assert answer[2] == pytest.approx(answer[1] - answer[0])


@pytest.mark.parametrize("option", OPTIONS)
def test_a_known_effect_under_confounding_and_censoring_is_recovered(option: str) -> None:
    """Exponential times with rate exp(.5 x - .8 a), treatment by x, censoring at random; the network is a line in x."""
    rng = np.random.default_rng(0)
    n, x = 8000, rng.standard_normal(8000)
    e = 1 / (1 + np.exp(-x))
    a = (rng.random(n) < e).astype(np.int64)
    rates = [np.exp(0.5 * x - 0.8 * arm) / 500 for arm in (0, 1)]
    time, left = rng.exponential(1 / np.where(a == 1, rates[1], rates[0])), rng.exponential(900, n)
    columns = {"time_days": np.minimum(time, left), "event": (time <= left).astype(np.int64), "treatment": a}
    outcomes = TargetTable("treatment_effect", target_table((time <= left).astype(float), **columns))
    risk = [1 - np.exp(-rate * 300) for rate in rates]
    target = target_of(outcomes)
    # What cross-fitting would give where it knows the truth: status by the horizon, weighted by the true distribution of censoring.
    known = (time <= np.minimum(left, 300)) | ((left >= 300) & (time > 300))
    weight = known / np.exp(-np.minimum(time, 300) / 900)
    y = np.where(a == 1, risk[1], risk[0])
    y = y + weight * ((time <= 300) - y)
    pseudo = risk[1] - risk[0] + (a - e) / (e * (1 - e)) * (y - np.where(a == 1, risk[1], risk[0]))
    target = replace(target, pseudo=torch.tensor(pseudo, dtype=torch.float32))
    task = task_on(outcomes, option, horizon_days=300, n_intervals=8, **({"width": 8} if "tarnet" in option else {}))
    made = linear_answer(task, target, x, max_iter=100, start=generator(1))[0].numpy()
    truth = risk[1] - risk[0]
    assert made[:, 2].mean() == pytest.approx(truth.mean(), abs=0.015)
    # tau is a line in x, the truth is curved: only the arms' own difference can follow it closely.
    assert np.sqrt(np.mean((made[:, 2] - truth) ** 2)) < (0.06 if option.startswith("effect_learner") else 0.03)
    assert np.abs(made[:, 0] - risk[0]).mean() < 0.03
    crude = [1 - np.exp(-(columns["event"][a == arm].sum() / columns["time_days"][a == arm].sum()) * 300) for arm in (0, 1)]
    assert abs((crude[1] - crude[0]) - truth.mean()) > 0.05


def test_a_row_censored_before_the_horizon_still_teaches_its_arm() -> None:
    outcomes = sample_outcomes("survival_effect", n=200, seed=0)
    early = outcomes.table.with_columns(event=pl.lit(0), time_days=pl.lit(50.0), entry_days=pl.lit(0.0)).filter("observed")
    value = torch.zeros(1, early.height, task_on(outcomes).n_params, requires_grad=True)
    task_on(outcomes).loss(Draws(value), target_of(TargetTable("treatment_effect", early))).sum().backward()
    assert value.grad is not None
    assert (value.grad[..., :-1] != 0).any(-1).all()


def without_times(n: int) -> TargetTable:
    return sample_outcomes("treatment_effect", n=n, seed=0)


@pytest.mark.parametrize(
    ("option", "outcomes", "changed", "said"),
    [
        ("treatment_effect", "survival_effect", {}, "has no horizon"),
        ("dragonnet", "survival_effect", {}, "has no horizon"),
        ("tarnet_survival", "treatment_effect", {}, "the outcome has no times"),
        ("tarnet_survival", "survival_effect", {"horizon_days": 1e6}, "cannot be answered"),
        ("tarnet_survival", "survival_effect", {"horizon_days": -3.0}, "above 0"),
        ("tarnet_survival", "survival_effect", {"n_intervals": 0}, "at least 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(option: str, outcomes: str, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        task_on(sample_outcomes(outcomes, n=200, seed=0), option, **changed)


def test_an_arm_without_an_event_has_a_small_risk_and_a_finite_loss() -> None:
    outcomes = sample_outcomes("survival_effect", n=300, seed=0)
    none = pl.when(pl.col("treatment") == 1).then(0).otherwise(pl.col("event"))
    outcomes = TargetTable("treatment_effect", outcomes.table.with_columns(event=none))
    task = task_on(outcomes)
    draws = Draws(task.start().expand(1, 300, -1))
    assert torch.isfinite(task.loss(draws, target_of(outcomes))).all()
    assert 0 <= float(task.answer(draws).mean[0, 0, 1].detach()) < 0.05

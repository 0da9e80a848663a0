from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, Target, generator
from equipoise.stats.aipw import doubly_robust_scores
from equipoise.stats.pseudo_outcomes import effect_loss, pseudo_outcomes
from equipoise.task.effect_learner import EffectLearnerTask
from equipoise.testing.task_laws import sample_outcomes, target_of
from task.effects_for_tests import arms_of, linear_answer


def task_on(outcomes: TargetTable, learner: str = "dr", **changed: Any) -> EffectLearnerTask:
    chosen: dict[str, Any] = {"target": "response", "learner": learner, "propensity_weight": 1.0, "effect_weight": 1.0, "log_sigma_scale": 1.0}
    chosen |= {"horizon_days": None, "n_intervals": 1}
    task = EffectLearnerTask(**{**chosen, **changed})
    task.setup(outcomes)
    return task


def continuous(n: int) -> tuple[TargetTable, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    treated, outcome = rng.random(n) < 0.4, np.round(rng.normal(50, 10, n), 3)
    return arms_of(outcome, treated), outcome, treated


def test_the_effects_error_is_the_weighted_squared_distance_from_the_pseudo_outcome() -> None:
    outcomes, _, _ = continuous(80)
    task, target = task_on(outcomes, "r", effect_weight=0.7), target_of(outcomes)
    given = replace(target, pseudo_weight=torch.rand(80, generator=generator(1)))
    nothing = replace(target, pseudo=torch.full((80,), torch.nan))
    draws = Draws(torch.randn(3, 80, 4, generator=generator(0)))
    expected = 0.7 * 0.5 * given.pseudo_weight * ((given.pseudo - task.effect_of(draws.value)) / task.sd).square().mean(0)
    assert torch.allclose(task.loss(draws, given) - task.loss(draws, nothing), expected, rtol=1e-4, atol=1e-5)


def test_given_pseudo_outcomes_are_used_and_reach_the_effect_alone() -> None:
    outcomes, _, _ = continuous(60)
    task, target = task_on(outcomes), replace(target_of(outcomes), pseudo=torch.full((60,), torch.nan))
    given = replace(target, pseudo=torch.where(torch.arange(60) < 30, 5.0, torch.nan))
    value = torch.randn(1, 60, 4, generator=generator(0)).requires_grad_()
    (task.loss(Draws(value), given) - task.loss(Draws(value), target)).sum().backward()
    assert value.grad is not None
    assert (value.grad[0, :, :3] == 0).all()
    assert (value.grad[0, 30:] == 0).all()
    assert (value.grad[0, :30, 3] != 0).all()


def simulated(n: int, seed: int) -> tuple[TargetTable, np.ndarray, np.ndarray]:
    """Outcome exp(x) + a (1 + x) + noise, treatment by x; the network below is a line, so its outcome regressions are wrong."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    e = 1 / (1 + np.exp(-x))
    treated = rng.random(n) < e
    outcome = np.exp(x) + treated * (1 + x) + 0.5 * rng.standard_normal(n)
    mu0 = np.exp(x)
    # Nuisances known apart from the network: the true propensity, and an outcome regression that is wrong by a constant.
    pseudo = doubly_robust_scores(outcome, treated, mu0 + 0.3, mu0 + 1 + x + 0.3, e)
    return arms_of(outcome, treated), x, pseudo


def learnt_effect(task: EffectLearnerTask, target: Target, x: np.ndarray) -> np.ndarray:
    return linear_answer(task, target, x, max_iter=100)[0].numpy()


def test_cross_fitted_pseudo_outcomes_give_the_effect_where_the_networks_own_outcome_is_wrong() -> None:
    outcomes, x, pseudo = simulated(6000, 1)
    task = task_on(outcomes)
    made = learnt_effect(task, replace(target_of(outcomes), pseudo=torch.tensor(pseudo, dtype=torch.float32)), x)
    off_effect, off_arms = np.abs(made[:, 2] - 1 - x).mean(), np.abs(made[:, 1] - made[:, 0] - 1 - x).mean()
    assert off_effect < 0.15
    assert off_arms > 2 * off_effect


def test_select_rows_choose_by_the_effect_and_not_by_the_fit_of_the_outcome() -> None:
    """The better effect stands on the worse outcome: likelihood prefers one, R- and DR-loss the other."""
    outcomes, x, _ = simulated(2000, 2)
    task, target = task_on(outcomes), target_of(outcomes)
    mu0, right, wrong, e = np.exp(x), 1 + x, 1 - x, 1 / (1 + np.exp(-x))
    outcome, treated = (outcomes.table[k].to_numpy() for k in ("outcome", "treatment"))

    def draws(arms: np.ndarray, effect: np.ndarray) -> Draws:
        arms = (np.stack([arms, arms + right], 1) - task.outcome.centre) / task.sd
        return Draws(torch.tensor(np.column_stack([arms, x, effect / task.sd]))[None])

    good, bad = draws(mu0 + 3.0, right), draws(mu0, wrong)
    alone = replace(target, pseudo=torch.full((2000,), torch.nan))
    assert float(task.loss(good, alone).mean().detach()) > float(task.loss(bad, alone).mean().detach())
    for by in ("r", "dr"):
        made = pseudo_outcomes(by, outcome, treated, mu0 + 0.3, mu0 + 1.3 + x, e)
        judged = replace(target, **{k: torch.tensor(v, dtype=torch.float32) for k, v in (("pseudo", made.value), ("pseudo_weight", made.weight))})
        with torch.no_grad():
            assert float(task.score(good, judged).mean()) < float(task.score(bad, judged).mean()), by
            expected = 0.5 * effect_loss(made, right, np.ones(2000)) / task.sd**2
            assert float(task.score(good, judged).mean()) == pytest.approx(expected, rel=1e-4)
        assert (task.score(good, alone) == 0).all()
        assert not task.scored(alone).any()


def test_draws_are_averaged_before_they_are_judged() -> None:
    outcomes, _, _ = continuous(50)
    task, target = task_on(outcomes), target_of(outcomes)
    value = torch.randn(7, 50, 4, generator=generator(3))
    mean = value.clone()
    mean[..., 3] = value[..., 3].mean(0)
    assert torch.allclose(task.score(Draws(value), target), task.score(Draws(mean), target), atol=1e-5)


def test_an_unknown_learner_is_refused() -> None:
    with pytest.raises(UserError, match="dr or r"):
        task_on(sample_outcomes("treatment_effect", n=50, seed=0), learner="x")

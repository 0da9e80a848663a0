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
from equipoise.task.effect_learner import EffectLearnerTask
from equipoise.testing.task_laws import sample_outcomes, target_of
from task.effects_for_tests import arms_of, linear_answer


def task_on(outcomes: TargetTable, learner: str = "dr", **changed: Any) -> EffectLearnerTask:
    chosen: dict[str, Any] = {"target": "response", "learner": learner, "propensity_weight": 1.0, "effect_weight": 1.0, "clip": 0.02, "log_sigma_scale": 1.0}
    task = EffectLearnerTask(**{**chosen, **changed})
    task.setup(outcomes)
    return task


def continuous(n: int) -> tuple[TargetTable, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    treated, outcome = rng.random(n) < 0.4, np.round(rng.normal(50, 10, n), 3)
    return arms_of(outcome, treated), outcome, treated


def test_the_pseudo_outcome_is_the_doubly_robust_score_of_stats_on_the_same_nuisances() -> None:
    outcomes, outcome, treated = continuous(80)
    task, target = task_on(outcomes), target_of(outcomes)
    value = torch.randn(1, 80, 4, generator=generator(0), dtype=torch.float64)
    pseudo, weight = task.pseudo(value, task.received(target))
    answer, e = task.answer(Draws(value)).mean[0].detach().numpy(), task.propensity(Draws(value))[0].numpy()
    assert (weight == 1).all()
    assert pseudo[0].numpy() == pytest.approx(doubly_robust_scores(outcome, treated, answer[:, 0], answer[:, 1], e), abs=2e-4)


def test_the_r_learners_error_is_that_of_robinsons_residuals() -> None:
    outcomes, outcome, treated = continuous(80)
    task, target = task_on(outcomes, "r"), target_of(outcomes)
    value = torch.randn(1, 80, 4, generator=generator(0), dtype=torch.float64)
    pseudo, weight = task.pseudo(value, task.received(target))
    answer, e = task.answer(Draws(value)).mean[0].detach().numpy(), task.propensity(Draws(value))[0].numpy()
    m = (1 - e) * answer[:, 0] + e * answer[:, 1]
    expected = (outcome - m - (treated - e) * answer[:, 2]) ** 2
    assert (weight * (pseudo - task.effect_of(value)).square())[0].numpy() == pytest.approx(expected, rel=1e-4)


def test_given_pseudo_outcomes_are_used_and_reach_the_effect_alone() -> None:
    outcomes, _, _ = continuous(60)
    task, target = task_on(outcomes), target_of(outcomes)
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
    outcomes, x, pseudo = simulated(2000, 2)
    task, target = task_on(outcomes), target_of(outcomes)
    mu0, right, wrong = np.exp(x), 1 + x, 1 - x

    def draws(arms: np.ndarray, effect: np.ndarray) -> Draws:
        arms = (np.stack([arms, arms + effect], 1) - task.mean) / task.sd
        return Draws(torch.tensor(np.column_stack([arms, x, effect / task.sd]))[None])

    good, bad = draws(mu0 + 3.0, right), draws(mu0, wrong)  # the better effect stands on the worse outcome
    bad = Draws(torch.cat([draws(mu0, right).value[..., :3], bad.value[..., 3:]], -1))
    judged = replace(target, pseudo=torch.tensor(pseudo, dtype=torch.float32))
    with torch.no_grad():
        assert float(task.score(good, judged).mean()) < float(task.score(bad, judged).mean())
        assert float(task.score(good, target).mean()) > float(task.score(bad, target).mean())
        expected = 0.5 * np.mean((pseudo - right) ** 2) / task.sd**2
        assert float(task.score(good, judged).mean()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("changed", [{"learner": "x"}, {"clip": 0.0}, {"clip": 0.7}])
def test_impossible_settings_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="dr or r"):
        task_on(sample_outcomes("treatment_effect", n=50, seed=0), **changed)

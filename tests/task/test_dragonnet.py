from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.head.point import PointHead
from equipoise.stats.aipw import doubly_robust_scores
from equipoise.task.arms import ArmsTask
from equipoise.task.dragonnet import DragonNetTask
from equipoise.task.treatment_effect import TreatmentEffectTask
from equipoise.testing.task_laws import sample_outcomes, target_of
from task.effects_for_tests import arms_of

CHOICES = {"target": "response", "propensity_weight": 1.0, "log_sigma_scale": 1.0, "horizon_days": None, "n_intervals": 1}


def task_on(outcomes: TargetTable, **changed: Any) -> DragonNetTask:
    task = DragonNetTask(**{**CHOICES, "targeted_weight": 1.0, "clip": 0.01, "epsilon_scale": 1.0, **changed})
    task.setup(outcomes)
    return task


def minimise(loss: Any, parameters: list[torch.Tensor]) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value: torch.Tensor = loss()
        value.backward()
        return value

    optimizer.step(closure)


@pytest.mark.parametrize("binary", [True, False])
def test_at_the_best_epsilon_the_mean_effect_is_aipw_on_the_same_nuisances(binary: bool) -> None:
    rng = np.random.default_rng(0)
    treated = rng.random(500) < 0.4
    outcomes = arms_of(rng.integers(0, 2, 500) if binary else rng.normal(50, 10, 500), treated)
    task, target = task_on(outcomes, targeted_weight=1.0), target_of(outcomes)
    draws = Draws(0.5 * torch.randn(1, 500, 3, generator=generator(0), dtype=torch.float64))
    minimise(lambda: task.loss(draws, target).mean(), [task.epsilon])
    assert abs(float(task.epsilon.detach())) > 1e-3
    mean = task.answer(draws).mean[0].detach().numpy()
    propensity = task.propensity(draws)[0].numpy()
    scores = doubly_robust_scores(outcomes.table["outcome"].to_numpy(), treated, mean[:, 0], mean[:, 1], propensity)
    assert mean[:, 2].mean() == pytest.approx(scores.mean(), abs=1e-4 * (1 if binary else task.sd))


def test_the_loss_is_that_of_both_arms_and_of_the_moved_arms() -> None:
    outcomes = sample_outcomes("treatment_effect", n=60, seed=0)
    target = target_of(outcomes)
    draws = Draws(torch.randn(3, 60, 3, generator=generator(1)))
    task, plain = task_on(outcomes, targeted_weight=0.7), task_on(outcomes, targeted_weight=0.0)
    for made in (task, plain):
        torch.nn.init.constant_(made.epsilon, 0.2)
    other = TreatmentEffectTask(**CHOICES)
    other.setup(outcomes)
    assert torch.allclose(plain.loss(draws, target), other.loss(draws, target))
    e = torch.sigmoid(draws.value[..., 2])
    arm = torch.where(target.treatment == 1, draws.value[..., 1] + 0.2 / e, draws.value[..., 0] - 0.2 / (1 - e))
    y = torch.where(target.observed, target.outcome, 0.0).expand(3, -1)
    moved = -torch.distributions.Bernoulli(logits=arm).log_prob(y).mean(0) * target.weight * target.observed
    assert torch.allclose(task.loss(draws, target), other.loss(draws, target) + 0.7 * moved, atol=1e-5)


def mean_effect(task: ArmsTask, outcomes: TargetTable, x: np.ndarray) -> float:
    """Of a network that is linear in x."""
    target, z = target_of(outcomes), torch.tensor(x, dtype=torch.float32)[:, None]
    head = PointHead(d_in=1, n_params=task.n_params, bias=task.start(), layers=0, prior_scale=10.0, bias_scale=10.0)
    minimise(
        lambda: task.loss(head(z, n_draws=1, seed=0), target).mean() + (head.penalty() + task.penalty()) / len(x), [*head.parameters(), *task.parameters()]
    )
    return float(task.answer(Draws(head(z, n_draws=1, seed=0).value.detach())).mean[0, :, 2].mean().detach())


@pytest.mark.parametrize("seed", [0, 1])
def test_a_wrong_outcome_model_is_mended_by_the_propensity(seed: int) -> None:
    """The outcome is curved in x and the network a line; treatment follows x. The truth is 1."""
    rng = np.random.default_rng(seed)
    n, x = 8000, rng.standard_normal(8000)
    treated = rng.random(n) < 1 / (1 + np.exp(1 - x))
    outcomes = arms_of(x**2 + treated + 0.5 * rng.standard_normal(n), treated)
    plain = TreatmentEffectTask(**CHOICES)
    plain.setup(outcomes)
    wrong, mended = mean_effect(plain, outcomes, x), mean_effect(task_on(outcomes), outcomes, x)
    assert wrong < 0.75
    assert abs(mended - 1) < 0.5 * abs(wrong - 1)


def test_lack_of_overlap_is_warned_of_with_the_count(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = sample_outcomes("treatment_effect", n=100, seed=0)
    task, target = task_on(outcomes), target_of(outcomes)
    value = torch.zeros(2, 100, 3)
    with caplog.at_level(logging.WARNING, logger="equipoise.task"):
        task.fit(Draws(value), target)
        assert not caplog.messages
        value[:, :30, 2] = 6.0
        task.fit(Draws(value), target)
    known = int(target.observed.sum())
    assert f"{int(target.observed[:30].sum())} of {known} train rows" in caplog.messages[0]


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_an_impossible_clip_is_refused(clip: float) -> None:
    with pytest.raises(UserError, match=r"between 0 and 0\.5"):
        task_on(sample_outcomes("treatment_effect", n=50, seed=0), clip=clip)

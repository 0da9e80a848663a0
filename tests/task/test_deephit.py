from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.task.deephit import DeepHitTask
from equipoise.testing.task_laws import sample_outcomes, target_of
from task.survival_for_tests import competing, linear_fit, survival


def task_on(outcomes: TargetTable, rank_weight: float = 0.0, n_intervals: int = 6, horizons_days: list[float] | None = None) -> DeepHitTask:
    task = DeepHitTask(target="survival", n_intervals=n_intervals, rank_weight=rank_weight, sigma=0.2, horizons_days=horizons_days)
    task.setup(outcomes)
    return task


def on_the_edges(n: int, seed: int) -> TargetTable:
    """Whole days, each an edge of its own: the discrete time of DeepHit."""
    rng = np.random.default_rng(seed)
    return survival(rng.integers(1, 7, n).astype(float), rng.choice(3, n, p=[0.4, 0.35, 0.25]))


def lee(p: np.ndarray, beyond: np.ndarray, time: np.ndarray, event: np.ndarray, sigma: float) -> tuple[float, float]:
    """L1 and L2 of Lee et al. (2018), eqs. 3 to 5, by loops; each the mean over rows, L2 over all ordered pairs (as pycox takes it).

    p (n, J, C): joint probabilities; day t is interval t - 1. A pair counts where i has its event on a day before j's end, or on the day when j is censored.
    """
    n, _, n_causes = p.shape
    day = time.astype(int) - 1
    likelihood = ranking = 0.0
    for i in range(n):
        survived = beyond[i] + p[i, day[i] + 1 :].sum()
        likelihood -= math.log(p[i, day[i], event[i] - 1] if event[i] else survived)
        for c, j in itertools.product(range(n_causes), range(n)):
            if event[i] == c + 1 and (day[i] < day[j] or (day[i] == day[j] and event[j] == 0)):
                gap = p[i, : day[i] + 1, c].sum() - p[j, : day[i] + 1, c].sum()
                ranking += math.exp(-gap / sigma) / n
    return likelihood / n, ranking / n


def test_in_discrete_time_the_loss_is_that_of_lee_and_colleagues() -> None:
    outcomes = on_the_edges(60, 1)
    task, target = task_on(outcomes, rank_weight=0.7, n_intervals=100), target_of(outcomes)
    assert task.edges.tolist() == [0, 1, 2, 3, 4, 5, 6]
    draws = torch.randn(2, 60, 12, generator=generator(0), dtype=torch.float64)
    expected_score = expected_loss = 0.0
    for value in draws.numpy():
        odds = np.exp(np.column_stack([value, np.zeros(60)]))
        p = odds / odds.sum(1, keepdims=True)
        t = outcomes.table
        likelihood, ranking = lee(p[:, :-1].reshape(60, 6, 2), p[:, -1], t["time_days"].to_numpy(), t["event"].to_numpy(), 0.2)
        expected_score += likelihood / 2
        expected_loss += (likelihood + 0.7 * ranking) / 2
    assert float(task.loss(Draws(draws), target).mean()) == pytest.approx(expected_loss, rel=1e-6)
    assert float(task.score(Draws(draws), target).mean()) == pytest.approx(expected_score, rel=1e-6)


def test_inside_an_interval_the_likelihood_is_that_of_a_line_between_its_edges_given_survival_to_entry() -> None:
    outcomes = survival(np.array([10.0, 20.0, 40.0, 25.0, 35.0]), np.array([1, 2, 1, 0, 1]), np.array([0.0, 0.0, 0.0, 5.0, 15.0]))
    task = task_on(outcomes, n_intervals=3)
    assert task.edges.tolist() == [0, 10, 35, 40] or task.edges.tolist() == [0, 20, 35, 40]
    logits = torch.randn(1, 5, 6, generator=generator(1), dtype=torch.float64)
    p = torch.softmax(torch.cat([logits, torch.zeros(1, 5, 1, dtype=torch.float64)], -1), -1)[0]

    def survived(row: int, at: float) -> float:
        left = float(p[row, -1])
        for j, (a, b) in enumerate(itertools.pairwise(task.edges.tolist())):
            left += float(p[row, 2 * j : 2 * j + 2].sum()) * min(max((b - at) / (b - a), 0), 1)
        return left

    loss = task.loss(Draws(logits), target_of(outcomes))
    assert float(loss[3]) == pytest.approx(-math.log(survived(3, 25) / survived(3, 5)), rel=1e-6)
    interval = int(np.searchsorted(task.edges[1:].numpy(), 35.0))
    assert float(loss[4]) == pytest.approx(-math.log(float(p[4, 2 * interval]) / survived(4, 15)), rel=1e-6)


def test_a_pair_counts_only_while_the_other_row_is_followed() -> None:
    time, event = np.array([5.0, 9.0]), np.array([1, 1])
    early, late = (survival(time, event, np.array([0.0, entry])) for entry in (0.0, 6.0))
    draws = Draws(torch.randn(1, 2, 2, generator=generator(0)))
    with_pair, without = (task_on(o, 1.0, n_intervals=2).loss(draws, target_of(o))[0] for o in (early, late))
    assert float(without) == pytest.approx(float(task_on(late, 0.0, n_intervals=2).loss(draws, target_of(late))[0]))
    assert float(with_pair) > float(without)


def test_the_start_is_the_maximum_of_the_likelihood_and_recovers_the_risks() -> None:
    outcomes, first, second = competing(8_000, 3)
    task = task_on(outcomes, n_intervals=20, horizons_days=[100.0, 365.0, 800.0])
    rate = first + second
    truth = [first / rate * (1 - math.exp(-rate * h)) for h in task.horizons_days]
    assert task.answer(Draws(task.start()[None, None])).mean[0, 0].numpy() == pytest.approx(truth, abs=0.02)
    logits = task.start().requires_grad_()
    task.loss(Draws(logits.expand(1, outcomes.table.height, -1)), target_of(outcomes)).mean().backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-3


def test_the_ranking_pulls_a_pair_into_order() -> None:
    outcomes = survival(np.array([5.0, 9.0]), np.array([1, 0]))
    task, target = task_on(outcomes, 1.0, n_intervals=1), target_of(outcomes)
    logits = torch.zeros(1, 2, 1, requires_grad=True)
    (task.loss(Draws(logits), target) - task.score(Draws(logits), target)).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, 0] < 0 < logits.grad[0, 1, 0]


@pytest.mark.parametrize(("weight", "sigma"), [(-1.0, 0.1), (1.0, 0.0)])
def test_an_impossible_ranking_is_refused(weight: float, sigma: float) -> None:
    with pytest.raises(UserError, match="rank_weight >= 0"):
        DeepHitTask(target="survival", n_intervals=3, rank_weight=weight, sigma=sigma, horizons_days=None)


def test_all_incidences_stay_below_one() -> None:
    outcomes = sample_outcomes("time_to_event", n=200, seed=0)
    task = task_on(outcomes, horizons_days=[100.0, 400.0, 1200.0])
    risk = task.answer(Draws(3 * torch.randn(3, 50, task.n_params, generator=generator(0)))).mean
    assert (risk.diff(dim=-1) >= 0).all()
    assert (risk < 1).all()


@pytest.mark.slow
@pytest.mark.parametrize(("rank_weight", "low", "high"), [(0.0, 0.85, 1.1), (0.2, 1.2, 1.6), (1.0, 1.7, 2.4)])
def test_the_likelihood_alone_gives_calibrated_risks_and_a_ranking_draws_them_together(rank_weight: float, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    n, x = 1500, rng.standard_normal(1500)
    latent = np.stack([rng.uniform(0, 1500, n), rng.exponential(2000 * np.exp(-0.8 * x))])
    outcomes, design = survival(latent.min(0), latent.argmin(0)), np.column_stack([np.ones(n), x])
    task = DeepHitTask(target="survival", n_intervals=6, rank_weight=rank_weight, sigma=0.1, horizons_days=[500.0])
    task.setup(outcomes)
    beta = linear_fit(task, outcomes, design, max_iter=40)
    risk = task.answer(Draws(torch.tensor(design @ beta)[None])).mean[0, :, 0].numpy()
    truth = 1 - np.exp(-500 * np.exp(0.8 * x) / 2000)
    slope = np.polyfit(np.log(risk / (1 - risk)), np.log(truth / (1 - truth)), 1)[0]
    assert low < slope < high

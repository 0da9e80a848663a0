from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.contract.tensors import Draws, generator
from equipoise.task.piecewise_exponential import PiecewiseExponentialTask
from equipoise.testing.task_laws import sample_outcomes, target_of
from task.survival_for_tests import competing, linear_fit, survival


def task_on(outcomes: TargetTable, n_intervals: int = 4, horizons_days: list[float] | None = None) -> PiecewiseExponentialTask:
    task = PiecewiseExponentialTask(target="survival", n_intervals=n_intervals, horizons_days=horizons_days)
    task.setup(outcomes)
    return task


def pieces(task: PiecewiseExponentialTask, outcomes: TargetTable) -> list[tuple[int, int, float, int, float]]:
    """(row, interval, days lived in it, cause of the event in it or 0, weight), written out as a Poisson regression takes them."""
    edges, found = task.edges.tolist(), []
    # The edges are event times, so both must be rounded alike.
    for row, line in enumerate(outcomes.table.cast({"time_days": pl.Float32, "entry_days": pl.Float32}).iter_rows(named=True)):
        for j in range(len(edges) - 1):
            lived = min(line["time_days"], edges[j + 1]) - max(line["entry_days"], edges[j])
            if lived > 0:
                ends = edges[j] < line["time_days"] <= edges[j + 1]
                found.append((row, j, lived, line["event"] if ends else 0, line["weight"]))
    return found


def test_the_loss_is_that_of_poisson_counts_with_the_exposure_as_offset() -> None:
    """-log Poisson(events; days x rate) summed over pieces and causes; days^events / events! is a constant."""
    outcomes = sample_outcomes("time_to_event", n=80, seed=2)
    outcomes = TargetTable("time_to_event", outcomes.table.filter(pl.col("observed")))
    task, n = task_on(outcomes), outcomes.table.height
    value = torch.randn(2, n, 8, generator=generator(0), dtype=torch.float64) - 6
    expected = np.zeros(n)
    for row, j, days, cause, weight in pieces(task, outcomes):
        for c in (1, 2):
            for s in range(2):
                mean = days * torch.exp(value[s, row, 2 * j + c - 1])
                count = torch.tensor(float(cause == c), dtype=torch.float64)
                constant = math.log(days) if cause == c else 0.0
                expected[row] -= weight / 2 * float(torch.distributions.Poisson(mean).log_prob(count) - constant)
    assert task.loss(Draws(value), target_of(outcomes)).numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.reference
def test_a_linear_model_has_the_coefficients_of_statsmodels_poisson_regression() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    n, x = 400, rng.standard_normal((400, 2))
    latent = np.stack([rng.uniform(50, 900, n), rng.exponential(400 * np.exp(-0.6 * x[:, 0])), rng.exponential(700 * np.exp(0.5 * x[:, 1]))])
    time, event = latent.min(0), latent.argmin(0)
    outcomes = survival(time, event, np.where(rng.random(n) < 0.3, 0.5 * time, 0.0), rng.uniform(0.5, 2, n))
    task = task_on(outcomes, n_intervals=3)
    found = linear_fit(task, outcomes, np.column_stack([np.ones(n), x]))
    rows, interval, days, cause, weight = (np.array(v) for v in zip(*pieces(task, outcomes), strict=True))
    for c in (1, 2):
        for j in range(3):
            at = interval == j
            design = np.column_stack([np.ones(at.sum()), x[rows[at]]])
            glm = sm.GLM((cause[at] == c).astype(float), design, family=sm.families.Poisson(), offset=np.log(days[at]), freq_weights=weight[at])
            assert found[:, 2 * j + c - 1] == pytest.approx(glm.fit(tol=1e-12).params, abs=2e-4)


def test_the_start_is_events_over_days_and_recovers_the_risks() -> None:
    outcomes, first, second = competing(20_000, 5)
    task = task_on(outcomes, n_intervals=5, horizons_days=[100.0, 365.0, 1400.0])
    assert torch.exp(task.start()).reshape(5, 2).numpy() == pytest.approx(np.tile([first, second], (5, 1)), rel=0.1)
    rate = first + second
    truth = [first / rate * (1 - math.exp(-rate * h)) for h in task.horizons_days]
    assert task.answer(Draws(task.start()[None, None])).mean[0, 0].numpy() == pytest.approx(truth, abs=0.012)


def test_the_risk_is_the_integral_of_the_hazard_of_cause_one_over_those_still_there() -> None:
    outcomes = sample_outcomes("time_to_event", n=300, seed=0)
    task = task_on(outcomes, horizons_days=[100.0, 500.0, 1200.0])
    value = task.start().double() + torch.randn(1, 3, task.n_params, generator=generator(4), dtype=torch.float64)
    days = np.linspace(0, 1200, 1_200_001)
    middle = (days[1:] + days[:-1]) / 2
    interval = np.searchsorted(task.edges[1:].numpy(), middle)
    for row in range(3):
        rate = torch.exp(value[0, row]).reshape(-1, 2).numpy()[interval]
        hazard = np.cumsum(rate.sum(1)) * (days[1] - days[0])
        incidence = np.cumsum(rate[:, 0] * np.exp(-hazard)) * (days[1] - days[0])
        expected = [incidence[np.searchsorted(days[1:], h)] for h in task.horizons_days]
        assert task.answer(Draws(value)).mean[0, row].numpy() == pytest.approx(expected, rel=1e-4)


def test_the_last_interval_never_ends() -> None:
    outcomes = survival(np.array([10.0, 20.0, 30.0, 50.0]), np.array([1, 1, 1, 0]))
    task = task_on(outcomes, n_intervals=3)
    later = survival(np.array([45.0, 45.0]), np.array([1, 0]))
    value = torch.full((1, 2, 3), -3.0)
    loss = task.loss(Draws(value), target_of(later))
    assert float(loss[1]) == pytest.approx(45 * math.exp(-3))
    assert float(loss[0] - loss[1]) == pytest.approx(3.0)

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.batches import take
from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.task.cox import STEPS, CoxTask
from equipoise.task.partial_likelihood import log_partial_likelihood
from equipoise.testing.task_laws import sample_outcomes, target_of
from task.survival_for_tests import linear_fit, survival


def task_on(outcomes: TargetTable, ties: str = "efron", horizons_days: list[float] | None = None) -> CoxTask:
    task = CoxTask(target="survival", ties=ties, horizons_days=horizons_days)  # type: ignore[arg-type]
    task.setup(outcomes)
    return task


def tied(n: int, seed: int, *, weighted: bool = True) -> TargetTable:
    """Two causes, whole months, late entries: many ties."""
    rng = np.random.default_rng(seed)
    time = rng.integers(1, 8, n).astype(float)
    entry = np.where(rng.random(n) < 0.3, np.minimum(rng.integers(1, 4, n), time - 1), 0.0)
    return survival(time, rng.choice(3, n, p=[0.3, 0.4, 0.3]), entry, rng.uniform(0.5, 2, n) if weighted else None)


def by_hand(eta: np.ndarray, t: pl.DataFrame, cause: int, efron: bool) -> float:
    """-sum over event times of [sum over the tied of w eta - mean weight x sum_l log(at risk - l/d x tied)] (R's survival, weighted)."""
    time, event, entry, w = (t[k].to_numpy() for k in ("time_days", "event", "entry_days", "weight"))
    r = w * np.exp(eta)
    total = 0.0
    for at in np.unique(time[event == cause]):
        dead = [i for i in range(len(time)) if time[i] == at and event[i] == cause]
        risk = sum(r[j] for j in range(len(time)) if entry[j] < at <= time[j])
        mean_weight = sum(w[i] for i in dead) / len(dead)
        for place, i in enumerate(dead):
            share = place / len(dead) if efron else 0.0
            total += w[i] * eta[i] - mean_weight * math.log(risk - share * sum(r[k] for k in dead))
    return -total


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_loss_equals_a_hand_written_partial_likelihood_and_the_level_term(ties: str, weighted: bool) -> None:
    outcomes = tied(60, 0, weighted=weighted)
    task, w = task_on(outcomes, ties), outcomes.table["weight"].to_numpy()
    draws = torch.randn(3, 60, 2, generator=generator(0), dtype=torch.float64)
    found = float(task.loss(Draws(draws), target_of(outcomes)).sum())
    expected = 0.0
    for value in draws.numpy():
        for c in (0, 1):
            events = w[outcomes.table["event"].to_numpy() == c + 1].sum()
            # The task's weights have mean one, which moves every denominator by the same factor.
            constant = events * math.log(w.mean())
            level = float(np.average(value[:, c], weights=w))
            expected += (by_hand(value[:, c], outcomes.table, c + 1, ties == "efron") - constant + events * level**2 / 2) / 3
    assert found == pytest.approx(expected, rel=1e-6)


def test_without_ties_both_treatments_agree_and_the_order_of_events_is_all_that_counts() -> None:
    rng = np.random.default_rng(2)
    time, event = rng.permutation(np.arange(1.0, 41.0)), rng.choice(2, 40)
    draws = Draws(torch.randn(1, 40, 1, generator=generator(0)))
    losses = [task_on(survival(t, event), ties).loss(draws, target_of(survival(t, event))) for ties in ("efron", "breslow") for t in (time, time**2)]
    for loss in losses[1:]:
        assert torch.allclose(loss, losses[0], atol=1e-6)


def test_a_row_is_at_risk_only_after_its_entry() -> None:
    outcomes = survival(np.array([2.0, 5.0, 9.0]), np.array([1, 1, 0]), np.array([0.0, 0.0, 3.0]))
    value = torch.zeros(1, 3, 1)
    loss = task_on(outcomes, horizons_days=[5.0]).loss(Draws(value), target_of(outcomes))
    assert loss.tolist() == pytest.approx([math.log(2), math.log(2), 0.0])


def test_the_level_is_pinned_and_nothing_else_is_changed() -> None:
    """The minimum over a common shift is where the mean relative log hazard is 0, and there the loss is the partial likelihood alone."""
    outcomes = tied(80, 1, weighted=False)
    task, target = task_on(outcomes), target_of(outcomes)
    value = torch.randn(1, 80, 2, generator=generator(3), dtype=torch.float64)
    value = value - value.mean(1, keepdim=True)
    losses = [float(task.loss(Draws(value + shift), target).sum()) for shift in (-0.1, 0.0, 0.1)]
    alone = sum(by_hand(value[0, :, c].numpy(), outcomes.table, c + 1, True) for c in (0, 1))
    assert losses[1] == pytest.approx(alone, rel=1e-6)
    assert losses[0] > losses[1] < losses[2]


@pytest.mark.reference
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_a_linear_model_has_statsmodels_coefficients_for_each_cause_with_late_entry(ties: str) -> None:
    from statsmodels.duration.hazard_regression import PHReg

    made = tied(300, 4, weighted=False)
    # statsmodels counts who enters on the day of an event as at risk in it, R and this task do not: nobody enters on such a day.
    t = made.table.with_columns((pl.col("entry_days") - 0.5).clip(0))
    outcomes, x = TargetTable("time_to_event", t), np.random.default_rng(0).standard_normal((300, 3))
    found = linear_fit(task_on(outcomes, ties), outcomes, np.column_stack([np.ones(300), x]))[1:]
    for c in (0, 1):
        model = PHReg(t["time_days"].to_numpy(), x, status=(t["event"] == c + 1).to_numpy(), entry=t["entry_days"].to_numpy(), ties=ties)
        assert found[:, c] == pytest.approx(model.fit().params, abs=2e-5)


@pytest.mark.reference
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_a_linear_model_has_scikit_survivals_coefficients_and_with_breslows_ties_its_risks(ties: str) -> None:
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    rng = np.random.default_rng(5)
    x = rng.standard_normal((250, 2))
    time, censored = np.ceil(rng.exponential(30 * np.exp(-0.7 * x[:, 0]))), np.ceil(rng.uniform(0, 80, 250))
    event = (time <= censored).astype(int)
    outcomes = survival(np.minimum(time, censored), event)
    task = task_on(outcomes, ties, horizons_days=[5.0, 20.0, 45.0])
    oracle = CoxPHSurvivalAnalysis(ties=ties).fit(x, np.array(list(zip(event == 1, np.minimum(time, censored), strict=True)), dtype="?,f8"))
    beta = linear_fit(task, outcomes, np.column_stack([np.ones(250), x]))[1:]
    assert beta[:, 0] == pytest.approx(oracle.coef_, abs=2e-5)
    eta = Draws(torch.tensor(x @ oracle.coef_)[None, :, None])
    task.fit(eta, target_of(outcomes))
    expected = np.array([[1 - f(h) for h in task.horizons_days] for f in oracle.predict_survival_function(x)])
    # scikit-survival keeps Breslow's baseline for Efron's coefficients too.
    assert task.answer(eta).mean[0].numpy() == pytest.approx(expected, abs=1e-6 if ties == "breslow" else 0.02)


def risk_by_hand(relative: np.ndarray, t: pl.DataFrame, efron: bool, horizon: float) -> np.ndarray:
    """Cumulative incidence of cause 1 from the docstring's formulas, (n,), stepping through every event time."""
    time, event, entry, w = (t[k].to_numpy() for k in ("time_days", "event", "entry_days", "weight"))
    hazard, incidence = np.zeros((len(time), 2)), np.zeros(len(time))
    for at in np.unique(time[(event > 0) & (time <= horizon)]):
        step = np.zeros((len(time), 2))
        for c in (0, 1):
            dead = np.flatnonzero((time == at) & (event == c + 1))
            risk = (w * relative[:, c])[(time >= at) & (entry < at)].sum()
            for place in range(len(dead)):
                base = w[dead].mean() / (risk - (place / len(dead) if efron else 0) * (w * relative[:, c])[dead].sum())
                step[:, c] += base * relative[:, c]
        total = step.sum(1)
        incidence += np.exp(-hazard.sum(1)) * (1 - np.exp(-total)) * step[:, 0] / total
        hazard += step
    return incidence


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_the_risk_equals_a_hand_written_baseline_and_incidence(ties: str) -> None:
    outcomes = tied(90, 6)
    task = task_on(outcomes, ties, horizons_days=[2.0, 4.5, 7.0])
    draws = 0.5 * torch.randn(4, 90, 2, generator=generator(1), dtype=torch.float64)
    task.fit(Draws(draws), target_of(outcomes))
    relative = np.exp(draws.numpy())
    table = outcomes.table.with_columns(weight=outcomes.table["weight"].cast(pl.Float32).cast(pl.Float64))
    found = task.answer(Draws(torch.log(torch.tensor(relative.mean(0)))[None])).mean[0].numpy()
    for i, horizon in enumerate(task.horizons_days):
        assert found[:, i] == pytest.approx(risk_by_hand(relative.mean(0), table, ties == "efron", horizon), rel=1e-5)


def test_as_many_events_are_expected_as_happened() -> None:
    outcomes = survival(np.arange(1.0, 201.0), np.arange(200) % 2)
    task = task_on(outcomes)
    draws = Draws(torch.randn(8, 200, 1, generator=generator(2)) + 1.5)
    task.fit(draws, target_of(outcomes))
    lived = torch.searchsorted(task.times, target_of(outcomes).time_days, right=True)
    cumulative = torch.cat([torch.zeros(1, dtype=torch.float64), task.hazards[0]])[lived]
    assert float((torch.exp(draws.value.double())[..., 0] * cumulative).sum(1).mean()) == pytest.approx(100, rel=1e-9)


def test_a_thinned_baseline_answers_as_the_whole_one_does() -> None:
    outcomes = sample_outcomes("time_to_event", n=1500, seed=8)
    task, t = task_on(outcomes, horizons_days=[120.0, 365.0]), outcomes.table.filter(pl.col("observed"))
    assert len(task.times) <= STEPS + 3
    t = t.with_columns(pl.col("time_days", "entry_days", "weight").cast(pl.Float32).cast(pl.Float64))
    found = task.answer(Draws(torch.zeros(1, 1, 2))).mean[0, 0].numpy()
    expected = [risk_by_hand(np.ones((t.height, 2)), t, True, h)[0] for h in task.horizons_days]
    assert found == pytest.approx(expected, abs=1e-4)


def test_risks_are_recovered_under_proportional_hazards_censoring_and_late_entry() -> None:
    rng = np.random.default_rng(9)
    n = 20_000
    x = rng.choice([-1.0, 0.0, 1.0], n)
    first, second = rng.exponential(1000 * np.exp(-0.8 * x)), rng.exponential(2000 * np.exp(0.4 * x))
    censored, entry = rng.uniform(0, 1500, n), np.where(rng.random(n) < 0.5, rng.uniform(0, 300, n), 0.0)
    latent = np.stack([censored, first, second])
    time, event = latent.min(0), latent.argmin(0)
    kept = time > entry
    outcomes = survival(time[kept], event[kept], entry[kept])
    task = task_on(outcomes, horizons_days=[100.0, 365.0, 800.0])
    eta = np.stack([0.8 * x[kept], -0.4 * x[kept]], 1)
    task.fit(Draws(torch.tensor(eta)[None]), target_of(outcomes))
    for value in (-1.0, 0.0, 1.0):
        rates = np.array([np.exp(0.8 * value) / 1000, np.exp(-0.4 * value) / 2000])
        truth = [rates[0] / rates.sum() * (1 - math.exp(-rates.sum() * h)) for h in task.horizons_days]
        risk = task.answer(Draws(torch.tensor([[[0.8 * value, -0.4 * value]]]))).mean[0, 0].numpy()
        assert risk == pytest.approx(truth, abs=0.012)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "shrinks"), [(16, 0.10), (64, 0.025)])
def test_what_the_level_term_costs_in_small_batches(size: int, shrinks: float) -> None:
    """The coefficient that minimises the mean loss of batches, over the one of the partial likelihood in the same batches without the term."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(3200)
    latent = np.stack([rng.uniform(0, 3000, 3200), rng.exponential(1000 * np.exp(-0.8 * x))])
    outcomes = survival(latent.min(0), latent.argmin(0))
    task, target, design = task_on(outcomes, horizons_days=[500.0]), target_of(outcomes), torch.tensor(np.column_stack([np.ones(3200), x]))
    batches = torch.arange(3200).split(size)

    def slope(*, level: bool) -> float:
        beta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([beta], max_iter=25, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            total = torch.zeros((), dtype=torch.float64)
            for rows in batches:
                eta, own = (design[rows] @ beta)[None, :, None], take(target, rows)
                follow_up = task.follow_up(own)
                total = total + (task.loss(Draws(eta), own) if level else -log_partial_likelihood(eta[..., 0], follow_up, 1, efron=True)).sum()
            (total / 3200).backward()
            return total / 3200

        optimizer.step(closure)
        return float(beta.detach()[1])

    assert 1 - slope(level=True) / slope(level=False) == pytest.approx(shrinks, abs=0.01)


def test_another_treatment_of_ties_is_refused() -> None:
    with pytest.raises(UserError, match="efron or breslow"):
        CoxTask(target="survival", ties="exact", horizons_days=None)  # type: ignore[arg-type]

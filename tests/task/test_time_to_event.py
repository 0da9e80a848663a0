from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.task.time_to_event import TimeToEventTask, refuse_open_horizons
from equipoise.testing.task_laws import sample_outcomes, target_of


def task_on(outcomes: TargetTable, n_intervals: int = 8, horizons_days: list[float] | None = None) -> TimeToEventTask:
    task = TimeToEventTask(target="survival", n_intervals=n_intervals, horizons_days=horizons_days)
    task.setup(outcomes)
    return task


def survival(time: list[float], event: list[int], entry: list[float] | None = None) -> TargetTable:
    table = sample_outcomes("time_to_event", n=len(time), seed=0).table
    columns = {"time_days": time, "event": event, "entry_days": entry or [0.0] * len(time)}
    return TargetTable("time_to_event", table.with_columns(observed=True, weight=1.0, **{k: pl.Series(v, dtype=table[k].dtype) for k, v in columns.items()}))


def fitted(task: TimeToEventTask, outcomes: TargetTable) -> Draws:
    """The maximum-likelihood hazards, the same for everybody."""
    logits = task.start().requires_grad_()
    optimizer = torch.optim.LBFGS([logits], max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task.loss(Draws(logits.expand(1, outcomes.table.height, -1)), target_of(outcomes)).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return Draws(logits.detach()[None, None])


def by_hand(task: TimeToEventTask, logits: np.ndarray, time: float, event: int, entry: float) -> float:
    """The docstring's likelihood of one person, interval by interval."""
    edges = task.edges.double().numpy()
    log_likelihood = 0.0
    for j, (left, right) in enumerate(itertools.pairwise(edges)):
        odds = np.exp(logits[j * task.n_causes : (j + 1) * task.n_causes])
        hazards = odds / (1 + odds.sum())
        if event > 0 and left < time <= right:
            return -(log_likelihood + math.log(hazards[event - 1]))
        lived = max(0.0, min(time, right) - max(entry, left)) / (right - left)
        log_likelihood += lived * math.log(1 - hazards.sum())
    return -log_likelihood


def test_the_loss_equals_a_hand_written_loop_over_persons() -> None:
    outcomes = sample_outcomes("time_to_event", n=150, seed=0)
    task, target = task_on(outcomes), target_of(outcomes)
    assert (task.n_causes, task.n_params) == (2, 16)
    assert (outcomes.table["entry_days"] > 0).any()
    draws = Draws(torch.randn(2, 150, 16, generator=generator(0), dtype=torch.float64) - 1)
    loss = task.loss(draws, target).numpy()
    for row, line in enumerate(outcomes.table.cast({"time_days": pl.Float32, "entry_days": pl.Float32}).iter_rows(named=True)):
        each = [by_hand(task, draws.value[s, row].numpy(), line["time_days"], line["event"], line["entry_days"]) for s in range(2)]
        assert loss[row] == pytest.approx(line["weight"] * np.mean(each) if line["observed"] else 0.0, abs=1e-5)


def test_with_one_cause_and_censoring_at_the_edges_the_loss_is_binary_cross_entropy_over_intervals() -> None:
    # The formula of logistic-hazard networks (Kvamme and Borgan 2021, eq. 6): cross-entropy of "event here" over the intervals lived through.
    outcomes = survival([1, 2, 2, 3, 4, 4, 3, 1], [1, 1, 0, 1, 1, 0, 0, 1])
    task = task_on(outcomes, n_intervals=100)
    assert task.edges.tolist() == [0, 1, 2, 3, 4]
    logits = torch.randn(8, 4, generator=generator(0))
    last = outcomes.table["time_days"].to_numpy().astype(int) - 1
    label = torch.zeros(8, 4)
    label[torch.arange(8), last] = torch.tensor(outcomes.table["event"].to_numpy() > 0).float()
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
    expected = each.cumsum(1)[torch.arange(8), last]
    assert torch.allclose(task.loss(Draws(logits[None]), target_of(outcomes)), expected, atol=1e-5)


def aalen_johansen(time: np.ndarray, event: np.ndarray, entry: np.ndarray, horizon: float) -> float:
    """Cumulative incidence of cause 1, with late entry."""
    alive, incidence = 1.0, 0.0
    for t in np.unique(time[(event > 0) & (time <= horizon)]):
        at_risk = ((time >= t) & (entry < t)).sum()
        incidence += alive * ((time == t) & (event == 1)).sum() / at_risk
        alive *= 1 - ((time == t) & (event > 0)).sum() / at_risk
    return incidence


def test_hazards_on_every_event_time_give_the_aalen_johansen_estimate() -> None:
    rng = np.random.default_rng(0)
    # whole months: censoring and entry fall on edges, where "share of the interval" is 0 or 1
    time, entry = rng.integers(1, 12, 300).astype(float), np.zeros(300)
    entry[:60] = np.minimum(rng.integers(0, 5, 60), time[:60] - 1)
    event = rng.choice(3, 300, p=[0.4, 0.4, 0.2])
    outcomes = survival(time.tolist(), event.tolist(), entry.tolist())
    task = task_on(outcomes, n_intervals=300, horizons_days=[2.0, 5.0, 9.0])
    risk = task.cumulative_incidence(fitted(task, outcomes))[0, 0]
    expected = [aalen_johansen(time, event, entry, h) for h in task.horizons_days]
    assert risk.numpy() == pytest.approx(expected, abs=1e-4)


def test_the_risk_is_recovered_under_heavy_censoring_and_late_entry() -> None:
    rng = np.random.default_rng(1)
    n = 40_000
    latent = np.stack([rng.uniform(0, 1500, n), rng.exponential(1000, n), rng.exponential(2000, n)])
    time, event = latent.min(0), latent.argmin(0)
    entry = np.where(rng.random(n) < 0.5, rng.uniform(0, 400, n), 0.0)
    kept = time > entry
    outcomes = survival(time[kept].tolist(), event[kept].tolist(), entry[kept].tolist())
    task = task_on(outcomes, n_intervals=20, horizons_days=[100.0, 365.0, 800.0])
    rate = 1 / 1000 + 1 / 2000
    truth = [(1 / 1000) / rate * (1 - math.exp(-rate * h)) for h in task.horizons_days]
    start = task.cumulative_incidence(Draws(task.start()[None, None]))[0, 0].numpy()
    best = task.cumulative_incidence(fitted(task, outcomes))[0, 0].numpy()
    assert start == pytest.approx(truth, abs=0.015)
    assert best == pytest.approx(truth, abs=0.015)
    assert best == pytest.approx(start, abs=0.003)


def test_risk_rises_with_the_horizon_linearly_within_an_interval_and_all_causes_stay_below_one() -> None:
    outcomes = sample_outcomes("time_to_event", n=300, seed=0)
    edges = task_on(outcomes).edges.double()
    middle = [float(edges[2]), float(0.75 * edges[2] + 0.25 * edges[3]), float(edges[3])]
    task = task_on(outcomes, horizons_days=middle)
    draws = Draws(torch.randn(3, 20, task.n_params, generator=generator(0)))
    risk = task.answer(draws).mean
    assert (risk.diff(dim=-1) > 0).all()
    assert torch.allclose(risk[..., 1], 0.75 * risk[..., 0] + 0.25 * risk[..., 2])
    assert (risk < 1).all()


def test_intervals_before_entry_contribute_nothing() -> None:
    outcomes = survival([10, 20, 30, 40, 40], [1, 1, 1, 1, 0], [0, 0, 0, 20, 20])
    task = task_on(outcomes, n_intervals=4)
    logits = torch.randn(1, 5, 4, generator=generator(0)).requires_grad_()
    task.loss(Draws(logits), target_of(outcomes))[3:].sum().backward()
    assert logits.grad is not None
    assert (logits.grad[:, 3:, :2] == 0).all()
    assert (logits.grad[:, 3:, 2:] != 0).all()


def test_an_event_after_the_last_train_event_counts_as_survival_to_it() -> None:
    train = survival([10, 20, 30, 50], [1, 1, 1, 0])
    task = task_on(train, n_intervals=3)
    later = survival([45, 45], [1, 0])
    loss = task.loss(Draws(torch.randn(1, 1, 3, generator=generator(0)).expand(1, 2, 3)), target_of(later))
    assert loss[0] == loss[1]


def test_default_horizons_are_the_quartile_and_the_median_in_whole_days() -> None:
    outcomes = sample_outcomes("time_to_event", n=300, seed=0)
    seen = outcomes.table.filter(pl.col("observed") & (pl.col("event") == 1))["time_days"].to_numpy()
    horizons = task_on(outcomes).horizons_days
    assert horizons == (float(math.floor(np.quantile(seen, 0.25))), float(math.floor(np.quantile(seen, 0.5))))
    assert task_on(outcomes).question("t", ()).labels == tuple(f"h={h:g}" for h in horizons)


@pytest.mark.parametrize("horizons", [[0.0, 10.0], [10_000.0], []])
def test_horizons_outside_the_follow_up_are_refused(horizons: list[float]) -> None:
    with pytest.raises(UserError, match="horizons_days"):
        task_on(sample_outcomes("time_to_event", n=100, seed=0), horizons_days=horizons)


@pytest.mark.parametrize(
    ("folds", "rotate", "members", "refused"), [("given", False, 1, True), (None, True, 3, True), (None, True, 1, False), (None, False, 3, False)]
)
def test_open_horizons_are_refused_where_several_fits_would_each_choose_their_own(folds: str | None, rotate: bool, members: int, refused: bool) -> None:
    """Quartile and median of other train rows are other horizons: the folds would answer different questions."""
    every, most = sample_outcomes("time_to_event", n=300, seed=0), sample_outcomes("time_to_event", n=250, seed=1)
    assert task_on(every).horizons_days != task_on(most).horizons_days
    config = {"validation": {"folds": folds, "rotate_select": rotate}, "members": members, "task": {"survival": {"horizons_days": None}, "risk": {}}}
    if refused:
        with pytest.raises(UserError, match=r"set task\.survival\.horizons_days"):
            refuse_open_horizons(config)
    else:
        refuse_open_horizons(config)
    refuse_open_horizons(config | {"task": {"survival": {"horizons_days": [30.0]}}})


def test_rows_without_any_event_of_cause_one_are_refused_with_the_counts() -> None:
    with pytest.raises(UserError, match="2 censored, 1 with competing causes"):
        task_on(survival([1, 2, 3], [0, 2, 0]))


@pytest.mark.parametrize(("time", "event", "entry"), [(-1.0, 1, 0.0), (math.nan, 0, 0.0), (5.0, 1, 9.0), (5.0, 7, 0.0), (5.0, -1, 0.0)])
def test_impossible_times_and_causes_are_refused(time: float, event: int, entry: float) -> None:
    task = task_on(survival([1, 2, 3], [1, 2, 0]))
    with pytest.raises(UserError, match="1 rows with others"):
        task.loss(Draws(torch.zeros(1, 1, task.n_params)), target_of(survival([time], [event], [entry])))


def test_events_at_time_zero_still_make_an_interval() -> None:
    outcomes = survival([0.0, 0.0, 4.0], [1, 1, 0])
    task = task_on(outcomes)
    assert len(task.edges) == 2
    assert torch.isfinite(task.loss(Draws(task.start().expand(1, 3, -1)), target_of(outcomes))).all()
    assert all(h > 0 for h in task.horizons_days)


@pytest.mark.reference
def test_saturated_hazards_equal_scikit_survivals_cumulative_incidence() -> None:
    frozen = json.loads((Path(__file__).parent / "survival_curves.json").read_text())
    outcomes = survival(frozen["time_days"], frozen["event"])
    task = task_on(outcomes, n_intervals=1000, horizons_days=frozen["horizons"])
    risk = task.cumulative_incidence(fitted(task, outcomes))[0, 0]
    assert risk.numpy() == pytest.approx(frozen["cause_1"], abs=1e-4)


def test_no_interval_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="n_intervals"):
        TimeToEventTask(target="survival", n_intervals=0, horizons_days=None)

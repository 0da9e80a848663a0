"""Effects on a time to event in the trial: AIPW weighted for censoring, against definitions and a known truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.contract.errors import UserError
from equipoise.stats.aipw import doubly_robust_scores
from equipoise.stats.survival import kaplan_meier
from equipoise.trial.effect_at_horizon import effect_at_horizon
from equipoise.trial.rows import rows_of
from equipoise.trial.table import validated
from trial.simulated_predictions import judged, protocol

H = 1.0


def world(n: int, seed: int, *, censored: bool = True) -> dict[str, np.ndarray]:
    """Exponential times, rate exp(.5 x - .7 a); treatment by x; censoring by arm: 63 % of the treated leave by H, 28 % of the others."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    e = 1 / (1 + np.exp(-x))
    a = (rng.random(n) < e).astype(np.int64)
    risk = [1 - np.exp(-np.exp(0.5 * x - 0.7 * arm) * H) for arm in (0, 1)]
    time = rng.exponential(np.exp(-0.5 * x + 0.7 * a))
    left = rng.exponential(np.where(a == 1, 1.0, 3.0)) if censored else np.full(n, 10 * H)
    made = {"x": x, "e": e, "a": a, "time": np.minimum(time, left), "event": (time <= left).astype(np.int64), "status": (time <= H) * 1.0}
    return made | {"mu0": risk[0], "mu1": risk[1]}


def predictions(w: dict[str, np.ndarray], answers: dict[str, tuple[np.ndarray, np.ndarray]], **columns: Any) -> pl.DataFrame:
    known = (w["time"] >= H) | (w["event"] == 1)
    frames = []
    for model, (mu0, mu1) in answers.items():
        for target, risk, arm in (("mu0", mu0, 0), ("mu1", mu1, 1), ("effect", mu1 - mu0, -1)):
            outcome = np.where((w["a"] == arm) & known, (w["time"] <= H) & (w["event"] == 1), np.nan)
            own = {"subject_id": [f"s{i}" for i in range(len(risk))], "risk": risk, "outcome": outcome, "treatment": w["a"], "propensity": w["e"]}
            own |= {"time_days": w["time"], "event": w["event"]}
            frames.append(pl.DataFrame(own | columns).with_columns(pl.lit(model).alias("model"), pl.lit(target).alias("target")))
    return pl.concat(frames)


def results(w: dict[str, np.ndarray], answers: dict[str, tuple[np.ndarray, np.ndarray]], **changed: Any) -> dict[str, Any]:
    return judged(predictions(w, answers), kind="treatment_effect", protocol=protocol(horizon_days=H, propensity_clip=0.001, **changed))


def test_without_censoring_everything_is_as_for_a_binary_outcome() -> None:
    w = world(600, 0, censored=False)
    answers = {"equipoise": (w["mu0"], w["mu1"]), "linear": (w["mu0"], w["mu0"] - 0.2)}
    timed = results(w, answers)
    plain = judged(predictions(w, answers).drop("time_days", "event"), kind="treatment_effect", protocol=protocol(propensity_clip=0.001))
    for name, own in plain["endpoints"].items():
        for k in ("value", "lo", "hi"):
            assert timed["endpoints"][name][k] == pytest.approx(own[k], abs=1e-9), name
    assert timed["n"]["outcome_missing"] == 0


def test_the_outcome_is_the_status_weighted_within_arms() -> None:
    w = world(400, 1)
    table = validated(predictions(w, {"equipoise": (w["mu0"], w["mu1"]), "linear": (w["mu0"] + 0.1, w["mu1"] + 0.1)}))
    rows, said = effect_at_horizon(rows_of(table, "treatment_effect", (), abstain="exclude"), protocol(horizon_days=H))
    order = np.argsort([f"s{i}" for i in range(400)])  # rows stand in the order of their keys
    mu = np.where(w["a"] == 1, w["mu1"], w["mu0"]) + 0.05
    expected = np.empty(400)
    for arm in (0, 1):
        own = w["a"] == arm
        g = kaplan_meier(w["time"][own], 1 - w["event"][own])
        weight = ((w["event"][own] == 1) | (w["time"][own] >= H)) / g.before(np.minimum(w["time"][own], H))
        y = ((w["time"][own] <= H) & (w["event"][own] == 1)) * 1.0
        expected[own] = mu[own] + weight * (y - mu[own])
    assert rows.outcome[:, 0] == pytest.approx(expected[order])
    assert rows.observed.all()
    assert "Kaplan-Meier" in said["censoring"]


@pytest.mark.slow
def test_bias_and_coverage_of_the_average_effect(capsys: pytest.CaptureFixture[str]) -> None:
    """200 trials of 500 people, outcome models wrong by .1: the mean is the truth within 4 Monte-Carlo errors, 95 % intervals cover in 91 to 98 %."""
    found, covered, naive, n = [], 0, [], 200
    truth = float(np.mean([(w["mu1"] - w["mu0"]).mean() for w in (world(100_000, s) for s in (1001, 1002, 1003))]))
    for seed in range(n):
        w = world(500, seed)
        rows = rows_of(validated(predictions(w, {"equipoise": (w["mu0"] + 0.1, w["mu1"] - 0.1)})), "treatment_effect", (), abstain="exclude")
        made, _ = effect_at_horizon(rows, protocol(horizon_days=H))
        order = np.argsort([f"s{i}" for i in range(500)])
        score = doubly_robust_scores(made.outcome[:, 0], made.treatment, w["mu0"][order] + 0.1, w["mu1"][order] - 0.1, w["e"][order])
        mean, se = score.mean(), score.std(ddof=1) / np.sqrt(500)
        found.append(mean)
        covered += abs(mean - truth) < 1.96 * se
        known = (w["time"] >= H) | (w["event"] == 1)
        y = (w["time"] <= H) * 1.0
        naive.append(doubly_robust_scores(y, w["a"], w["mu0"] + 0.1, w["mu1"] - 0.1, w["e"])[known].mean())
    error = np.std(found, ddof=1) / np.sqrt(n)
    print(f"truth {truth:.4f}; bias {np.mean(found) - truth:.4f} (error {error:.4f}); coverage {covered / n:.3f}; known rows only {np.mean(naive):.4f}")
    assert abs(np.mean(found) - truth) < 4 * error
    assert 0.91 <= covered / n <= 0.98
    assert abs(np.mean(naive) - truth) > 0.03


def test_scores_of_the_received_arm_are_right_on_average_whatever_is_censored() -> None:
    w, whole = world(20_000, 5), world(20_000, 5, censored=False)
    answers = {"equipoise": (0.9 * w["mu0"], 0.9 * w["mu1"])}
    some, all_seen = (results(v, answers, n_bootstrap=100)["endpoints"] for v in (w, whole))
    for name, tolerance in (("log_score", 0.015), ("received_rmse", 0.015)):
        assert some[name]["value"] == pytest.approx(all_seen[name]["value"], abs=tolerance), name


def test_the_better_of_two_effects_has_the_smaller_loss_and_the_steeper_ranking() -> None:
    w = world(6000, 3)
    line = results(w, {"equipoise": (w["mu0"], w["mu1"]), "linear": (w["mu0"], 2 * w["mu0"].mean() - w["mu1"] - 0.2)}, better_outcome="lower")
    assert line["comparisons"]["linear"]["effect_loss"]["hi"] < 0
    assert line["endpoints"]["effect_slope"]["lo"] < 1 < line["endpoints"]["effect_slope"]["hi"]
    assert "Kaplan-Meier" in line["verdict_detail"]["analysis"]["censoring"]


def test_predictions_of_another_horizon_are_refused() -> None:
    w = world(300, 0)
    table = predictions(w, {"equipoise": (w["mu0"], w["mu1"])})
    with pytest.raises(UserError, match="not about the protocol's horizon"):
        judged(table, kind="treatment_effect", protocol=protocol(horizon_days=0.3))


def test_late_entries_are_left_out_and_competing_events_are_no_event_or_censored() -> None:
    w = world(500, 2)
    w["event"][:100] = np.where(w["event"][:100] == 1, 2, 0)
    table = predictions(w, {"equipoise": (w["mu0"], w["mu1"])}, entry_days=np.where(np.arange(500) < 50, 0.01, 0.0))
    table = table.with_columns(pl.when((pl.col("event") == 2) & pl.col("outcome").is_not_null()).then(0.0).otherwise(pl.col("outcome")).alias("outcome"))
    rows = rows_of(validated(table), "treatment_effect", (), abstain="exclude")
    made, said = effect_at_horizon(rows, protocol(horizon_days=H))
    assert made.observed.sum() == 450
    assert "50 rows with a late entry" in said["censoring"]
    other, _ = effect_at_horizon(replace(rows, outcome=np.full_like(rows.outcome, np.nan)), protocol(horizon_days=H, competing="censor"))
    assert not np.allclose(made.outcome[made.observed], other.outcome[other.observed])


def test_an_arm_that_nobody_follows_to_the_horizon_leaves_no_verdict() -> None:
    w = world(400, 4)
    w["event"] = np.where(w["a"] == 1, w["event"] * (w["time"] < 0.2), w["event"])
    w["time"] = np.where(w["a"] == 1, np.minimum(w["time"], 0.5), w["time"])
    found = results(w, {"equipoise": (w["mu0"], w["mu1"]), "linear": (w["mu0"], w["mu1"])})
    assert found["verdict"] == "not evaluable"
    assert "too few in an arm" in " ".join(found["verdict_detail"]["reasons"])

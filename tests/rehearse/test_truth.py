"""The declared truth: expectations are means over outcomes, the planted gain is as large as asked, held-out outcomes are never read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from equipoise.cohort.generator.expected import expected_scores
from equipoise.contract.errors import UserError
from equipoise.rehearse.expected import expected_value, true_gain
from equipoise.rehearse.one import one_twin
from equipoise.rehearse.truth import Declared, normal_scores
from equipoise.rehearse.world import world_of
from equipoise.stats.net_benefit import net_benefit
from equipoise.stats.roc import auroc
from equipoise.trial.endpoints import endpoints_of
from equipoise.trial.protocol import protocol_of
from rehearse.worlds import cohort_of, config_of

PROTOCOL = protocol_of(config_of()["trial"])
ENDPOINTS = {e.name: e for e in endpoints_of("binary", PROTOCOL)[0]}


def test_expectations_are_means_over_outcomes() -> None:
    rng = np.random.default_rng(0)
    q, p = rng.uniform(0.02, 0.6, (2, 400))
    closed = expected_scores(q, p)
    for name in ("log_score", "brier"):
        assert expected_value(ENDPOINTS[name], PROTOCOL, q, p) == pytest.approx(closed[name], rel=1e-12)
    drawn = [(rng.random(400) < p).astype(float) for _ in range(2000)]
    of = {"auroc": lambda y: auroc(q, y), "net_benefit": lambda y: net_benefit(q, y, PROTOCOL.threshold)}
    for name, f in of.items():
        values = np.array([float(f(y)) for y in drawn])
        assert abs(expected_value(ENDPOINTS[name], PROTOCOL, q, p) - values.mean()) < 3 * values.std() / np.sqrt(2000) + 1e-3


def test_the_planted_gain_is_what_the_best_risk_is_worth(tmp_path: Path) -> None:
    world = world_of(config_of(), cohort_of(tmp_path))
    rows = world.cohort.rows_in("held_out")
    null, planted = (world.risks[g][rows] for g in (0.0, 0.05))
    odds = np.log(null / (1 - null))

    def loss(b: np.ndarray) -> float:  # the best forecast of the null's form, by another optimiser
        return expected_scores(expit(b[0] + b[1] * odds), planted)["log_score"]

    best = minimize(loss, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).fun
    assert best - expected_scores(planted, planted)["log_score"] == pytest.approx(0.05, abs=1e-4)
    train = world.cohort.rows_in("train")
    y = world.cohort.target("outcome").table[train]
    prevalence = y["outcome"].to_numpy()[y["observed"].to_numpy()].mean()
    for risk in world.risks.values():
        assert risk[train].mean() == pytest.approx(prevalence, abs=1e-6)
    p = world.risks[0.0][train]
    twice = float(auroc(np.concatenate([p, p]), np.repeat([1.0, 0.0], p.size), np.concatenate([p, 1 - p])))
    assert twice == pytest.approx(world.declared["auroc"], abs=2e-3)


def test_nothing_beats_the_null_under_the_null(tmp_path: Path) -> None:
    world = world_of(config_of("rehearse.gains=[0.0]"), cohort_of(tmp_path))
    p = world.risks[0.0][world.cohort.rows_in("held_out")]
    rng = np.random.default_rng(1)
    for _ in range(20):
        other = expit(np.log(p / (1 - p)) + 0.5 * rng.standard_normal(p.size))
        assert true_gain(world.primary, world.protocol, other, p, p, np.ones(p.size)) < 0


def test_held_out_outcomes_are_never_read(tmp_path: Path) -> None:
    made = []
    for how in ("as they are", "flipped", "unknown"):
        world = world_of(config_of("rehearse.gains=[0.0,0.02]"), cohort_of(tmp_path, held_out=how))
        made.append((world.declared, [r.tolist() for r in world.risks.values()], one_twin(world, 0, tmp_path)))
    assert made[0] == made[1] == made[2]


def test_train_outcomes_are_read(tmp_path: Path) -> None:
    """The test above could not fail if no outcome mattered."""
    cohort = cohort_of(tmp_path)
    other = world_of(config_of("rehearse.truth=prevalence", "rehearse.gains=[0.0]"), cohort)
    assert np.ptp(other.risks[0.0]) == pytest.approx(0, abs=1e-9)
    assert np.ptp(world_of(config_of("rehearse.gains=[0.0]"), cohort).risks[0.0]) > 0.1


def test_a_gain_out_of_reach_and_an_unknown_comparator_are_refused(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path)
    with pytest.raises(UserError, match="cannot be planted"):
        world_of(config_of("rehearse.gains=[0.0,0.9]"), cohort)
    with pytest.raises(UserError, match="boosting"):
        world_of(config_of("rehearse.truth=boosting"), cohort)
    with pytest.raises(UserError, match="time to event"):
        world_of(config_of("task=[time_to_event]", "comparator=[prevalence]"), cohort)


def test_normal_scores_are_normal_and_leave_flags_out() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([np.exp(rng.standard_normal(500)), rng.integers(0, 2, 500)])
    x[:100, 0] = np.nan
    z = normal_scores(x)
    assert np.isnan(z[:100, 0]).all()
    assert np.isnan(z[:, 1]).all()
    assert abs(np.nanmean(z[:, 0])) < 1e-9
    assert abs(np.nanstd(z[:, 0]) - 1) < 0.02


def test_a_larger_component_is_worth_more() -> None:
    rng = np.random.default_rng(0)
    null, component = rng.standard_normal((2, 2000))
    every = np.arange(2000)
    declared = Declared(null, component, ("x",), 0.2, 0.7, every, every)
    sizes = [declared.planted(g, ENDPOINTS["log_score"], PROTOCOL)[1] for g in (0.0, 0.01, 0.03)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 0
    auc = replace(PROTOCOL, primary="auroc")
    risk, _ = declared.planted(0.05, ENDPOINTS["auroc"], auc)
    found = [expected_value(ENDPOINTS["auroc"], auc, r, risk) for r in (risk, expit(null))]
    assert found[0] - found[1] == pytest.approx(0.05, abs=1e-3)

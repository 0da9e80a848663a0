"""Agreement of effects on a time to event with R (frozen in effect_at_horizon.json, made by make_effect_at_horizon.R)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.stats.aipw import doubly_robust_scores
from equipoise.trial.effect_at_horizon import effect_at_horizon
from equipoise.trial.rows import rows_of
from equipoise.trial.table import validated
from trial.simulated_predictions import protocol

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def r() -> dict[str, Any]:
    held = json.loads((Path(__file__).parent / "effect_at_horizon.json").read_text())
    return {k: np.array(v) if isinstance(v, list) else v for k, v in held.items()}


def scores(r: dict[str, Any], mu0: np.ndarray, mu1: np.ndarray) -> np.ndarray:
    """The trial's scores of these outcome regressions, with R's propensities, in R's order."""
    own = {"subject_id": [f"{i:04d}" for i in range(len(mu0))], "treatment": r["a"], "time_days": r["time"], "event": r["event"]}
    answers = {"mu0": mu0, "mu1": mu1, "effect": mu1 - mu0}
    nothing = np.full(len(mu0), np.nan)
    table = pl.concat([pl.DataFrame(own | {"risk": risk, "outcome": nothing}).with_columns(pl.lit(t).alias("target")) for t, risk in answers.items()])
    rows, _ = effect_at_horizon(rows_of(validated(table), "treatment_effect", (), abstain="exclude"), protocol(horizon_days=r["horizon"]))
    return doubly_robust_scores(rows.outcome[:, 0], r["a"], mu0, mu1, r["propensity"])


def test_scores_equal_those_written_out_on_rs_kaplan_meier(r: dict[str, Any]) -> None:
    assert scores(r, r["mu0"], r["mu1"]) == pytest.approx(r["score"], rel=1e-9)


def test_weighting_alone_equals_risk_regressions_ate(r: dict[str, Any]) -> None:
    nothing = np.zeros(len(r["a"]))
    assert scores(r, nothing, nothing).mean() == pytest.approx(r["ate_iptw"], rel=1e-9)

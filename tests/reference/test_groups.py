"""Heterogeneity, interval score, decisions by group and referral equal R's; frozen in groups.json by make_groups.R."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtri

from equipoise.stats.heterogeneity import heterogeneity
from equipoise.stats.net_benefit import net_benefit_of_rows
from equipoise.stats.referral import net_benefit_with_referral, risk_coverage
from equipoise.stats.scores import interval_score, log_score
from trial.simulated_predictions import judged, protocol

pytestmark = pytest.mark.reference
FROZEN = json.loads((Path(__file__).parent / "groups.json").read_text())
DECISIONS = {k: np.array(v) for k, v in FROZEN["decisions"].items() if isinstance(v, list)}
REFERRAL = {k: np.array(v) for k, v in FROZEN["referral"].items()}


@pytest.mark.parametrize("name", FROZEN["heterogeneity"])
def test_heterogeneity_of_independent_groups_equals_metafor_q(name: str) -> None:
    own = FROZEN["heterogeneity"][name]
    found = heterogeneity(np.array(own["value"]), np.diag(own["variance"]))
    np.testing.assert_allclose([found.q, found.df, found.p], [own["q"], own["df"], own["p"]], rtol=1e-10)


def test_heterogeneity_with_few_clusters_equals_r_oneway_test() -> None:
    groups = [np.array(g) for g in FROZEN["welch"]["groups"]]
    value, variance, n = np.array([[g.mean(), g.var(ddof=1) / g.size, g.size] for g in groups]).T
    np.testing.assert_allclose(heterogeneity(value, np.diag(variance), n).p, FROZEN["welch"]["p"], rtol=1e-10)


def test_the_interval_score_equals_the_formula_in_r() -> None:
    own = FROZEN["interval"]
    mean, sd = np.array(own["mean"]), np.array(own["sd"])
    half = ndtri((1 + own["level"]) / 2) * sd
    np.testing.assert_allclose(interval_score(mean - half, mean + half, np.array(own["y"]), own["level"]), own["score"], rtol=1e-12)


def test_decisions_by_group_equal_counts_in_r() -> None:
    risk, event, group = (DECISIONS[k] for k in ("risk", "event", "group"))
    table = pl.DataFrame({"subject_id": [f"s{i:03d}" for i in range(risk.size)], "risk": risk, "outcome": event, "group": group})
    made = judged(table, required=(), protocol=protocol(subgroups=["group"], threshold=FROZEN["decisions"]["threshold"]))["subgroups"]["group"]["groups"]
    for name, own in FROZEN["decisions"]["by_group"].items():
        for key, value in own.items():
            assert made[name]["fairness"][key]["value"] == pytest.approx(value, rel=1e-12)


def test_referral_equals_counting_in_r() -> None:
    risk, event = DECISIONS["risk"], DECISIONS["event"]
    own, instead = (net_benefit_of_rows(p, event, FROZEN["decisions"]["threshold"]) for p in (risk, REFERRAL["other"]))
    found = net_benefit_with_referral(own, instead, REFERRAL["uncertainty"], REFERRAL["share"], float(REFERRAL["cost"]))
    np.testing.assert_allclose(found, REFERRAL["net_benefit"], rtol=1e-12)
    np.testing.assert_allclose(risk_coverage(log_score(risk, event), REFERRAL["uncertainty"], REFERRAL["share"]), REFERRAL["kept_loss"], rtol=1e-12)

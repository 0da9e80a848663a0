"""Pooling aggregates is the same estimator on the pooled rows' per-site estimates, to the last digit; and internal-external validation uses it too."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.contract.errors import UserError
from equipoise.pool import pooled
from equipoise.stats.meta_analysis import random_effects
from equipoise.stats.pooling_scale import IDENTITY, scale_of
from equipoise.trial.internal_external import internal_external
from equipoise.trial.over_sites import over_sites
from equipoise.trial.pooling import pooled_question
from equipoise.trial.site_summary import estimates_of, site_summary
from trial.simulated_predictions import protocol
from trial.simulated_sites import SIZES, judged, predictions

PROTOCOL = protocol(n_bootstrap=100)


@pytest.fixture(scope="module")
def cohort() -> pl.DataFrame:
    """One synthetic cohort with a column site; each site is a fold."""
    parts = [predictions(n, seed) for seed, n in enumerate(SIZES)]
    return pl.concat([p.with_columns(pl.lit(f"hospital {i}").alias("site"), pl.lit(i).alias("fold")) for i, p in enumerate(parts)])


@pytest.fixture(scope="module")
def apart(cohort: pl.DataFrame) -> dict[str, tuple[pl.DataFrame, dict[str, Any]]]:
    """Each site's rows and what it finds in them."""
    parts = {site: cohort.filter(pl.col("site") == site) for site in cohort["site"].unique(maintain_order=True)}
    return {site: (rows, judged(rows, PROTOCOL)) for site, rows in parts.items()}


@pytest.fixture(scope="module")
def sent(apart: dict[str, tuple[pl.DataFrame, dict[str, Any]]]) -> dict[str, Any]:
    """The pooled question, from files alone."""
    files = [json.loads(json.dumps(site_summary(results, rows, site=site))) for site, (rows, results) in apart.items()]
    return pooled(files, list(apart))["questions"]["risk"]


def test_pooled_aggregates_equal_the_estimator_on_the_pooled_rows(apart: dict[str, tuple[pl.DataFrame, dict[str, Any]]], sent: dict[str, Any]) -> None:
    """The law: what comes out of files that hold no row equals what the whole cohort in one place gives, exactly."""
    found, results = sent, {site: own for site, (_, own) in apart.items()}
    for name in ("auroc", "log_score", "brier", "calibration_slope", "calibration_in_the_large"):
        entries = [r["endpoints"][name] for r in results.values()]
        scale = scale_of(name)
        direct = random_effects(*scale.of(np.array([e["value"] for e in entries]), np.array([e["se"] for e in entries])), 0.95)
        ends = scale.back(np.array([direct.mean.value, direct.mean.lo, direct.mean.hi, direct.lo, direct.hi]))
        own = found["endpoints"]["equipoise"][name]
        assert [own[k] for k in ("value", "lo", "hi", "prediction_lo", "prediction_hi")] == ends.tolist()
        assert (own["tau2"], own["i2"], own["q"]) == (direct.tau2, direct.i2, direct.q)
        gaps = [r["comparisons"]["linear"][name] for r in results.values()]
        direct = random_effects(np.array([g["difference"] for g in gaps]), np.array([g["se"] for g in gaps]), 0.95)
        assert (found["differences"]["linear"][name]["value"], found["differences"]["linear"][name]["lo"]) == (direct.mean.value, direct.mean.lo)


def test_internal_external_validation_gives_the_same_numbers_from_one_table(cohort: pl.DataFrame, sent: dict[str, Any]) -> None:
    together = internal_external(cohort, PROTOCOL, kind="binary", task="risk", required=["linear"])
    assert list(together["sites"]) == [f"hospital {i}" for i in range(len(SIZES))]
    for name in ("auroc", "log_score", "calibration_slope"):
        for key in ("value", "lo", "hi", "prediction_lo", "tau2"):
            assert together["endpoints"]["equipoise"][name][key] == pytest.approx(sent["endpoints"]["equipoise"][name][key], rel=1e-12)
            assert together["differences"]["linear"][name][key] == pytest.approx(sent["differences"]["linear"][name][key], rel=1e-12)


def test_internal_external_validation_refuses_folds_that_are_not_sites(cohort: pl.DataFrame) -> None:
    words = {"kind": "binary", "task": "risk", "required": ["linear"]}
    one_fold = cohort.with_columns(pl.lit(0).alias("fold"))
    split = cohort.with_columns((pl.col("fold") * 2 + pl.col("subject_id").str.ends_with("1").cast(pl.Int64)).alias("fold"))
    for wrong in (one_fold, split):
        with pytest.raises(UserError, match="are not its sites"):
            internal_external(wrong, PROTOCOL, **words)
    with pytest.raises(UserError, match="one site only"):
        internal_external(cohort.filter(pl.col("site") == "hospital 1"), PROTOCOL, **words)
    with pytest.raises(UserError, match="empty"):
        internal_external(cohort.with_columns(pl.lit(None, dtype=pl.String).alias("site")), PROTOCOL, **words)


def test_sites_without_an_error_are_left_out_and_named() -> None:
    entries = {"a": {"value": 0.8, "se": 0.02}, "b": {"value": 1.0, "se": 0.01}, "c": {"value": 0.7, "se": None}, "d": {"value": 0.75, "se": 0.03}}
    found = over_sites(entries, 0.95, scale_of("auroc"))
    assert found["left_out"] == ["b", "c"]
    assert found["n_sites"] == 2
    assert found["prediction_lo"] is None
    assert 0 < found["lo"] < found["value"] < found["hi"] < 1
    assert over_sites({"a": {"value": 1.0, "se": 0.1}, "b": {}}, 0.95, IDENTITY)["value"] is None


def question(value: float, se: float, **over: object) -> dict[str, object]:
    """A site's question of a binary outcome with one primary difference (log score, lower is better)."""
    difference = {"value": value, "se": se, "better": "lower"}
    benefit = {"value": 0.001, "se": 0.001, "better": "higher"}
    base = {"kind": "binary", "target": "death", "unit": "", "model": "equipoise", "role": "held_out", "primary": "log_score", "required": ["linear"]}
    cells = {"edges": [0.0, 1.0], "rows": [500], "events": [100], "weight": [500.0], "risk": [0.2], "observed": [0.2]}
    none: dict[str, list[float]] = {"threshold": [], "net_benefit": [], "se": [], "treat_all": []}
    made = {"n": {"rows": 500, "people": 500, "events": 100, "non_events": 400}, "lacking": [], "opening": 1, "prevalence": 0.2}
    tables = {"endpoints": {"equipoise": {"log_score": {"value": 0.4, "se": 0.02, "better": "lower"}}}}
    tables["differences"] = {"linear": {"log_score": difference, "net_benefit": benefit}}
    return base | made | tables | {"cells": {"equipoise": cells}, "decision": {"equipoise": none}} | over


def verdict_of(*sites: dict[str, object]) -> dict[str, object]:
    return pooled_question({f"s{i}": s for i, s in enumerate(sites)}, PROTOCOL.as_dict())


def test_the_rule_on_pooled_differences() -> None:
    gain, nothing, loss = ([question(v + 0.001 * i, 0.005) for i in range(6)] for v in (-0.03, 0.0, 0.03))
    assert verdict_of(*gain)["verdict"] == "demonstrated gain"
    assert verdict_of(*nothing)["verdict"] == "no demonstrated gain"
    assert verdict_of(*loss)["verdict"] == "demonstrated loss"
    said = verdict_of(*gain)["verdict_detail"]["sentence"]
    assert "pooled over 6 sites" in said
    assert "Exploratory" not in said
    assert "Exploratory" in verdict_of(*gain[:5], question(-0.03, 0.005, opening=2))["verdict_detail"]["sentence"]


def test_one_large_site_does_not_carry_a_gain_alone() -> None:
    """Random effects alone would say gain: one site has nearly all the weight. The sites' unweighted t interval does not."""
    sites = [question(-0.03, 0.002), *[question(v, 0.04) for v in (-0.05, 0.005, 0.01, -0.04)]]
    found = verdict_of(*sites)
    assert found["differences"]["linear"]["log_score"]["hi"] < 0
    assert "of the weight" in found["differences"]["linear"]["log_score"]["note"]
    assert found["verdict"] == "no demonstrated gain"


@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"required": ["linear", "boosting"]}, "same comparators"),
        ({"lacking": ["linear"]}, "no prediction"),
        (
            {
                "differences": {
                    "linear": {"log_score": {"value": -0.03, "se": None, "better": "lower"}, "net_benefit": {"value": 0.0, "se": 0.1, "better": "higher"}}
                }
            },
            "log score",
        ),
        ({"differences": {"linear": {"log_score": {"value": -0.03, "se": 0.005, "better": "lower"}}}}, "net benefit"),
    ],
)
def test_no_verdict_where_the_rule_cannot_be_applied(over: dict[str, object], why: str) -> None:
    found = verdict_of(*[question(-0.03, 0.005) for _ in range(5)], question(-0.03, 0.005, **over))
    assert found["verdict"] == "not evaluable"
    assert why in found["verdict_detail"]["sentence"]


def test_a_site_with_one_group_does_not_coarsen_the_curves() -> None:
    fine = {"edges": [0.0, 0.1, 0.3, 1.0], "rows": [200, 200, 100], "events": [20, 40, 40], "weight": [200.0, 200.0, 100.0]}
    fine |= {"risk": [0.05, 0.2, 0.5], "observed": [0.1, 0.2, 0.4]}
    curve = {"threshold": [0.1, 0.3], "net_benefit": [0.1, 0.05], "se": [0.01, 0.01], "treat_all": [0.1, 0.0]}
    rich = question(-0.03, 0.005, cells={"equipoise": fine}, decision={"equipoise": curve})
    found = verdict_of(rich, rich, question(-0.03, 0.005))
    assert found["calibration"]["equipoise"]["sites"] == found["decision"]["equipoise"]["sites"] == ["s0", "s1"]
    assert found["calibration"]["equipoise"]["rows"] == [400, 400, 200]
    assert found["prevalence"] == pytest.approx(0.2)


def test_few_sites_are_said() -> None:
    assert "few" in verdict_of(question(-0.03, 0.005), question(-0.02, 0.005), question(-0.02, 0.005))["warnings"][0]
    assert not verdict_of(*[question(-0.03, 0.005)] * 5)["warnings"]


@pytest.mark.slow
def test_pooled_intervals_of_whole_trials_cover() -> None:
    """100 sets of four hospitals of 250 people whose models are equally good: the pooled difference in log score covers 0."""
    hits, n, gains = 0, 100, 0
    for i in range(n):
        sites = {}
        for s in range(4):
            rows = predictions(250, 1000 * i + s, equipoise=0.6, linear=0.6)
            own = protocol(n_bootstrap=100, endpoints=["log_score"], seed=i)
            sites[f"h{s}"] = estimates_of(judged(rows, own))["differences"]["linear"]["log_score"]
        found = over_sites(sites, 0.95)
        hits += found["lo"] <= 0 <= found["hi"]
        gains += found["hi"] < 0
    print("covers", hits / n, "called a gain", gains / n)
    assert hits / n > 0.95 - 3 * np.sqrt(0.95 * 0.05 / n)
    assert gains / n < 0.025 + 3 * np.sqrt(0.025 * 0.975 / n)

"""The recalibration ladder: its lines are those of other software, no row teaches itself, and it mends what was planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from equipoise.report.page import page
from equipoise.stats.ipcw import known_at
from equipoise.trial.endpoints import endpoints_of
from equipoise.trial.protocol import Protocol
from equipoise.trial.recalibration_ladder import FOLDS, _folds, ladder
from equipoise.trial.rows import Rows, rows_of
from equipoise.trial.table import validated
from trial.simulated_predictions import judged, protocol, table

ASKED = {"recalibration_ladder": True, "n_bootstrap": 100}


def miscalibrated(n: int, seed: int, a: float = -0.8, b: float = 0.5) -> pl.DataFrame:
    """Risks too extreme and too high: logit P = a + b logit risk."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.3, 1.5, n)
    y = (rng.random(n) < expit(a + b * x)).astype(float)
    return table({"equipoise": expit(x), "linear": np.full(n, y.mean())}, y)


def lines_of(rows: Rows, made: dict[str, Any], rung: str) -> np.ndarray:
    return np.array(made["rungs"][rung]["lines"])[:, 0]


def own_ladder(predictions: pl.DataFrame, kind: str, asked: Protocol) -> tuple[Rows, dict[str, Any]]:
    rows = rows_of(validated(predictions), kind, (), abstain="exclude")
    return rows, ladder(rows, asked, endpoints_of(kind, asked, rows.horizons_days)[0], "equipoise", "all")


ONLY_BRIER = protocol(**ASKED, endpoints=["brier"], primary="brier")


def test_lines_are_those_of_statsmodels_on_the_other_folds() -> None:
    rows, made = own_ladder(miscalibrated(400, 1), "binary", ONLY_BRIER)
    fold, x, y = _folds(rows.cluster, ONLY_BRIER.seed), logit(rows.forecasts[("equipoise", "all")].risk[:, 0]), rows.outcome[:, 0]
    for k in range(FOLDS):
        others = fold != k
        full = sm.Logit(y[others], sm.add_constant(x[others])).fit(disp=0, tol=1e-12)
        shift = sm.GLM(y[others], np.ones((others.sum(), 1)), family=sm.families.Binomial(), offset=x[others]).fit(tol=1e-12)
        np.testing.assert_allclose(lines_of(rows, made, "intercept_and_slope")[k], full.params, rtol=1e-8)
        np.testing.assert_allclose(lines_of(rows, made, "in_the_large")[k], [shift.params[0], 1.0], rtol=1e-8)


def test_lines_of_a_continuous_outcome_are_those_of_least_squares() -> None:
    rng = np.random.default_rng(2)
    m = rng.normal(50, 10, 200)
    asked = protocol(**ASKED, endpoints=["rmse"], primary="rmse")
    rows, made = own_ladder(table({"equipoise": m}, 12 + 0.6 * m + rng.normal(0, 3, 200), total=100.0), "continuous", asked)
    fold, m, y = _folds(rows.cluster, asked.seed), rows.forecasts[("equipoise", "all")].risk[:, 0], rows.outcome[:, 0]
    for k in range(FOLDS):
        slope, intercept = np.polyfit(m[fold != k], y[fold != k], 1)
        np.testing.assert_allclose(lines_of(rows, made, "intercept_and_slope")[k], [intercept, slope], rtol=1e-9)
        np.testing.assert_allclose(lines_of(rows, made, "in_the_large")[k], [(y - m)[fold != k].mean(), 1], rtol=1e-9)
    assert made["rungs"]["intercept_and_slope"]["endpoints"]["rmse"]["value"] == pytest.approx(3, abs=0.4)


def test_lines_at_a_horizon_are_weighted_for_censoring() -> None:
    rng = np.random.default_rng(3)
    n, x = 400, rng.normal(0, 1, 400)
    event_time, censoring = rng.exponential(600 / np.exp(0.8 * x)), rng.uniform(50, 900, n)
    time, event = np.minimum(event_time, censoring), (event_time <= censoring).astype(int)
    wide = table({"equipoise": 1 - np.exp(-365 / 600 * np.exp(x))}, np.full(n, np.nan), time_days=time, event=event, target="h=365")
    rows, made = own_ladder(wide, "time_to_event", protocol(**ASKED, endpoints=["ipcw_brier"]))
    fold, risk = _folds(rows.cluster, 0), rows.forecasts[("equipoise", "all")].risk[:, 0]
    others = fold != 2
    known = known_at(rows.time[others], rows.event[others], 365.0)
    design = sm.add_constant(logit(risk[others]))
    full = sm.GLM(known.status, design, family=sm.families.Binomial(), freq_weights=known.weight).fit(tol=1e-12)
    np.testing.assert_allclose(lines_of(rows, made, "intercept_and_slope")[2], full.params, rtol=1e-7)


def test_no_row_is_recalibrated_by_its_own_outcome_and_clusters_stay_together() -> None:
    predictions = miscalibrated(200, 5).with_columns((pl.col("subject_id").str.slice(1).cast(pl.Int64) // 4).cast(pl.String).alias("cluster"))
    rows, made = own_ladder(predictions, "binary", ONLY_BRIER)
    fold = _folds(rows.cluster, ONLY_BRIER.seed)
    assert all(np.unique(fold[rows.cluster == c]).size == 1 for c in range(50))
    rows.outcome[fold == 0] = 1 - rows.outcome[fold == 0]
    again = ladder(rows, ONLY_BRIER, endpoints_of("binary", ONLY_BRIER)[0], "equipoise", "all")
    assert lines_of(rows, again, "intercept_and_slope")[0].tolist() == lines_of(rows, made, "intercept_and_slope")[0].tolist()
    assert lines_of(rows, again, "intercept_and_slope")[1].tolist() != lines_of(rows, made, "intercept_and_slope")[1].tolist()


@pytest.mark.slow
def test_over_many_cohorts_the_lines_and_the_mended_calibration_are_those_that_were_planted() -> None:
    """60 cohorts of 1,000 rows; planted logit P = -0.8 + 0.5 logit risk."""
    lines, slopes = [], []
    asked = protocol(**ASKED, endpoints=["calibration_slope", "brier"], primary="brier")
    for seed in range(60):
        rows, made = own_ladder(miscalibrated(1000, 100 + seed), "binary", asked)
        lines.append(lines_of(rows, made, "intercept_and_slope").mean(0))
        slopes.append(made["rungs"]["intercept_and_slope"]["endpoints"]["calibration_slope"]["value"])
    error = np.std(lines, axis=0, ddof=1) / np.sqrt(len(lines))
    assert (np.abs(np.mean(lines, axis=0) - [-0.8, 0.5]) < 3 * error).all()
    # Cross-fitted lines scatter against their own fold, so the slope stays a little below 1 (.970 here, .5 before).
    assert 0.95 < np.mean(slopes) < 1


def test_the_ladder_stands_in_results_and_page_only_where_it_is_asked_for() -> None:
    predictions = miscalibrated(300, 8)
    assert "recalibration_ladder" not in judged(predictions)
    results = judged(predictions, protocol=protocol(**ASKED, min_cell=500))
    rungs, own = results["recalibration_ladder"]["rungs"], results["endpoints"]
    assert set(rungs["in_the_large"]["endpoints"]) == set(own)
    assert rungs["intercept_and_slope"]["endpoints"]["brier"]["value"] < rungs["in_the_large"]["endpoints"]["brier"]["value"] < own["brier"]["value"]
    text = page(results, {})
    assert "after local recalibration: intercept and slope" in text
    assert "could not be made" not in text
    assert "After local recalibration" not in page(judged(predictions, protocol=protocol(min_cell=500)), {})


def test_a_rung_that_cannot_be_fitted_says_so() -> None:
    constant = miscalibrated(100, 9).with_columns(pl.lit(0.3).alias("risk"))
    made = judged(constant, protocol=protocol(**ASKED))["recalibration_ladder"]
    assert "could not be fitted" in made["rungs"]["intercept_and_slope"]["note"]
    assert "endpoints" in made["rungs"]["in_the_large"]
    few = miscalibrated(100, 9).with_columns(pl.lit("one").alias("cluster"))
    assert "fewer than 5 clusters" in judged(few, protocol=protocol(**ASKED))["recalibration_ladder"]["note"]

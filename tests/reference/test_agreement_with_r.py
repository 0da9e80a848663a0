"""Agreement with R's packages on seeded data, frozen in reference.json by make_reference.R (versions inside), and with scikit-learn, statsmodels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.stats.aipw import average_effect, doubly_robust_scores, effect_slope, top_minus_bottom
from equipoise.stats.calibration_curve import calibration_error, smooth
from equipoise.stats.concordance import harrell_c, uno_c
from equipoise.stats.delong import roc_areas
from equipoise.stats.hosmer_lemeshow import hosmer_lemeshow
from equipoise.stats.ipcw import ipcw_brier, known_at
from equipoise.stats.net_benefit import net_benefit
from equipoise.stats.proportion import wilson_interval
from equipoise.stats.recalibration import calibration_in_the_large, calibration_slope, in_the_large_interval, slope_interval
from equipoise.stats.regression import linear_slope, mean_residual, pearson_interval, pearson_r, r2, rmse
from equipoise.stats.roc import auroc, average_precision, roc_curve
from equipoise.stats.scores import brier, crps_normal, log_score
from equipoise.stats.survival import aalen_johansen, censoring_survival, kaplan_meier

pytestmark = pytest.mark.reference
FROZEN = json.loads((Path(__file__).parent / "reference.json").read_text())


def part(name: str) -> dict[str, Any]:
    return {k: np.array(v, dtype=float) if isinstance(v, list) else v for k, v in FROZEN[name].items()}


B, C, S, T = (part(name) for name in ("binary", "continuous", "survival", "treatment"))


def agrees(found: Any, expected: Any, digits: float = 12) -> None:
    """To a relative error of 10^-digits."""
    np.testing.assert_allclose(found, expected, rtol=10.0**-digits, atol=10.0 ** -(digits + 1))


def test_the_frozen_values_name_their_packages() -> None:
    assert {"R", "pROC", "rms", "survival", "prodlim", "riskRegression"} <= set(FROZEN["versions"])


def test_auroc_equals_proc() -> None:
    agrees([auroc(B["p1"], B["y"]), auroc(B["p2"], B["y"])], B["auroc"], 13)


def test_auroc_equals_hmisc_somers2() -> None:
    # val.prob's own C is of risks rounded to 0.002, so it is not compared.
    agrees(auroc(B["p1"], B["y"]), B["somers2_c"], 12)


def test_delong_variance_and_covariance_equal_proc() -> None:
    areas = roc_areas(np.stack([B["p1"], B["p2"]]), B["y"])
    agrees(np.diag(areas.covariance), B["delong_variance"], 12)
    agrees(areas.covariance[0, 1], B["delong_covariance"], 12)


def test_delong_interval_and_paired_p_equal_proc() -> None:
    areas = roc_areas(np.stack([B["p1"], B["p2"]]), B["y"])
    one = areas.interval(0, 0.95)
    agrees([one.lo, one.hi], [B["delong_lo"], B["delong_hi"]], 12)
    both = areas.difference(0, 1, 0.95)
    agrees(both.value / both.se, B["paired_z"], 11)
    agrees(both.p, B["paired_p"], 11)


def test_calibration_slope_and_its_error_equal_glm() -> None:
    agrees(calibration_slope(B["p1"], B["y"]), B["slope"], 12)
    agrees(calibration_slope(B["p1"], B["y"]), B["val_prob_slope"], 5)  # lrm stops earlier
    agrees(slope_interval(B["p1"], B["y"], 0.95).se, B["slope_se"], 10)


def test_calibration_in_the_large_and_its_error_equal_glm_with_offset() -> None:
    agrees(calibration_in_the_large(B["p1"], B["y"]), B["in_the_large"], 12)
    agrees(in_the_large_interval(B["p1"], B["y"], 0.95).se, B["in_the_large_se"], 10)


def test_clustered_sandwich_error_of_the_slope_equals_rms_robcov() -> None:
    clusters = np.unique(B["cluster"]).size
    # robcov has no factor clusters / (clusters - 1).
    agrees(slope_interval(B["p1"], B["y"], 0.95, B["cluster"]).se, B["slope_robust_se"] * np.sqrt(clusters / (clusters - 1)), 6)


def test_ici_e50_and_e90_equal_those_of_r_loess() -> None:
    found = calibration_error(B["p1"], B["y"])
    agrees([found.ici, found.e50, found.e90], [B["ici"], B["e50"], B["e90"]], 11)


def test_the_calibration_curve_equals_r_loess_with_and_without_weights() -> None:
    agrees(smooth(B["p1"], B["y"], B["curve_at"]).observed, B["curve"], 11)
    agrees(smooth(B["p1"], B["y"], B["curve_at"], B["weight"]).observed, B["curve_weighted"], 11)


def test_brier_equals_rms_val_prob() -> None:
    agrees(brier(B["p1"], B["y"]).mean(), B["val_prob_brier"], 12)


def test_log_score_equals_r_dbinom() -> None:
    agrees(log_score(B["p1"], B["y"]).mean(), B["log_score"], 13)


def test_net_benefit_equals_the_formula_in_r() -> None:
    agrees(net_benefit(B["p1"], B["y"], B["thresholds"]), B["net_benefit"], 12)


def test_wilson_interval_equals_prop_test() -> None:
    lo, hi = wilson_interval(B["y"].sum()[None], np.array([B["y"].size]), 0.95)
    agrees([lo[0], hi[0]], B["wilson"], 12)


def test_hosmer_lemeshow_equals_the_formula_in_r() -> None:
    agrees(hosmer_lemeshow(B["p1"], B["y"]).h, B["hosmer_lemeshow"], 11)


def test_crps_of_a_normal_equals_its_integral() -> None:
    agrees(crps_normal(C["mean"], C["sd"], C["y"]), C["crps"], 8)


def test_pearson_r_and_its_interval_equal_cor_test() -> None:
    agrees(pearson_r(C["mean"], C["y"]), C["r"], 13)
    found = pearson_interval(float(C["r"]), C["y"].size, 0.95)
    agrees([found.lo, found.hi], C["r_interval"], 12)


def test_the_calibration_line_rmse_and_r2_equal_lm() -> None:
    agrees(linear_slope(C["mean"], C["y"]), C["slope"], 12)
    agrees(mean_residual(C["mean"], C["y"]), C["mean_residual"], 11)
    agrees(rmse(C["mean"], C["y"]), C["rmse"], 13)
    agrees(r2(C["mean"], C["y"]), C["r2"], 11)


def test_kaplan_meier_equals_survfit_also_with_late_entry() -> None:
    agrees(kaplan_meier(S["time"], S["event"]).at(S["places"]), S["km"], 12)
    agrees(kaplan_meier(S["time"], S["event"], S["entry"]).at(S["places"]), S["km_late"], 12)


def test_aalen_johansen_equals_survfit_also_with_late_entry() -> None:
    agrees(aalen_johansen(S["time"], S["event"], 1).at(S["places"]), S["aj"], 12)
    agrees(aalen_johansen(S["time"], S["event"], 1, S["entry"]).at(S["places"]), S["aj_late"], 12)


def test_aalen_johansen_equals_prodlim() -> None:
    agrees(aalen_johansen(S["time"], S["event"], 1).at(S["places"]), S["aj_prodlim"], 12)


def test_the_censoring_survival_equals_prodlim_reverse() -> None:
    agrees(censoring_survival(S["time"], S["event"]).at(S["places"]), S["g_prodlim"], 12)


def test_harrell_c_equals_survival_concordance_also_with_late_entry() -> None:
    own = (S["event"] == 1).astype(int)
    agrees(harrell_c(S["risk"], S["time"], own), S["harrell"], 13)
    agrees(harrell_c(S["risk"], S["time"], own, S["entry"]), S["harrell_late"], 13)


def test_uno_c_equals_survival_concordance() -> None:
    agrees(uno_c(S["risk"], S["time"], (S["event"] == 1).astype(int), S["horizon"]), S["uno"], 12)


@pytest.mark.parametrize("causes", ["single", "competing"])
def test_auroc_and_brier_at_a_horizon_equal_riskregression(causes: str) -> None:
    event = (S["event"] == 1).astype(int) if causes == "single" else S["event"]
    known = known_at(S["time"], event, S["horizon"])
    agrees(auroc(S["risk"], known.status, known.weight), S[f"auc_{causes}"], 10)
    agrees(ipcw_brier(S["risk"], S["time"], event, S["horizon"]), S[f"brier_{causes}"], 10)


def test_effects_from_doubly_robust_scores_equal_the_formulas_in_r() -> None:
    score = doubly_robust_scores(T["outcome"], T["treatment"], T["mu0"], T["mu1"], T["propensity"])
    found = average_effect(score, 0.95)
    agrees([found.value, found.se], [T["average"], T["se"]], 12)
    agrees(effect_slope(score, T["effect"]), T["slope"], 11)
    agrees(top_minus_bottom(score, T["effect"]), T["top_minus_bottom"], 11)


def test_average_precision_roc_and_log_score_equal_scikit_learn_with_weights() -> None:
    from sklearn import metrics

    for risk in (B["p1"], B["p2"]):
        for weight in (None, B["weight"]):
            agrees(average_precision(risk, B["y"], weight), metrics.average_precision_score(B["y"], risk, sample_weight=weight), 12)
            agrees(auroc(risk, B["y"], weight), metrics.roc_auc_score(B["y"], risk, sample_weight=weight), 12)
    fpr, tpr, _ = metrics.roc_curve(B["y"], B["p2"], drop_intermediate=False)
    found = roc_curve(B["p2"], B["y"])
    agrees(found.fpr, fpr, 13)
    agrees(found.tpr, tpr, 13)
    agrees(log_score(B["p1"], B["y"]).mean(), metrics.log_loss(B["y"], B["p1"]), 13)


def test_clustered_slope_error_equals_statsmodels() -> None:
    import statsmodels.api as sm

    design = sm.add_constant(np.log(B["p1"] / (1 - B["p1"])))
    fit = sm.Logit(B["y"], design).fit(disp=0, tol=1e-14, cov_type="cluster", cov_kwds={"groups": B["cluster"].astype(int)})
    n = B["y"].size
    found = slope_interval(B["p1"], B["y"], 0.95, B["cluster"])
    agrees(found.value, fit.params[1], 10)
    agrees(found.se * np.sqrt((n - 1) / (n - 2)), fit.bse[1], 8)  # statsmodels' further factor for small samples


def test_uno_c_equals_scikit_survival_without_ties_of_time() -> None:
    metrics = pytest.importorskip("sksurv.metrics")

    rng = np.random.default_rng(5)
    time, censored = rng.exponential(5, 200), rng.exponential(8, 200)
    own, seen = time <= censored, np.minimum(time, censored)
    risk = -time + rng.normal(0, 5, 200)
    survival = np.array(list(zip(own, seen, strict=True)), dtype=[("e", bool), ("t", float)])
    agrees(uno_c(risk, seen, own.astype(int), 6.0), metrics.concordance_index_ipcw(survival, survival, risk, tau=6.0)[0], 12)
    agrees(harrell_c(risk, seen, own.astype(int)), metrics.concordance_index_censored(own, seen, risk)[0], 13)

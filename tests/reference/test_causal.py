"""Agreement of effects of a treatment with R and statsmodels (R's values frozen in causal.json, made by make_causal.R)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.treatment.treatment_effects import TreatmentEffect

from equipoise.stats.clone_censor import FollowUp, clone_censor_weight
from equipoise.stats.point_treatment import ArmContrast, aipw_effect, g_formula, ipw_effect
from equipoise.stats.propensity import balancing_weights, crump_bound, overlap, standardized_differences

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def r() -> dict[str, Any]:
    return {k: np.array(v) if isinstance(v, list) else v for k, v in json.loads((Path(__file__).parent / "causal.json").read_text()).items()}


def agrees(made: ArmContrast, r: dict[str, float]) -> None:
    """Means to 9 digits, standard errors to 7: R's come from numerical derivatives."""
    for name in ("untreated", "treated", "difference"):
        assert getattr(made, name).value == pytest.approx(r[name], rel=1e-9)
    assert made.difference.se == pytest.approx(r["se"], rel=1e-7)
    assert made.log_ratio.value == pytest.approx(r["log_ratio"], rel=1e-8)
    assert made.log_ratio.se == pytest.approx(r["log_ratio_se"], rel=1e-7)


@pytest.mark.parametrize("estimand", ["ATE", "ATT", "ATO"])
def test_weighting_equals_stacked_estimating_equations_in_r(r: dict[str, Any], estimand: str) -> None:
    agrees(ipw_effect(r["y"], r["a"], r["x"], estimand=estimand), r["ipw"][estimand])


def test_weighting_of_a_binary_outcome_equals_r(r: dict[str, Any]) -> None:
    agrees(ipw_effect(r["b"], r["a"], r["x"]), r["ipw_binary"])


def test_weighting_for_missing_outcomes_equals_r(r: dict[str, Any]) -> None:
    agrees(ipw_effect(np.where(r["r"] == 1, r["y"], np.nan), r["a"], r["x"]), r["ipw_missing"])


@pytest.mark.parametrize("estimand", ["ATE", "ATT"])
def test_standardisation_equals_r(r: dict[str, Any], estimand: str) -> None:
    agrees(g_formula(r["y"], r["a"], r["x"], estimand=estimand), r["g"][estimand])


def test_standardisation_of_a_binary_outcome_equals_r(r: dict[str, Any]) -> None:
    agrees(g_formula(r["b"], r["a"], r["x"]), r["g_binary"])


def test_aipw_without_folds_equals_r(r: dict[str, Any]) -> None:
    made = aipw_effect(r["y"], r["a"], r["x"], None).difference
    assert (made.value, made.se) == (pytest.approx(r["aipw"]["difference"], rel=1e-8), pytest.approx(r["aipw"]["se"], rel=1e-8))


def test_three_estimators_equal_statsmodels_with_its_standard_errors(r: dict[str, Any]) -> None:
    design = sm.add_constant(r["x"])
    theirs = TreatmentEffect(sm.OLS(r["y"], design), r["a"], results_select=sm.Logit(r["a"], design).fit(disp=0, tol=1e-12))
    for made, other in ((ipw_effect(r["y"], r["a"], r["x"]), theirs.ipw()), (g_formula(r["y"], r["a"], r["x"]), theirs.ra())):
        assert made.difference.value == pytest.approx(np.ravel(other.effect)[0], rel=1e-8)
        assert made.difference.se == pytest.approx(np.ravel(other.results_gmm.bse)[0], rel=1e-6)
    assert aipw_effect(r["y"], r["a"], r["x"], None).difference.value == pytest.approx(np.ravel(theirs.aipw().effect)[0], rel=1e-8)


def test_balance_equals_r(r: dict[str, Any]) -> None:
    np.testing.assert_allclose(standardized_differences(r["x"], r["a"]), r["smd"], rtol=1e-11)
    weighted = standardized_differences(r["x"], r["a"], balancing_weights(r["propensity"], r["a"]))
    np.testing.assert_allclose(weighted, r["smd_weighted"], rtol=1e-9, atol=1e-12)


def test_trimming_keeps_as_many_rows_as_r(r: dict[str, Any]) -> None:
    assert overlap(r["propensity"], r["a"], bound=crump_bound(r["propensity"])).kept.sum() == r["kept"]


def test_clone_censor_weight_equals_glm_and_weighted_survfit(r: dict[str, Any]) -> None:
    c = {k: np.array(v) for k, v in r["ccw"].items()}
    made = clone_censor_weight(FollowUp(c["start"], c["end"], c["event"], r["x"][:, :2]), grace=3, horizon=6)
    assert made.refrain[-1] == pytest.approx(float(c["risk_never"]), rel=1e-8)
    assert made.begin[-1] == pytest.approx(float(c["risk_begin"]), rel=1e-8)

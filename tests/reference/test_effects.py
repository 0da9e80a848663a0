"""Effect rankings, best linear predictor and policies against R: definitions written out, `lm`, `sandwich`; frozen in effects.json by make_effects.R."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.stats.aipw import best_linear_predictor, doubly_robust_scores
from equipoise.stats.effect_ranking import autoc, qini, targeting_curve
from equipoise.stats.policy import arm_scores, policy_gain_interval, policy_value
from equipoise.stats.repeated_splits import centred_within, ranks_within

pytestmark = pytest.mark.reference
R: dict[str, Any] = {
    k: np.array(v, dtype=float) if isinstance(v, list) else v for k, v in json.loads((Path(__file__).parent / "effects.json").read_text()).items()
}
ARMS = arm_scores(*(R[k] for k in ("outcome", "treatment", "mu0", "mu1", "propensity")))


def agrees(found: Any, expected: Any, digits: float = 11) -> None:
    """To a relative error of 10^-digits."""
    np.testing.assert_allclose(found, expected, rtol=10.0**-digits, atol=10.0 ** -(digits + 1))


def test_scores_of_the_effect_and_of_the_arms_are_those_of_r() -> None:
    agrees(doubly_robust_scores(*(R[k] for k in ("outcome", "treatment", "mu0", "mu1", "propensity"))), R["score"])
    agrees(ARMS[:, 1] - ARMS[:, 0], R["score"])


def test_the_targeting_curve_equals_its_definition_with_ties_and_weights_too() -> None:
    agrees(targeting_curve(R["score"], R["effect"], R["shares"]), R["toc"])
    agrees(targeting_curve(R["score"], R["tied"], R["shares"], R["weight"]), R["toc_tied"])


def test_autoc_and_qini_equal_numerical_integrals_of_the_definition() -> None:
    agrees([f(R["score"], R["effect"]) for f in (autoc, qini)], R["areas"])
    agrees([f(R["score"], R["tied"], R["weight"]) for f in (autoc, qini)], R["areas_tied"])


def test_the_sum_over_rows_of_grf_is_the_same_qini_and_nearly_the_same_autoc() -> None:
    agrees(qini(R["score"], R["effect"]), R["sums_over_rows"][1])
    n = R["score"].size
    assert abs(float(autoc(R["score"], R["effect"])) - R["sums_over_rows"][0]) < R["score"].std() * np.log(n) / n


def test_the_slope_and_its_errors_equal_lm_and_sandwich() -> None:
    n = R["score"].size
    alone = best_linear_predictor(R["score"], R["effect"], 0.95)
    agrees(alone.heterogeneity.value, R["slope"])
    agrees(alone.average.value, R["intercept_at_mean"])
    agrees(alone.heterogeneity.se, R["hc3"] * np.sqrt((n - 1) / n))
    clustered = best_linear_predictor(R["score"], R["effect"], 0.95, R["cluster"])
    agrees(clustered.heterogeneity.se, R["vcov_cl_hc3"])
    agrees(clustered.heterogeneity.se, R["cv3"])
    weighted = best_linear_predictor(R["score"], R["effect"], 0.95, R["cluster"], R["weight"])
    agrees([weighted.heterogeneity.value, weighted.heterogeneity.se], [R["slope_weighted"], R["cv3_weighted"]])


def test_the_slope_on_centred_effects_is_that_of_lm_with_a_level_for_each_fold() -> None:
    centred = best_linear_predictor(centred_within(R["score"], R["fold"]), centred_within(R["effect"], R["fold"]), 0.95)
    agrees(centred.heterogeneity.value, R["slope_folds"])
    agrees(best_linear_predictor(R["score"], centred_within(R["effect"], R["fold"]), 0.95).heterogeneity.value, R["slope_folds"])
    agrees(ranks_within(R["effect"], R["fold"]), R["ranks_within"])


def test_values_and_gains_of_policies_equal_means_and_errors_of_r() -> None:
    everyone, nobody = np.ones(R["rule"].size), np.zeros(R["rule"].size)
    for name, rule in (("policy", R["rule"]), ("treat_all", everyone), ("treat_none", nobody)):
        _same(R[name], policy_value(ARMS, rule, 0.95), policy_value(ARMS, rule, 0.95, R["cluster"], R["weight"]))
    for name, over in (("over_all", everyone), ("over_guideline", R["guideline"])):
        found = [policy_gain_interval(R["score"], R["rule"], over, 0.95, *more) for more in ((), (R["cluster"], R["weight"]))]
        _same(R[name], *found)


def _same(expected: dict[str, float], alone: Any, clustered: Any) -> None:
    agrees([alone.value, alone.se], [expected["value"], expected["se"]])
    agrees([clustered.value, clustered.se], [expected["weighted"], expected["clustered_se"]])

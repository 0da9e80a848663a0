"""Meta-analysis against R's metafor, frozen in meta_analysis.json by make_meta_analysis.R."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from equipoise.stats.meta_analysis import Between, fixed_effect, random_effects
from equipoise.stats.pooling_scale import scale_of

pytestmark = pytest.mark.reference
FROZEN = json.loads((Path(__file__).parent / "meta_analysis.json").read_text())
SETS = ("heterogeneous", "homogeneous", "three")


def test_the_frozen_values_name_their_packages() -> None:
    assert set(FROZEN["versions"]) == {"R", "metafor"}


@pytest.mark.parametrize("data", SETS)
def test_a_common_value_equals_metafor(data: str) -> None:
    own = FROZEN[data]
    found = fixed_effect(np.array(own["y"]), np.array(own["se"]), 0.95)
    mean = found.mean
    np.testing.assert_allclose([mean.value, mean.se, mean.lo, mean.hi, found.q, found.q_p, 100 * found.i2], own["fixed"], rtol=1e-12)


@pytest.mark.parametrize("data", SETS)
@pytest.mark.parametrize("between", ["REML", "DL", "PM"])
@pytest.mark.parametrize("test", ["knha", "adhoc"])
def test_random_effects_equal_metafor(data: str, between: Between, test: str) -> None:
    own = FROZEN[data]
    tau2, value, se, lo, hi, pi_lo, pi_hi, i2, q, q_p, _, _ = own[f"{between}_{test}"]
    found = random_effects(np.array(own["y"]), np.array(own["se"]), 0.95, between, modified=test == "adhoc")
    mean = found.mean
    np.testing.assert_allclose([found.tau2, found.i2 * 100], [tau2, i2], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose([mean.value, mean.se, mean.lo, mean.hi, found.lo, found.hi], [value, se, lo, hi, pi_lo, pi_hi], rtol=1e-9)
    np.testing.assert_allclose([found.q, found.q_p], [q, q_p], rtol=1e-11)


def test_areas_on_log_odds_and_ratios_on_logarithms_equal_metafor() -> None:
    for data, name in (("areas", "auroc"), ("ratios", "observed_expected")):
        own, scale = FROZEN[data], scale_of(name)
        found = random_effects(*scale.of(np.array(own["value"]), np.array(own["se"])), 0.95, modified=False)
        ends = np.array([found.mean.value, found.mean.lo, found.mean.hi, found.lo, found.hi])
        np.testing.assert_allclose(scale.back(ends), own["found"], rtol=1e-9)

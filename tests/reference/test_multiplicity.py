"""Adjusted p-values, and intervals of a few values, equal R's; frozen in multiplicity.json by make_multiplicity.R."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from equipoise.stats.means import mean_interval, welch_interval
from equipoise.stats.multiplicity import benjamini_hochberg, holm

pytestmark = pytest.mark.reference
FROZEN = json.loads((Path(__file__).parent / "multiplicity.json").read_text())
MEANS = {k: np.array(v, dtype=float) for k, v in FROZEN["means"].items()}


@pytest.mark.parametrize("name", FROZEN["adjusted"])
def test_holm_and_benjamini_hochberg_equal_r_p_adjust(name: str) -> None:
    found = {k: np.atleast_1d(np.array(v, dtype=float)) for k, v in FROZEN["adjusted"][name].items()}
    np.testing.assert_allclose(holm(found["p"]), found["holm"], rtol=1e-13)
    np.testing.assert_allclose(benjamini_hochberg(found["p"]), found["benjamini_hochberg"], rtol=1e-13)


def test_the_interval_of_a_mean_equals_r_t_test() -> None:
    found = mean_interval(MEANS["a"], 0.95)
    np.testing.assert_allclose([found.value, found.se, found.lo, found.hi], [MEANS["mean"], MEANS["se"], *MEANS["interval"]], rtol=1e-13)
    np.testing.assert_allclose(found.p, MEANS["p"], rtol=1e-11)


def test_the_interval_of_a_difference_of_means_equals_r_t_test() -> None:
    found = welch_interval(MEANS["a"], MEANS["b"], 0.9)
    np.testing.assert_allclose([found.se, found.lo, found.hi, found.p], [MEANS["welch_se"], *MEANS["welch_interval"], MEANS["welch_p"]], rtol=1e-11)

"""The delete-one-cluster jackknife."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.stats.jackknife import jackknife_interval, without_each
from equipoise.stats.weighting import weighted_mean


def test_of_a_mean_of_single_rows_it_is_the_t_interval() -> None:
    x = np.random.default_rng(0).normal(size=12)
    found = jackknife_interval(float(x.mean()), weighted_mean(x, without_each(np.arange(12))), 0.95)
    assert found.se == pytest.approx(x.std(ddof=1) / np.sqrt(12))
    assert found.hi - found.value == pytest.approx(2.200985 * found.se, rel=1e-6)  # R: qt(0.975, 11)


def test_of_a_ratio_it_is_the_formula_written_out() -> None:
    rng = np.random.default_rng(1)
    cluster, x = rng.integers(0, 7, 40), rng.normal(size=40)
    left = np.array([x[cluster != c].mean() for c in np.unique(cluster)])
    found = jackknife_interval(float(x.mean()), weighted_mean(x, without_each(cluster)), 0.9)
    assert found.se == pytest.approx(np.sqrt(6 / 7 * ((left - left.mean()) ** 2).sum()))


def test_there_is_no_interval_where_one_cluster_decides_whether_there_is_a_value() -> None:
    assert np.isnan(jackknife_interval(0.5, np.array([0.4, np.nan, 0.6]), 0.95).lo)
    assert np.isnan(jackknife_interval(0.5, np.array([0.4]), 0.95).lo)
    assert jackknife_interval(0.95, np.array([0.8, 0.9, 1.0]), 0.95, ceiling=1.0).hi == 1.0

"""Several groups at once: the interaction test and simultaneous intervals, against formulas and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2, f_oneway

from equipoise.stats.heterogeneity import heterogeneity
from equipoise.stats.simultaneous import simultaneous_intervals, spread


def test_wald_of_independent_groups_is_cochrans_q_whichever_group_comes_first() -> None:
    x, v = np.array([0.3, 0.9, -0.2, 0.4]), np.array([0.04, 0.1, 0.06, 0.02])
    mean = (x / v).sum() / (1 / v).sum()
    for order in ([0, 1, 2, 3], [2, 3, 1, 0]):
        found = heterogeneity(x[order], np.diag(v[order]))
        assert found.q == pytest.approx(((x - mean) ** 2 / v).sum(), rel=1e-12)
        assert found.p == pytest.approx(chi2.sf(found.q, 3), rel=1e-12)


def test_groups_that_move_together_differ_more_surely_than_independent_ones() -> None:
    x, apart = np.array([0.0, 0.3]), np.diag([0.04, 0.04])
    assert heterogeneity(x, apart + 0.03 * (1 - np.eye(2))).p < heterogeneity(x, apart).p


def test_with_clusters_the_test_is_welchs() -> None:
    """Three groups of single rows, beside scipy's Welch test."""
    rng = np.random.default_rng(0)
    groups = [rng.normal(size=12) + 0.3 * g for g in range(3)]
    x, v = np.array([g.mean() for g in groups]), np.diag([g.var(ddof=1) / 12 for g in groups])
    assert heterogeneity(x, v, np.array([12, 12, 12])).p == pytest.approx(f_oneway(*groups, equal_var=False).pvalue, rel=1e-10)


def test_what_cannot_be_tested_is_not() -> None:
    for x, v in (([1.0], [[1.0]]), ([1.0, np.nan], np.eye(2)), ([1.0, 2.0], np.ones((2, 2)))):
        assert np.isnan(heterogeneity(np.array(x), np.array(v)).p)
    draws = np.random.default_rng(0).normal(size=(50, 6))
    assert np.isnan(simultaneous_intervals(np.full(6, 9.0), draws, 0.95, np.full(6, 40))[0]).all()
    assert np.isnan(spread(draws, np.array([40, 40, 40, 40, 40, 4]))).all()


def test_one_group_has_the_percentile_interval_and_more_groups_wider_ones() -> None:
    draws = np.random.default_rng(0).normal(size=(4000, 5))
    widths = [np.diff(np.array(simultaneous_intervals(np.zeros(k), draws[:, :k], 0.95, np.full(k, 10**6))[:2]), axis=0).mean() for k in (1, 2, 5)]
    np.testing.assert_allclose(widths, 2 * np.array([1.960, 2.236, 2.569]), rtol=0.03)  # normal quantiles at 1 - (1 - 0.95^(1/k)) / 2


@pytest.mark.slow
@pytest.mark.parametrize("rows_a_cluster", [1, 5])
def test_the_interaction_test_keeps_its_level_and_simultaneous_intervals_hold_together(rows_a_cluster: int) -> None:
    """Brier losses of one distribution in 4 groups of about 120 clusters or more that reach over groups: 5 % rejected, all intervals hold in 95 %."""
    n_sets, n_clusters, k, resamples = 600, 480, 4, 500

    def losses(rng: np.random.Generator, clusters: int) -> np.ndarray:
        cluster = np.repeat(np.arange(clusters), rows_a_cluster)
        p = expit(rng.normal(-0.7, 0.8, clusters)[cluster] + rng.normal(0, 0.8, cluster.size))
        return np.asarray((p - (rng.random(cluster.size) < p)) ** 2)

    truth = float(losses(np.random.default_rng(1), 2_000_000 // rows_a_cluster).mean())
    cluster = np.repeat(np.arange(n_clusters), rows_a_cluster)
    rejected, held = [], []
    for seed in range(n_sets):
        rng = np.random.default_rng([rows_a_cluster, seed])
        loss, group = losses(rng, n_clusters), rng.integers(0, k, cluster.size)
        sums, counts = (np.zeros((n_clusters, k)) for _ in range(2))
        np.add.at(sums, (cluster, group), loss)
        np.add.at(counts, (cluster, group), 1)
        times = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), resamples).astype(float)
        value, draws = sums.sum(0) / counts.sum(0), (times @ sums) / (times @ counts)
        m = (counts > 0).sum(0)
        rejected.append(heterogeneity(value, spread(draws, m), m).p < 0.05)
        lo, hi, _ = simultaneous_intervals(value, draws, 0.95, m)
        held.append(bool(((lo <= truth) & (hi >= truth)).all()))
    print(f"{rows_a_cluster} rows a cluster: rejected {np.mean(rejected):.4f}, held together {np.mean(held):.4f}")
    error = 3 * np.sqrt(0.05 * 0.95 / n_sets)
    assert abs(np.mean(rejected) - 0.05) < error
    assert abs(np.mean(held) - 0.95) < error

"""Among relatives: free of whatever a family shares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from equipoise.stats.within_family import within_concordance, within_correlation, within_products, within_slope


def test_concordance_counts_pairs_of_one_family_only() -> None:
    rng = np.random.default_rng(0)
    family, score, event = rng.integers(0, 30, 100), rng.integers(0, 4, 100).astype(float), rng.integers(0, 2, 100)
    pairs, won = within_concordance(score, event, family, 30)
    for f in range(30):
        here = [(score[i], score[j]) for i, j in itertools.permutations(np.flatnonzero(family == f), 2) if event[i] == 1 and event[j] == 0]
        assert pairs[f] == len(here)
        assert won[f] == sum(a > b for a, b in here) + 0.5 * sum(a == b for a, b in here)


def test_nothing_that_a_family_shares_counts() -> None:
    rng = np.random.default_rng(1)
    family = np.repeat(np.arange(50), 3)
    shared, y = rng.normal(size=50)[family], rng.normal(size=150)
    own = rng.normal(size=150)
    a, b = (within_products(own + k * shared, y + k * shared, family, 50) for k in (0.0, 100.0))
    np.testing.assert_allclose(a, b, atol=1e-8)
    assert np.isnan(within_correlation(within_products(shared, y, family, 50) * [1, 0, 1]))
    outcome = (rng.random(50) < 0.5)[family].astype(int)  # a family has it or not: no pair tells anything
    assert within_concordance(own, outcome, family, 50)[0].sum() == 0


def test_weights_are_repeated_families() -> None:
    rng = np.random.default_rng(2)
    family = np.repeat(np.arange(10), 2)
    p, y = rng.normal(size=20), rng.normal(size=20)
    products, times = within_products(p, y, family, 10), rng.integers(0, 3, 10)
    repeated = np.repeat(products, times, axis=0)
    assert float(within_correlation(products, times.astype(float))) == pytest.approx(float(within_correlation(repeated)))
    assert float(within_slope(products, times.astype(float))) == pytest.approx(float(within_slope(repeated)))

"""AUROC, average precision, DeLong and Obuchowski: against definitions, and under weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.stats.delong import roc_areas
from equipoise.stats.roc import auroc, average_precision, roc_curve


def pairs(risk: np.ndarray, y: np.ndarray) -> float:
    """AUROC by its definition, over all pairs."""
    gap = risk[y == 1][:, None] - risk[y == 0][None, :]
    return float(np.mean((gap > 0) + 0.5 * (gap == 0)))


def tied_data(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return np.round(rng.normal(y, 1.0), 1), y


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
@settings(deadline=None)
def test_auroc_is_the_share_of_concordant_pairs_with_any_ties(rows: list[tuple[int, bool]]) -> None:
    risk, y = np.array([r for r, _ in rows], dtype=float), np.array([int(e) for _, e in rows])
    if 0 < y.sum() < y.size:
        assert float(auroc(risk, y)) == pytest.approx(pairs(risk, y), abs=1e-12)
    else:
        assert np.isnan(auroc(risk, y))


@given(st.integers(0, 500))
@settings(deadline=None, max_examples=40)
def test_weights_count_as_repeated_rows_for_auroc_and_average_precision(seed: int) -> None:
    risk, y = tied_data(seed)
    times = np.random.default_rng(seed + 1).integers(0, 4, (3, y.size))
    for f in (auroc, average_precision):
        each = f(risk, y, times.astype(float))
        for value, t in zip(each, times, strict=True):
            np.testing.assert_allclose(value, f(np.repeat(risk, t), np.repeat(y, t)), atol=1e-12)


def test_auroc_does_not_change_under_a_rising_transformation_and_turns_with_the_sign() -> None:
    risk, y = tied_data(3)
    assert float(auroc(np.exp(risk), y)) == pytest.approx(float(auroc(risk, y)))
    assert float(auroc(-risk, y)) == pytest.approx(1 - float(auroc(risk, y)))


def test_the_roc_curve_ends_at_its_corners_and_its_area_is_the_auroc() -> None:
    risk, y = tied_data(4)
    curve = roc_curve(risk, y)
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    assert float(np.trapezoid(curve.tpr, curve.fpr)) == pytest.approx(float(auroc(risk, y)))


def test_average_precision_of_a_constant_risk_is_the_prevalence() -> None:
    y = np.array([1, 0, 0, 1, 0])
    assert float(average_precision(np.full(5, 0.3), y)) == pytest.approx(0.4)


def test_delong_variance_equals_the_jackknife_of_its_definition() -> None:
    """DeLong's variance is that of the placements, here computed pair by pair."""
    risk, y = tied_data(5, 40)
    gap = risk[y == 1][:, None] - risk[y == 0][None, :]
    won = (gap > 0) + 0.5 * (gap == 0)
    expected = won.mean(1).var(ddof=1) / won.shape[0] + won.mean(0).var(ddof=1) / won.shape[1]
    assert float(roc_areas(risk, y).covariance[0, 0]) == pytest.approx(expected, rel=1e-12)


def test_obuchowski_with_one_row_a_cluster_is_delong() -> None:
    risk, y = tied_data(6)
    both = np.stack([risk, np.random.default_rng(0).normal(size=y.size)])
    one, clustered = roc_areas(both, y), roc_areas(both, y, np.random.default_rng(1).permutation(y.size))
    np.testing.assert_allclose(clustered.covariance, one.covariance, rtol=1e-13)
    assert one.method == clustered.method == "DeLong"


def test_repeating_every_row_within_its_cluster_leaves_the_clustered_variance_as_it_was() -> None:
    """Copies carry no information: DeLong would shrink the variance fivefold, the clustered form must not."""
    risk, y = tied_data(7, 200)
    copies = roc_areas(np.repeat(risk, 5), np.repeat(y, 5), np.repeat(np.arange(200), 5))
    single, naive = roc_areas(risk, y), roc_areas(np.repeat(risk, 5), np.repeat(y, 5))
    assert copies.clustered
    assert float(copies.covariance[0, 0]) == pytest.approx(float(single.covariance[0, 0]), rel=1e-10)
    assert float(naive.covariance[0, 0]) < 0.25 * float(single.covariance[0, 0])


def test_two_equal_risks_differ_by_zero_with_no_error() -> None:
    risk, y = tied_data(8)
    found = roc_areas(np.stack([risk, risk]), y).difference(0, 1, 0.95)
    assert (found.value, found.lo, found.hi, found.p) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("outcome", [np.zeros(5), np.ones(5)])
def test_one_class_only_gives_no_area(outcome: np.ndarray) -> None:
    risk = np.linspace(0, 1, 5)
    assert np.isnan(auroc(risk, outcome))
    assert np.isnan(roc_areas(risk, outcome).interval(0, 0.95).lo)

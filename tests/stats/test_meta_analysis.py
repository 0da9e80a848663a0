"""Meta-analysis: properties that hold whatever the numbers, and simulation from a known truth. Agreement with metafor is in tests/reference."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.stats.meta_analysis import between_sites, fixed_effect, random_effects, unweighted_mean
from equipoise.stats.pooling_scale import FISHER_Z, LOG, LOGIT, scale_of


def sites(seed: int, k: int, tau: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([11, seed])
    se = rng.uniform(0.03, 0.4, k)
    return rng.normal(0.3, tau, k) + rng.normal(0, se), se


def restricted(tau2: float, y: np.ndarray, v: np.ndarray) -> float:
    w = 1 / (v + tau2)
    mean = (w * y).sum() / w.sum()
    return float(np.log(w).sum() - np.log(w.sum()) - (w * (y - mean) ** 2).sum()) / 2


@pytest.mark.parametrize("k", [2, 3, 10])
def test_reml_is_the_highest_point_of_the_restricted_likelihood(k: int) -> None:
    for seed in range(30):
        y, se = sites(seed, k, 0.1)
        found = between_sites(y, se)
        best = max(restricted(t, y, se**2) for t in np.concatenate([[0], np.geomspace(1e-6, 2, 400)]))
        assert restricted(found, y, se**2) >= best - 1e-12


def test_equal_errors_give_the_moment_estimate_by_every_method() -> None:
    y, _ = sites(3, 8)
    se = np.full(8, 0.05)
    expected = y.var(ddof=1) - 0.05**2
    assert expected > 0
    for method in ("REML", "DL", "PM"):
        assert between_sites(y, se, method) == pytest.approx(expected, rel=1e-10)
    found = random_effects(y, se, 0.95)
    plain = unweighted_mean(y, 0.95)
    assert (found.mean.lo, found.mean.hi) == pytest.approx((plain.lo, plain.hi), rel=1e-10)


def test_results_move_and_stretch_with_the_values() -> None:
    y, se = sites(5, 6)
    found, moved = random_effects(y, se, 0.9), random_effects(3 * y + 2, 3 * se, 0.9)
    expected = [9 * found.tau2, 3 * found.mean.value + 2, 3 * found.mean.lo + 2, 3 * found.lo + 2, found.i2, found.q]
    np.testing.assert_allclose([moved.tau2, moved.mean.value, moved.mean.lo, moved.lo, moved.i2, moved.q], expected, rtol=1e-9)


def test_sites_that_agree_too_well_give_no_interval_narrower_than_a_common_value() -> None:
    y, se = np.array([0.20, 0.21, 0.20, 0.21]), np.full(4, 0.1)
    plain, kept, common = random_effects(y, se, 0.95, modified=False), random_effects(y, se, 0.95), fixed_effect(y, se, 0.95)
    assert plain.mean.se < common.mean.se == pytest.approx(kept.mean.se)
    assert kept.mean.lo < common.mean.lo
    assert kept.tau2 == 0
    assert kept.i2 == 0


def test_identical_sites_have_no_spread() -> None:
    found = random_effects(np.full(5, 0.3), np.array([0.1, 0.2, 0.1, 0.3, 0.1]), 0.95)
    assert found.tau2 == 0
    assert found.mean.value == pytest.approx(0.3)
    assert found.weight.sum() == pytest.approx(1)


def test_two_sites_have_no_prediction_interval_and_three_have() -> None:
    assert np.isnan(random_effects(np.array([0.1, 0.2]), np.array([0.1, 0.1]), 0.95).lo)
    three = random_effects(np.array([0.1, 0.2, 0.4]), np.array([0.1, 0.1, 0.1]), 0.95)
    assert three.lo < three.mean.lo
    assert three.hi > three.mean.hi


@pytest.mark.parametrize(
    ("value", "se"), [([0.1], [0.1]), ([0.1, 0.2], [0.1, 0.0]), ([0.1, np.nan], [0.1, 0.1]), ([0.1, 0.2], [0.1, np.inf]), ([0.1, 0.2], [0.1])]
)
def test_what_cannot_be_pooled_is_refused(value: list[float], se: list[float]) -> None:
    with pytest.raises(ValueError, match=r"sites are needed|errors above 0"):
        random_effects(np.array(value), np.array(se), 0.95)


def test_scales_come_back_and_their_slopes_are_their_derivatives() -> None:
    x = np.array([0.2, 0.5, 0.9])
    for scale in (LOGIT, LOG, FISHER_Z):
        np.testing.assert_allclose(scale.back(scale.forward(x)), x, rtol=1e-13)
        np.testing.assert_allclose(scale.slope(x), (scale.forward(x + 1e-6) - scale.forward(x - 1e-6)) / 2e-6, rtol=1e-6)
    assert not np.isfinite(LOGIT.of(np.array([1.0]), np.array([0.1]))[0]).any()
    assert scale_of("brier").name == "as it is"


def within(hits: int, n: int, declared: float) -> bool:
    return abs(hits / n - declared) < 3 * np.sqrt(declared * (1 - declared) / n)


@pytest.mark.slow
def test_intervals_of_ten_sites_cover() -> None:
    """tau 0.3, errors of 0.05 to 0.15 (I2 near 90 %): the mean's interval and the prediction interval of a further site."""
    rng, n, hits, caught = np.random.default_rng(7), 4000, 0, 0
    for _ in range(n):
        se = rng.uniform(0.05, 0.15, 10)
        found = random_effects(rng.normal(0.2, 0.3, 10) + rng.normal(0, se), se, 0.95)
        hits += found.mean.lo <= 0.2 <= found.mean.hi
        caught += found.lo <= rng.normal(0.2, 0.3) <= found.hi
    print("interval", hits / n, "prediction", caught / n)
    assert within(hits, n, 0.95)
    assert within(caught, n, 0.95)


@pytest.mark.slow
def test_plain_hartung_knapp_covers_without_heterogeneity_and_the_modified_one_covers_more() -> None:
    rng, n, plain, kept = np.random.default_rng(8), 3000, 0, 0
    se = np.full(10, 0.1)
    for _ in range(n):
        y = rng.normal(0.2, se)
        for modified in (False, True):
            found = random_effects(y, se, 0.95, modified=modified).mean
            inside = found.lo <= 0.2 <= found.hi
            plain, kept = plain + (inside and not modified), kept + (inside and modified)
    print("plain", plain / n, "modified", kept / n)
    assert within(plain, n, 0.95)
    assert kept > plain


@pytest.mark.slow
@pytest.mark.parametrize("k", [3, 5, 10])
def test_one_large_site_misleads_random_effects_but_not_the_wider_bounds(k: int) -> None:
    """True mean 0, tau 0.1; one site with an error of 0.03, the others 0.15: how often a gain is claimed (one-sided, declared 0.025 at most)."""
    rng, n, alone, both = np.random.default_rng([9, k]), 4000, 0, 0
    se = np.array([0.03, *[0.15] * (k - 1)])
    for _ in range(n):
        y = rng.normal(0, 0.1, k) + rng.normal(0, se)
        lo = random_effects(y, se, 0.95).mean.lo
        alone, both = alone + (lo > 0), both + (min(lo, unweighted_mean(y, 0.95).lo) > 0)
    print(k, "Hartung-Knapp", alone / n, "wider bounds", both / n)
    assert both / n < 0.025 + 3 * np.sqrt(0.025 * 0.975 / n)
    assert k < 5 or alone / n > 0.025 + 3 * np.sqrt(0.025 * 0.975 / n)

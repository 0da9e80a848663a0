"""Referral curves against a plain loop over sorted rows; uncertainty that knows the losses has a negative excess."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.stats.net_benefit import net_benefit, net_benefit_of_rows
from equipoise.stats.referral import area_under, kept_sums, net_benefit_with_referral, risk_coverage

SHARES = np.linspace(0, 0.9, 10)


def plain(loss: np.ndarray, uncertainty: np.ndarray, share: float) -> float:
    kept = np.argsort(uncertainty, kind="stable")[: round((1 - share) * loss.size)]
    return float(loss[kept].mean())


def test_without_ties_the_curve_is_the_mean_of_the_surest_rows() -> None:
    rng = np.random.default_rng(0)
    loss, uncertainty = rng.exponential(size=50), rng.permutation(50).astype(float)
    found = risk_coverage(loss, uncertainty, SHARES)
    np.testing.assert_allclose(found, [plain(loss, uncertainty, s) for s in SHARES], rtol=1e-12)


def test_ties_are_the_mean_over_all_orders_and_weights_are_repeated_rows() -> None:
    rng = np.random.default_rng(1)
    loss, uncertainty = rng.exponential(size=40), rng.integers(0, 4, 40).astype(float)
    over_orders = [[plain(loss[p], uncertainty[p], s) for s in SHARES] for p in (rng.permutation(40) for _ in range(4000))]
    np.testing.assert_allclose(risk_coverage(loss, uncertainty, SHARES), np.mean(over_orders, axis=0), atol=0.02)
    times = rng.integers(0, 4, (3, 40)).astype(float)
    repeated = [risk_coverage(np.repeat(loss, t.astype(int)), np.repeat(uncertainty, t.astype(int)), SHARES) for t in times]
    np.testing.assert_allclose(risk_coverage(loss, uncertainty, SHARES, times), repeated, rtol=1e-12)


def test_the_excess_is_zero_for_no_order_and_negative_for_the_losses_own() -> None:
    loss = np.random.default_rng(2).exponential(size=200)
    flat = risk_coverage(loss, np.ones(200), SHARES)
    assert area_under(flat, SHARES) - loss.mean() == pytest.approx(0, abs=1e-12)
    assert area_under(risk_coverage(loss, loss, SHARES), SHARES) < loss.mean() < area_under(risk_coverage(loss, -loss, SHARES), SHARES)


def test_net_benefit_with_referral_is_that_of_the_mixed_decision() -> None:
    rng = np.random.default_rng(3)
    n = 100
    own, other, y, u = rng.random(n), rng.random(n), rng.integers(0, 2, n), rng.permutation(n).astype(float)
    a, b = (net_benefit_of_rows(p, y, 0.3) for p in (own, other))
    found = net_benefit_with_referral(a, b, u, SHARES, 0.02)
    for share, value in zip(SHARES, found, strict=True):
        referred = u >= round((1 - share) * n)
        mixed = np.where(referred, other >= 0.3, own >= 0.3)
        assert value == pytest.approx(float(net_benefit(mixed.astype(float), y, 0.3)) * 1.0 - 0.02 * share, abs=1e-12)
    np.testing.assert_allclose(kept_sums(a, u, np.array([0.0])), [a.sum()])

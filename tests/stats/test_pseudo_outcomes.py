"""Pseudo-outcomes against their definitions, and their means against a known truth."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.stats.aipw import doubly_robust_scores
from equipoise.stats.pseudo_outcomes import PseudoOutcomes, effect_loss, pseudo_outcomes, uncensored
from equipoise.stats.survival import censoring_survival


def confounded(n: int, seed: int) -> tuple[np.ndarray, ...]:
    """x, a, y, mu0, mu1, e: outcome sin(x) + a (1 + x) + noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    e = 1 / (1 + np.exp(-x))
    a = (rng.random(n) < e).astype(np.int64)
    return x, a, np.sin(x) + a * (1 + x) + rng.standard_normal(n), np.sin(x), np.sin(x) + 1 + x, e


def test_dr_is_the_score_of_aipw() -> None:
    _, a, y, mu0, mu1, e = confounded(200, 0)
    made = pseudo_outcomes("dr", y, a, mu0 + 0.2, mu1, e)
    assert np.array_equal(made.value, doubly_robust_scores(y, a, mu0 + 0.2, mu1, e))
    assert (made.weight == 1).all()


def test_the_r_loss_is_that_of_robinsons_residuals() -> None:
    x, a, y, mu0, mu1, e = confounded(200, 1)
    made, tau, w = pseudo_outcomes("r", y, a, mu0, mu1, e), 0.5 * x, np.linspace(0.5, 2, 200)
    m = (1 - e) * mu0 + e * mu1
    assert effect_loss(made, tau, w) == pytest.approx(np.average(((y - m) - (a - e) * tau) ** 2, weights=w))


def test_rows_without_a_pseudo_outcome_or_an_effect_are_left_out() -> None:
    made = PseudoOutcomes(np.array([1.0, np.nan, 2.0]), np.array([1.0, 1.0, 3.0]))
    assert effect_loss(made, np.array([0.0, 0.0, np.nan]), np.ones(3)) == 1.0
    assert np.isnan(effect_loss(PseudoOutcomes.none(3), np.zeros(3), np.ones(3)))


@pytest.mark.parametrize("wrong", ["outcome", "propensity"])
def test_the_mean_of_dr_is_the_mean_effect_if_either_side_is_right(wrong: str) -> None:
    """The truth is 1."""
    x, a, y, mu0, mu1, e = confounded(200_000, 2)
    if wrong == "outcome":
        mu0, mu1 = np.zeros_like(x), np.zeros_like(x)
    else:
        e = np.full_like(e, 0.5)
    value = pseudo_outcomes("dr", y, a, mu0, mu1, e).value
    assert abs(value.mean() - 1) < 4 * value.std() / np.sqrt(value.size)


def test_censored_outcomes_are_stood_for_whatever_the_outcome_model_says() -> None:
    """Covariate-dependent treatment, censoring within arms: the mean of the pseudo-outcome is the mean difference of risks, mu wrong on purpose."""
    rng = np.random.default_rng(3)
    n, h = 200_000, 1.0
    x = rng.standard_normal(n)
    e = 1 / (1 + np.exp(-x))
    a = (rng.random(n) < e).astype(np.int64)
    rate = np.exp(0.5 * x - 0.7 * a)
    time, left = rng.exponential(1 / rate), rng.exponential(np.where(a == 1, 1.0, 3.0))
    seen, event = np.minimum(time, left), (time <= left).astype(np.int64)
    weight = np.zeros(n)
    for arm in (0, 1):
        own = a == arm
        weight[own] = 1 / censoring_survival(seen[own], event[own]).before(np.minimum(seen[own], h))
    known = (event == 1) & (seen <= h)
    weight *= known | (seen >= h)
    mu0, mu1 = np.full(n, 0.3), np.full(n, 0.6)
    value = pseudo_outcomes("dr", uncensored(known * 1.0, weight, np.where(a == 1, mu1, mu0)), a, mu0, mu1, e).value
    truth = (1 - np.exp(-np.exp(0.5 * x - 0.7) * h)) - (1 - np.exp(-np.exp(0.5 * x) * h))
    assert abs(value.mean() - truth.mean()) < 4 * value.std() / np.sqrt(n)
    for part in (x < 0, x > 1):  # within groups too: it is an effect of each row, not of the whole
        assert abs(value[part].mean() - truth[part].mean()) < 4 * value[part].std() / np.sqrt(part.sum())
    naive = doubly_robust_scores(known * 1.0, a, mu0, mu1, e).mean()
    assert abs(naive - truth.mean()) > 0.02

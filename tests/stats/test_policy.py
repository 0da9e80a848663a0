"""Values of rules for treating."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.stats.aipw import doubly_robust_scores
from equipoise.stats.policy import (
    arm_scores,
    gain_over_better_arm,
    gain_over_better_arm_interval,
    policy_gain,
    policy_gain_interval,
    policy_value,
)


def trial(n: int, seed: int, average: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arm scores, effect scores and x of a randomised trial with effect average + x, outcome regressions half right."""
    rng = np.random.default_rng(seed)
    x, e = rng.normal(size=n), np.full(n, 0.4)
    a = (rng.random(n) < e).astype(int)
    y = 1 + x + a * (average + x) + rng.normal(size=n)
    arms = (y, a, 1 + 0.5 * x, 1 + 0.5 * x + 0.3 * average, e)
    return arm_scores(*arms), doubly_robust_scores(*arms), x


def test_arm_scores_differ_by_the_effect_score_and_value_differences_are_gains() -> None:
    arms, score, x = trial(300, 0)
    np.testing.assert_allclose(arms[:, 1] - arms[:, 0], score)
    cluster, weight = np.arange(300) // 5, np.random.default_rng(1).uniform(0.5, 2, 300)
    rule, guideline = x > 0, x > 0.8
    for over in (guideline, np.zeros(300), np.ones(300)):
        values = [policy_value(arms, r, 0.95, cluster, weight).value for r in (rule, over)]
        assert policy_gain_interval(score, rule, over, 0.95, cluster, weight).value == pytest.approx(values[0] - values[1])
        assert float(policy_gain(score, rule, over, weight)) == pytest.approx(values[0] - values[1])
    assert policy_gain_interval(score, rule, rule, 0.95).se == 0


def test_the_value_of_a_rule_is_the_mean_outcome_of_those_who_happened_to_follow_it() -> None:
    """Without outcome regressions and with an even propensity, on rows where the score is inverse weighting."""
    y, a, rule = np.array([1.0, 5.0, 2.0, 8.0]), np.array([0, 1, 0, 1]), np.array([0, 1, 1, 0])
    arms = arm_scores(y, a, np.zeros(4), np.zeros(4), np.full(4, 0.5))
    assert policy_value(arms, rule, 0.95).value == pytest.approx((2 * 1.0 + 2 * 5.0) / 4)


def test_values_recover_the_truth() -> None:
    arms, score, x = trial(60_000, 2)
    truth = 1 + 1 / np.sqrt(2 * np.pi)  # E[1 + x + max(x, 0)]
    found = policy_value(arms, x > 0, 0.95)
    assert abs(found.value - truth) < 4 * found.se
    gain = gain_over_better_arm_interval(score, x > 0, 0.95)
    assert abs(gain.value - 1 / np.sqrt(2 * np.pi)) < 4 * gain.se


def test_the_gain_over_the_better_arm_is_the_smaller_gain_and_the_same_with_the_outcome_turned_round() -> None:
    _, score, x = trial(400, 3)
    weight = np.random.default_rng(4).integers(0, 3, (5, 400)).astype(float)
    both = np.stack([policy_gain(score, x > 0, over, weight) for over in (0.0, 1.0)])
    np.testing.assert_allclose(gain_over_better_arm(score, x > 0, weight), both.min(0))
    np.testing.assert_allclose(gain_over_better_arm(-score, x <= 0, weight), both.min(0))
    found = gain_over_better_arm_interval(score, x > 0, 0.95)
    assert found.lo <= found.value <= found.hi
    assert found.lo == min(policy_gain_interval(score, x > 0, over, 0.95).lo for over in (0.0, 1.0))

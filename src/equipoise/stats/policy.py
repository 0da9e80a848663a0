"""What a rule for treating is worth: the mean outcome if it were followed, and its gain over treating all, nobody, or by another rule."""

from __future__ import annotations

import numpy as np

from equipoise.stats.aipw import average_effect
from equipoise.stats.estimate import Estimate
from equipoise.stats.weighting import weighted_mean


def arm_scores(outcome: np.ndarray, treatment: np.ndarray, mu0: np.ndarray, mu1: np.ndarray, propensity: np.ndarray) -> np.ndarray:
    """Doubly robust score of each arm, mu_k + 1{a = k} / P(a = k) (y - mu_k): its mean estimates the mean outcome if all received arm k.

    Args:
        outcome: f64 (n,).
        treatment: (n,), 0 or 1.
        mu0: f64 (n,), predicted outcome untreated, from other rows than these.
        mu1: f64 (n,), treated.
        propensity: f64 (n,), P(treated), in (0, 1).

    Returns:
        f64 (n, 2), untreated and treated; their difference is `aipw.doubly_robust_scores`.

    Source: Robins, Rotnitzky and Zhao (1994).
    """
    y, mu = np.asarray(outcome, dtype=np.float64)[:, None], np.stack([mu0, mu1], axis=1).astype(np.float64)
    chance = np.stack([1 - np.asarray(propensity, dtype=np.float64), propensity], axis=1)
    return np.asarray(mu + (np.asarray(treatment)[:, None] == np.arange(2)) / chance * (y - mu))


def policy_value(arm_score: np.ndarray, treat: np.ndarray, level: float, cluster: np.ndarray | None = None, weight: np.ndarray | None = None) -> Estimate:
    """Mean outcome if the rule were followed, the mean of (1 - pi) score_0 + pi score_1; its error from the influence function.

    Args:
        arm_score: f64 (n, 2), from `arm_scores`.
        treat: (n,), pi in [0, 1]: whether the rule treats (or with what probability); it may not have been learnt from these rows.
        level: in (0, 1).
        cluster: i64 (n,), or None: independent rows.
        weight: f64 (n,), >= 0.

    Source: Athey and Wager (2021), eq. 6.

    >>> policy_value(np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 4.0]]), np.array([1, 0, 1]), 0.95).value
    2.3333333333333335
    """
    return average_effect(arm_score[:, 0] + np.asarray(treat, dtype=np.float64) * (arm_score[:, 1] - arm_score[:, 0]), level, cluster, weight)


def policy_gain(score: np.ndarray, treat: np.ndarray, over: np.ndarray | float, weight: np.ndarray | None = None) -> np.ndarray:
    """Value of the rule minus that of another on the same rows, the mean of (pi - pi') score: only rows that they treat differently count.

    Args:
        score: f64 (n,), of the effect, from `aipw.doubly_robust_scores`.
        treat: (n,), pi in [0, 1].
        over: (n,) or one number, pi' in [0, 1]: 1 treats all, 0 nobody; a guideline's own.
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (...,), in the outcome's unit; positive: the rule makes the outcome higher.

    Source: Athey and Wager (2021), eq. 6.

    >>> float(policy_gain(np.array([3.0, -1.0]), np.array([1, 0]), 1.0))
    0.5
    """
    return weighted_mean((np.asarray(treat, dtype=np.float64) - over) * score, weight)


def policy_gain_interval(
    score: np.ndarray, treat: np.ndarray, over: np.ndarray | float, level: float, cluster: np.ndarray | None = None, weight: np.ndarray | None = None
) -> Estimate:
    """`policy_gain` with an interval from its influence function, summed within clusters; arguments as there and in `policy_value`."""
    return average_effect((np.asarray(treat, dtype=np.float64) - over) * score, level, cluster, weight)


def gain_over_better_arm(score: np.ndarray, treat: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Value of the rule minus that of the better of treating all and treating nobody: min of the two gains; arguments as in `policy_gain`.

    It is the same whether a higher or a lower outcome is better, once the rule treats those whose effect is good.
    """
    return np.minimum(policy_gain(score, treat, 1.0, weight), policy_gain(score, treat, 0.0, weight))


def gain_over_better_arm_interval(
    score: np.ndarray, treat: np.ndarray, level: float, cluster: np.ndarray | None = None, weight: np.ndarray | None = None
) -> Estimate:
    """`gain_over_better_arm` with an interval: above 0 only where both gains are (an intersection of two tests).

    The lower bound is the smaller of both gains' lower bounds, which errs no more often than one does; the upper bound is the smaller of upper
    bounds at half the error each, because which arm is better is not known.

    Source: Berger (1982) for the lower bound; ours.
    """
    gains = [policy_gain_interval(score, treat, over, level, cluster, weight) for over in (1.0, 0.0)]
    surer = [policy_gain_interval(score, treat, over, (1 + level) / 2, cluster, weight) for over in (1.0, 0.0)]
    worse = min(gains, key=lambda g: g.value)
    return Estimate(worse.value, worse.se, min(g.lo for g in gains), min(g.hi for g in surer), f"{worse.method}, over both arms")

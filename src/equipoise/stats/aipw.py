"""Effects of a treatment from doubly robust scores: their average, their slope on a predicted effect, top half minus bottom half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.estimate import Estimate, normal_interval
from equipoise.stats.regression import linear_slope, varies
from equipoise.stats.weighting import ratio, weighted_mean, weights_of


def doubly_robust_scores(outcome: np.ndarray, treatment: np.ndarray, mu0: np.ndarray, mu1: np.ndarray, propensity: np.ndarray) -> np.ndarray:
    """mu1 - mu0 + (a - e)/(e (1 - e)) (y - mu_a) for each row: its mean estimates the average effect if either mu or e is right.

    Args:
        outcome: f64 (n,).
        treatment: (n,), 0 or 1.
        mu0: f64 (n,), predicted outcome untreated; from other rows than these, or the mean is too sure of itself.
        mu1: f64 (n,), treated.
        propensity: f64 (n,), P(treated), in (0, 1).

    Source: Robins, Rotnitzky and Zhao (1994); Kennedy (2023), eq. 2.
    """
    a, e = np.asarray(treatment, dtype=np.float64), np.asarray(propensity, dtype=np.float64)
    residual = np.asarray(outcome, dtype=np.float64) - np.where(a == 1, mu1, mu0)
    return np.asarray(mu1, dtype=np.float64) - mu0 + (a - e) / (e * (1 - e)) * residual


def average_effect(score: np.ndarray, level: float, cluster: np.ndarray | None = None, weight: np.ndarray | None = None) -> Estimate:
    """Mean of the scores, its standard error from their spread (the influence function), summed within clusters.

    Args:
        score: f64 (n,), from `doubly_robust_scores`.
        level: in (0, 1).
        cluster: i64 (n,), or None: independent rows.
        weight: f64 (n,), >= 0.

    Source: Tsiatis (2006), section 3.3.

    >>> e = average_effect(np.array([1.0, 2.0, 3.0]), 0.95)
    >>> e.value, round(e.se, 4)
    (2.0, 0.5774)
    """
    w = weights_of(weight, score.size)
    value = float(weighted_mean(score, w))
    codes = np.arange(score.size) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    influence = np.bincount(codes, w * (score - value)) / w.sum()
    n = influence.size
    se = float(np.sqrt(n / (n - 1) * (influence**2).sum())) if n > 1 else float("nan")
    clustered = ", summed within clusters" if n < score.size else ""
    return normal_interval(value, se, level, f"AIPW, influence function{clustered}", df=max(n - 1.0, 1.0) if clustered else np.inf)


def effect_slope(score: np.ndarray, effect: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Best linear predictor: slope of the scores on the predicted effect (1: sized right, 0: no part of the predicted differences is real).

    Args:
        score: f64 (n,).
        effect: f64 (n,), predicted.
        weight: f64 (..., n).

    Returns:
        f64 (...,); NaN where the predicted effect does not vary.

    Source: Chernozhukov et al. (2018), theorem 3.1, on doubly robust scores.
    """
    return linear_slope(effect, score, weight)


@dataclass(frozen=True)
class BestLinearPredictor:
    """score = average + heterogeneity (effect - mean effect): the best straight line in the predicted effect.

    Args:
        average: the average effect; 0 where the treatment does nothing on average.
        heterogeneity: the slope; 1 where predicted differences are sized right, 0 where no part of them is real.
    """

    average: Estimate
    heterogeneity: Estimate


def best_linear_predictor(
    score: np.ndarray, effect: np.ndarray, level: float, cluster: np.ndarray | None = None, weight: np.ndarray | None = None
) -> BestLinearPredictor:
    """Least squares of the scores on 1 and the centred predicted effect, errors robust to heteroscedasticity and summed within clusters.

    The error of the slope is the jackknife's over clusters, (G-1)/G sum_g (b_(g) - b)^2: for single rows HC3 times (n-1)/n, for clusters CV3. The
    error of the average is `average_effect`'s, which counts that the mean predicted effect varies too.

    Args:
        score: f64 (n,), from `doubly_robust_scores`.
        effect: f64 (n,), predicted; of a cross-validation, centred within folds (`repeated_splits.centred_within`).
        level: in (0, 1).
        cluster: i64 (n,), or None: independent rows.
        weight: f64 (n,), >= 0.

    Returns:
        The slope is NaN where the predicted effect does not vary.

    Source: Chernozhukov et al. (2018), theorem 3.1; MacKinnon and White (1985), MacKinnon, Nielsen and Webb (2023) for the error.

    >>> line = best_linear_predictor(np.array([1.0, 2.0, 5.0, 6.0]), np.array([0.0, 1.0, 2.0, 3.0]), 0.95)
    >>> line.average.value, round(line.heterogeneity.value, 6)
    (3.5, 1.8)
    """
    w = weights_of(weight, score.size)
    codes = np.arange(score.size) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    x, y = effect - weighted_mean(effect, w), score - weighted_mean(score, w)
    value = float(linear_slope(effect, score, w))
    # Sums of each cluster, then those of all others.
    sums = np.stack([np.bincount(codes, w * v) for v in (np.ones_like(x), x, y, x * x, x * y)])
    m, mx, my, mxx, mxy = sums.sum(1, keepdims=True) - sums
    without = ratio(mxy - ratio(mx * my, m), mxx - ratio(mx * mx, m))
    n = without.size
    se = float(np.sqrt((n - 1) / n * ((without - value) ** 2).sum())) if n > 1 else float("nan")
    method = f"least squares, {'HC3' if cluster is None else 'CV3, clusters'}"
    return BestLinearPredictor(average_effect(score, level, cluster, weight), normal_interval(value, se, level, method, df=max(n - 1.0, 1.0)))


def top_minus_bottom(score: np.ndarray, effect: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean score of the half with the larger predicted effect minus that of the other half; a group tied at the median is shared between both.

    Args:
        score: f64 (n,).
        effect: f64 (n,), predicted.
        weight: f64 (..., n).

    Returns:
        f64 (...,); NaN where the predicted effect does not vary.

    Source: Chernozhukov et al. (2018), section 3.2 (sorted group effects), with two groups.

    >>> float(top_minus_bottom(np.array([1.0, 2.0, 5.0, 6.0]), np.array([0.1, 0.2, 0.3, 0.4])))
    4.0
    """
    score, effect = np.asarray(score, dtype=np.float64), np.asarray(effect, dtype=np.float64)
    w = weights_of(weight, score.size)
    values, group = np.unique(effect, return_inverse=True)
    if not varies(effect):
        return np.full(w.shape[:-1], np.nan)
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], np.arange(values.size))
    mass, sums = (np.add.reduceat(x[..., order], first, axis=-1) for x in (w, w * score))
    half = mass.sum(-1, keepdims=True) / 2
    lower = np.clip(half - (np.cumsum(mass, axis=-1) - mass), 0.0, mass)
    share = np.divide(lower, mass, out=np.zeros_like(mass), where=mass > 0)
    bottom = (sums * share).sum(-1) / half[..., 0]
    return sums.sum(-1) / half[..., 0] - 2 * bottom

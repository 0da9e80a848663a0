"""Does a ranking find the people whom a treatment helps most: the targeting operator characteristic, its area (AUTOC) and the Qini coefficient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.special import xlogy

from equipoise.stats.estimate import Estimate, normal_interval
from equipoise.stats.jackknife import jackknife_error
from equipoise.stats.regression import varies
from equipoise.stats.weighting import ratio, weighted_mean, weights_of

Area = Literal["autoc", "qini"]


def targeting_curve(score: np.ndarray, priority: np.ndarray, share: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Targeting operator characteristic: TOC(q) = mean score of the share q with the highest priority, minus the mean score of all.

    Args:
        score: f64 (n,), from `aipw.doubly_robust_scores`.
        priority: f64 (n,), any scale; the highest are treated first, rows of equal priority together.
        share: f64 (m,), q in (0, 1].
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (..., m); NaN where the weights sum to 0.

    Source: Yadlowsky et al. (2025), definition 1.

    >>> targeting_curve(np.array([5.0, 1.0, 0.0]), np.array([3.0, 2.0, 1.0]), np.array([1 / 3, 1.0])).round(6).tolist()
    [3.0, 0.0]
    """
    total, mean, reached = _groups(score, priority, weight)
    q = np.asarray(share, dtype=np.float64)
    before, whole = reached[..., :-1], total[..., None]
    treated = np.clip(q[:, None] * whole[..., None] - before[..., None, :], 0.0, np.diff(reached)[..., None, :])
    return ratio((treated * mean[..., None, :]).sum(-1), q * whole) - weighted_mean(score, weight)[..., None]


def autoc(score: np.ndarray, priority: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Area under the targeting operator characteristic, integral over q in (0, 1] of TOC(q); 0 for a ranking that says nothing of the effect.

    With u the share treated before and with each group g of equal priority, it is sum_g mean_g (H(u_g) - H(u_{g-1})), H(u) = -u log u: exact for
    ties and weights. (A sum of TOC over rows instead of the integral differs by about log(n)/n standard deviations.)

    Args:
        score: f64 (n,), from `aipw.doubly_robust_scores`.
        priority: f64 (n,), any scale; the highest are treated first.
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (...,), in the score's unit; NaN where the priority does not vary.

    Source: Yadlowsky et al. (2025), section 2.2.

    >>> round(float(autoc(np.array([2.0, 0.0]), np.array([1.0, 0.0]))), 6), round(float(np.log(2)), 6)
    (0.693147, 0.693147)
    """
    return _area(score, priority, weight, "autoc")


def qini(score: np.ndarray, priority: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Qini coefficient, integral over q in (0, 1] of q TOC(q): what treating by the ranking gains over treating at random, mean over all shares.

    As `autoc` with H(u) = (u - u^2)/2; it weighs the middle of the ranking where AUTOC weighs its top.

    Args:
        score: f64 (n,), from `aipw.doubly_robust_scores`.
        priority: f64 (n,), any scale; the highest are treated first.
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (...,), in the score's unit; NaN where the priority does not vary.

    Source: Radcliffe (2007); Yadlowsky et al. (2025), section 2.2.

    >>> float(qini(np.array([2.0, 0.0]), np.array([1.0, 0.0])))
    0.25
    """
    return _area(score, priority, weight, "qini")


def area_interval(
    score: np.ndarray, priority: np.ndarray, area: Area, level: float, cluster: np.ndarray | None = None, weight: np.ndarray | None = None
) -> Estimate:
    """`autoc` or `qini` with Student's interval on the error of the jackknife over clusters.

    Without heterogeneity it rejects 0 as often as it says. AUTOC leans on few rows at the top, so that the influence function and the percentile
    bootstrap reject a little too often.

    Args:
        score: f64 (n,), from `aipw.doubly_robust_scores`.
        priority: f64 (n,), fixed before these rows' outcomes were known.
        area: which.
        level: in (0, 1).
        cluster: i64 (n,), or None: independent rows.
        weight: f64 (n,), >= 0.

    Returns:
        NaN bounds where the priority does not vary.

    Source: Yadlowsky et al. (2025), theorem 1 (asymptotic normality); the jackknife is ours.
    """
    method = f"jackknife{'' if cluster is None else ' over clusters'}"
    value = float(_area(score, priority, weight, area))
    if not np.isfinite(value):
        return Estimate(value, float("nan"), float("nan"), float("nan"), method)
    se, df = jackknife_error(lambda w: _area(score, priority, w, area), np.asarray(score).size, cluster, weight)
    return normal_interval(value, se, level, method, df=df)


def _area(score: np.ndarray, priority: np.ndarray, weight: np.ndarray | None, area: Area) -> np.ndarray:
    total, mean, reached = _groups(score, priority, weight)
    if not varies(priority):
        return np.full(total.shape, np.nan)
    found = (mean * np.diff(_CURVES[area](ratio(reached, total[..., None])))).sum(-1)
    return np.asarray(found)


def _groups(score: np.ndarray, priority: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Total weight (...,), mean score of each group of equal priority (..., G) or (G,), highest first, and the weight reached before and with it (..., G+1)."""
    score = np.asarray(score, dtype=np.float64)
    w = weights_of(weight, score.size)
    values, group = np.unique(-np.asarray(priority, dtype=np.float64), return_inverse=True)
    order = np.argsort(group, kind="stable")
    mass = w[..., order]
    if values.size < score.size:
        first = np.searchsorted(group[order], np.arange(values.size))
        mass, sums = (np.add.reduceat(x, first, axis=-1) for x in (mass, (w * score)[..., order]))
        mean = np.divide(sums, mass, out=np.zeros_like(mass), where=mass > 0)
    else:
        mean = score[order]  # a row without weight spans no share, so its mean counts for nothing
    reached = np.concatenate([np.zeros((*mass.shape[:-1], 1)), np.cumsum(mass, axis=-1)], axis=-1)
    return reached[..., -1], mean, reached


_CURVES: dict[Area, Callable[[np.ndarray], np.ndarray]] = {"autoc": lambda u: -xlogy(u, u), "qini": lambda u: (u - u * u) / 2}

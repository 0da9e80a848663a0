"""Intervals that hold all of several values at once, from joint resamples: what may be said of the worst of them."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, stdtrit

from equipoise.stats.bootstrap import ENOUGH, FEWEST_CLUSTERS


def spread(draws: np.ndarray, n_clusters: np.ndarray) -> np.ndarray:
    """Covariance f64 (k, k) of the values, each row and column times sqrt(m/(m-1)), the part that resampling m clusters leaves out.

    Args:
        draws: f64 (R, k), joint resamples; those with a NaN are left out.
        n_clusters: (k,), m: clusters behind each value.

    Returns:
        NaN where fewer than `ENOUGH` of the resamples are complete, or a value rests on fewer than `FEWEST_CLUSTERS`.
    """
    whole = draws[np.isfinite(draws).all(axis=1)]
    m = np.asarray(n_clusters, dtype=np.float64)
    k = draws.shape[1]
    if whole.shape[0] < max(ENOUGH * draws.shape[0], 2) or (m < FEWEST_CLUSTERS).any():
        return np.full((k, k), np.nan)
    wider = np.sqrt(m / (m - 1))
    return np.atleast_2d(np.cov(whole, rowvar=False)) * wider[:, None] * wider


def simultaneous_intervals(value: np.ndarray, draws: np.ndarray, level: float, n_clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(x_g - c a_g, x_g + c b_g): each group's own percentile interval stretched by c until the share ``level`` of joint resamples lies in all at once.

    c is the level's quantile over resamples of max_g max((x*_g - x_g) / b_g, (x_g - x*_g) / a_g): a max-t interval whose scale differs on both sides,
    so that a skewed estimate gets a skewed interval. All k intervals hold their truths together with the probability ``level``: whichever group is
    picked for its value, its interval holds. The percentile intervals are expanded for few clusters (see `bootstrap.percentile_interval`).

    Args:
        value: f64 (k,).
        draws: f64 (R, k), joint resamples; those with a NaN are left out.
        level: in (0, 1).
        n_clusters: (k,), clusters behind each value.

    Returns:
        lo (k,), hi (k,) and c; NaN as in `spread`, and where a percentile interval does not hold its estimate inside.

    Source: Romano and Wolf (2005) for max-t; Mandel and Betensky (2008) for joint percentiles; two scales for the two sides are ours
        (docs/statistics.md has the simulation).
    """
    x, m = np.asarray(value, dtype=np.float64), np.asarray(n_clusters, dtype=np.float64)
    nothing = np.full(x.size, np.nan), np.full(x.size, np.nan), float("nan")
    if not np.isfinite(x).all() or not np.isfinite(spread(draws, n_clusters)).all():
        return nothing
    whole = draws[np.isfinite(draws).all(axis=1)]
    tail = (1 - level) / 2
    below, above = x - np.quantile(whole, tail, axis=0), np.quantile(whole, 1 - tail, axis=0) - x
    if not ((below > 0) & (above > 0)).all():
        return nothing
    c = float(np.quantile(np.maximum((whole - x) / above, (x - whole) / below).max(axis=1), level, method="median_unbiased"))
    wider = ndtr(stdtrit(m - 1, tail) * np.sqrt(m / (m - 1)))
    ends = np.array([np.quantile(whole[:, g], [a, 1 - a], method="median_unbiased") for g, a in enumerate(wider)])
    return x - c * (x - ends[:, 0]), x + c * (ends[:, 1] - x), c

"""Intervals that hold all of several values at once, from joint resamples: what may be said of the worst of them."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri, stdtrit

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
    """x_g -+ c s_g, c the level's quantile over resamples of max_g |x*_g - x_g| / s_g.

    All k intervals hold their truths together with the probability ``level``, so whichever group is picked for its value, its interval holds. For few
    clusters c is made larger by t_{m-1} over the normal quantile, m the smallest number of clusters.

    Args:
        value: f64 (k,).
        draws: f64 (R, k), joint resamples.
        level: in (0, 1).
        n_clusters: (k,).

    Returns:
        lo (k,), hi (k,) and c; NaN as in `spread`.

    Source: Efron and Tibshirani (1993), section 12.5, for the studentised maximum; Romano and Wolf (2005) for max-t; the factor for few clusters is ours.
    """
    x = np.asarray(value, dtype=np.float64)
    s = np.sqrt(np.diag(spread(draws, n_clusters)))
    if not np.isfinite(s).all() or not np.isfinite(x).all() or not (s > 0).all():
        return np.full(x.size, np.nan), np.full(x.size, np.nan), float("nan")
    whole = draws[np.isfinite(draws).all(axis=1)]
    m = np.asarray(n_clusters, dtype=np.float64)
    # The resamples' own spread lacks the same factor as s has.
    farthest = (np.abs(whole - x) * np.sqrt(m / (m - 1)) / s).max(axis=1)
    q = (1 + level) / 2
    c = float(np.quantile(farthest, level, method="median_unbiased")) * float(stdtrit(m.min() - 1, q) / ndtri(q))
    return x - c * s, x + c * s, c

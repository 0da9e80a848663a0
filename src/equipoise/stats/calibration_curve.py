"""The calibration curve: observed against predicted, smoothed and in groups, and what it says in one number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.proportion import wilson_interval
from equipoise.stats.weighting import ratio, weighted_mean, weighted_quantile, weights_of

MOST_ROWS = 20_000
"""Beyond this many rows loess reads means of `GROUPS` groups of equal size (its workspace grows with the square of the rows and overflows)."""

GROUPS = 4_000

FEWEST_DISTINCT = 8
"""With fewer distinct risks than this the mean outcome at each risk is the curve, and nothing is smoothed."""


@dataclass(frozen=True)
class Smooth:
    """A curve of observed on predicted.

    Args:
        at: f64 (k,), the places asked for.
        observed: f64 (k,), in [0, 1] for a probability.
        method: how it was smoothed, in words.
    """

    at: np.ndarray
    observed: np.ndarray
    method: str


@dataclass(frozen=True)
class CalibrationError:
    """Mean, median and 90th percentile of |observed - predicted| over the rows, from the smoothed curve."""

    ici: float
    e50: float
    e90: float


@dataclass(frozen=True)
class Bins:
    """Groups by predicted value: mean predicted, mean observed with its interval, and size; each f64 (g,)."""

    predicted: np.ndarray
    observed: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    n: np.ndarray


def smooth(predicted: np.ndarray, outcome: np.ndarray, at: np.ndarray, weight: np.ndarray | None = None, *, probability: bool = True) -> Smooth:
    """Loess of the outcome on the predicted value (local quadratic, span 0.75, R's default), read at given places.

    Few distinct values (`FEWEST_DISTINCT`), or so many ties that loess has no solution, are answered by means of groups, and ``method`` says so.

    Args:
        predicted: f64 (n,).
        outcome: f64 (n,).
        at: f64 (k,); outside the range of ``predicted`` the curve is continued flat.
        weight: f64 (n,), >= 0; rows of weight 0 are left out.
        probability: cut the curve to [0, 1].

    Source: Cleveland (1979); Austin and Steyerberg (2014, 2019) for its use in calibration.
    """
    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    w = weights_of(weight, x.size)
    kept = w > 0
    x, y, w = x[kept], y[kept], w[kept]
    if not x.size:
        return Smooth(at, np.full(at.shape, np.nan), "no rows")
    values = np.unique(x)
    inside = np.clip(at, values[0], values[-1])
    found, method = None, "loess (quadratic, span 0.75)"
    if values.size >= FEWEST_DISTINCT:
        if x.size > MOST_ROWS:
            x, y, w = _grouped(x, y, w, _quantile_groups(x, GROUPS))
            values, method = np.unique(x), f"{method} of means of {x.size} groups"
            inside = np.clip(inside, values[0], values[-1])
        found = _loess(x, y, w, inside)
    if found is None:
        found, method = _by_groups(x, y, w, values, inside)
    return Smooth(at, np.clip(found, 0, 1) if probability else found, method)


def calibration_error(predicted: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None, *, probability: bool = True) -> CalibrationError:
    """ICI, E50 and E90: mean, median, 90th percentile of |loess(p_i) - p_i|.

    Args:
        predicted: f64 (n,).
        outcome: f64 (n,).
        weight: f64 (n,), >= 0.
        probability: see `smooth`.

    Source: Austin and Steyerberg (2019), section 2.
    """
    x = np.asarray(predicted, dtype=np.float64)
    gap = np.abs(smooth(x, outcome, x, weight, probability=probability).observed - x)
    return CalibrationError(float(weighted_mean(gap, weight)), float(weighted_quantile(gap, 0.5, weight)), float(weighted_quantile(gap, 0.9, weight)))


def curve_distance(predicted: np.ndarray, outcome: np.ndarray, weight: np.ndarray, own: np.ndarray) -> float:
    """Mean over the rows of |curve under these weights - the sample's own curve|: how far a resampled curve of a probability lies from it.

    Args:
        predicted: f64 (n,).
        outcome: f64 (n,).
        weight: f64 (n,), >= 0, of a resample.
        own: f64 (n,), the curve under the sample's weights, read at ``predicted``.
    """
    x = np.asarray(predicted, dtype=np.float64)
    return float(weighted_mean(np.abs(smooth(x, outcome, x, weight).observed - own), weight))


def bins(
    predicted: np.ndarray,
    outcome: np.ndarray,
    level: float,
    n_groups: int = 10,
    *,
    weight: np.ndarray | None = None,
    fewest: int = 10,
    probability: bool = True,
) -> Bins:
    """Groups of equal size by predicted value, equal values together, never smaller than ``fewest`` rows.

    Args:
        predicted: f64 (n,).
        outcome: f64 (n,).
        level: in (0, 1), of the groups' intervals: Wilson's for a probability, Student's for a mean.
        n_groups: >= 1; fewer are made where rows or distinct values do not suffice.
        weight: f64 (n,), >= 0, of the means; the intervals then count (sum w)^2 / sum w^2 rows a group (Kish 1965). None: ones.
        fewest: smallest group that is shown.
        probability: whether outcomes are 0 or 1.

    Returns:
        Groups by rising predicted value; none with fewer than ``fewest`` rows in all.
    """
    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    group, w = groups_of(x, n_groups, fewest), weights_of(weight, x.size)
    n, total = np.bincount(group).astype(np.float64), np.bincount(group, w)
    mean_x, mean_y = (ratio(np.bincount(group, w * v), total) for v in (x, y))
    effective = ratio(total**2, np.bincount(group, w * w))
    if probability:
        lo, hi = wilson_interval(mean_y * effective, effective, level)
    else:
        from scipy.special import stdtrit

        spread = np.sqrt(ratio(np.bincount(group, w * (y - mean_y[group]) ** 2), total) * ratio(effective, effective - 1))
        half = np.where(effective > 1, stdtrit(np.maximum(effective - 1, 1), (1 + level) / 2) * spread / np.sqrt(effective), np.nan)
        lo, hi = mean_y - half, mean_y + half
    shown = (n >= fewest) & (total > 0)
    return Bins(mean_x[shown], mean_y[shown], lo[shown], hi[shown], n[shown])


def groups_of(x: np.ndarray, n_groups: int, fewest: int) -> np.ndarray:
    """Group numbers 0..g-1, i64 (n,), by rising value: of equal size, equal values together, none below ``fewest`` rows if there are so many."""
    return _merged(_quantile_groups(x, min(n_groups, max(x.size // fewest, 1))), fewest)


def _loess(x: np.ndarray, y: np.ndarray, w: np.ndarray, at: np.ndarray) -> np.ndarray | None:
    from skmisc.loess import loess

    try:
        # The trace of the hat matrix serves standard errors only, which are not used: its approximation does not touch the curve.
        model = loess(x, y, weights=w, span=0.75, degree=2, family="gaussian", surface="interpolate", trace_hat="approximate")
        model.fit()
        found = np.asarray(model.predict(at).values, dtype=np.float64)
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None


def _by_groups(x: np.ndarray, y: np.ndarray, w: np.ndarray, values: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, str]:
    if values.size < FEWEST_DISTINCT:
        group, method = np.searchsorted(values, x), f"mean outcome at each of the {values.size} distinct predicted values"
    else:
        group, method = _quantile_groups(x, 20), "means of 20 groups joined by lines (too many ties for loess)"
    mean_x, mean_y, _ = _grouped(x, y, w, group)
    return np.interp(at, mean_x, mean_y), method


def _grouped(x: np.ndarray, y: np.ndarray, w: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted means of x and y, and the weight, of each group."""
    total = np.bincount(group, w)
    return np.bincount(group, w * x) / total, np.bincount(group, w * y) / total, total


def _merged(group: np.ndarray, fewest: int) -> np.ndarray:
    """Group numbers after groups below the smallest size have joined their smaller neighbour."""
    n = np.bincount(group).astype(np.int64)
    name = np.arange(n.size)  # which remaining group each of the first ones lies in
    while n.size > 1 and n.min() < fewest:
        small = int(n.argmin())
        at = small if small + 1 < n.size and (small == 0 or n[small + 1] <= n[small - 1]) else small - 1
        n[at] += n[at + 1]
        n = np.delete(n, at + 1)
        name[name > at] -= 1
    return name[group] if group.size else group


def _quantile_groups(x: np.ndarray, n_groups: int) -> np.ndarray:
    """Group numbers 0..g-1 (n,), by rank, equal values in the group of their middle rank."""
    from scipy.stats import rankdata

    if not x.size:
        return np.zeros(0, dtype=np.int64)
    place = np.floor((rankdata(x) - 0.5) / x.size * n_groups).astype(np.int64)
    return np.unique(np.minimum(place, n_groups - 1), return_inverse=True)[1]

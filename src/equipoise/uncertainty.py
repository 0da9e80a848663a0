"""Draws -> total, aleatoric and epistemic uncertainty, and intervals (numpy float64, no torch).

Written once for all heads and tasks: S draws, B rows, L labels. What one draw cannot show is NaN, "not estimated", never 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, xlogy


@dataclass(frozen=True)
class Decomposition:
    """total = aleatoric + epistemic, each f64 (B, L), NaN where not estimated; nats in entropy form, squared units of the outcome in variance form.

    *Aleatoric* is what would remain if the weights were known; *epistemic* is what more data of the same kind could remove. Both are given the
    model class: neither covers a wrong model.
    """

    aleatoric: np.ndarray
    epistemic: np.ndarray
    total: np.ndarray


@dataclass(frozen=True)
class Interval:
    """Bounds, each f64 (B, L), NaN where not estimated."""

    lo: np.ndarray
    hi: np.ndarray


def decompose(mean: np.ndarray, variance: np.ndarray, form: Sequence[str], exclusive: bool) -> Decomposition:
    """Splits predictive uncertainty into what the outcome's chance and what the weights contribute.

    Entropy form, with p_s the class probabilities of draw s and p their mean:
    total H(p), aleatoric mean_s H(p_s), epistemic mean_s KL(p_s || p) (the mutual information of outcome and weights).
    Variance form (law of total variance): aleatoric mean_s v_s, epistemic var_s(m_s) (divided by S), total their sum.

    With one draw (a point head) epistemic is NaN; in entropy form so are the others; in variance form aleatoric and total are the variance,
    because a predictive distribution is needed to score the forecast.

    Args:
        mean: f64 (S, B, L), per draw a probability or a mean; rows that are NaN stay NaN.
        variance: f64 (S, B, L), within-draw variance of the outcome; read in variance form only; NaN where it is not identified.
        form: L times "entropy" or "variance".
        exclusive: the labels are classes that sum to one: their joint entropy is written on each label. Otherwise each label is a binary
            outcome of its own.

    Raises:
        ValueError: shapes differ, a form is unknown, or exclusive labels are not all in entropy form.

    Source: Depeweg et al. (2018), eqs. 4 and 6; Lindley (1956) for the mutual information.

    >>> d = decompose(np.array([[[0.1]], [[0.9]]]), np.zeros((2, 1, 1)), ["entropy"], exclusive=False)
    >>> d.total.round(4).item(), d.aleatoric.round(4).item(), d.epistemic.round(4).item()
    (0.6931, 0.3251, 0.3681)
    """
    mean, variance = np.asarray(mean, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    if mean.ndim != 3 or mean.shape != variance.shape or len(form) != mean.shape[2]:
        raise ValueError(f"mean {mean.shape} and variance {variance.shape} must be (S, B, L) with {len(form)} forms")
    entropic = np.array([f == "entropy" for f in form])
    if not all(f in ("entropy", "variance") for f in form) or (exclusive and not entropic.all()):
        raise ValueError(f"forms {list(form)} with exclusive={exclusive}")
    aleatoric, epistemic = np.mean(variance, axis=0), np.square(_deviation(mean)).mean(0)
    if exclusive:
        joint = _joint_information(mean)
        aleatoric, epistemic = (np.repeat(x[:, None], mean.shape[2], axis=1) for x in joint)
    elif entropic.any():
        p = mean[..., entropic]
        aleatoric[:, entropic], epistemic[:, entropic] = _joint_information(np.stack([1 - p, p], axis=-1))
    if mean.shape[0] > 1:
        return Decomposition(aleatoric, epistemic, aleatoric + epistemic)
    aleatoric[:, entropic] = np.nan
    return Decomposition(aleatoric, np.full_like(aleatoric, np.nan), aleatoric.copy())


def credible_interval(mean: np.ndarray, level: float) -> Interval:
    """Equal-tailed quantiles over draws of a probability or mean: an interval of the risk given the model class, never of the outcome.

    The range of S draws holds another draw with probability (S - 1)/(S + 1), so fewer than 2/(1 - level) - 1 draws (19 at 0.9) cannot show an
    interval of that level, whatever quantile is read: four members of a point head, called 90 %, would hold 60 %.

    Args:
        mean: f64 (S, B, L).
        level: in (0, 1), e.g. 0.95.

    Returns:
        Bounds (B, L); NaN with fewer than `fewest_draws`.

    Source: Hyndman and Fan (1996), definition 8 (median-unbiased whatever the distribution).
    """
    mean = np.asarray(mean, dtype=np.float64)
    _check_level(level)
    if mean.shape[0] < fewest_draws(level):
        return Interval(np.full(mean.shape[1:], np.nan), np.full(mean.shape[1:], np.nan))
    lo, hi = np.quantile(mean, [(1 - level) / 2, (1 + level) / 2], axis=0, method="median_unbiased")
    return Interval(lo, hi)


def fewest_draws(level: float) -> int:
    """The fewest draws whose range holds another one with probability ``level``: S >= 2/(1 - level) - 1.

    Source: Wilks (1941), tolerance limits from order statistics.

    >>> fewest_draws(0.9), fewest_draws(0.95), fewest_draws(0.5)
    (19, 39, 3)
    """
    _check_level(level)
    return max(math.ceil(2 / (1 - level) - 1 - 1e-9), 2)


def predictive_interval(mean: np.ndarray, variance: np.ndarray, level: float) -> Interval:
    """Equal-tailed interval of a continuous outcome: exact quantiles of the equal mixture of the draws' normals, found by bisection.

    Args:
        mean: f64 (S, B, L).
        variance: f64 (S, B, L), >= 0.
        level: in (0, 1).

    Returns:
        Bounds (B, L) to 1e-9 of the widest component's standard deviation; NaN where mean or variance is. One draw gives mean +- z sd.

    Source: ours.
    """
    mean, sd = np.asarray(mean, dtype=np.float64), np.sqrt(np.asarray(variance, dtype=np.float64))
    _check_level(level)
    return Interval(*(_mixture_quantile(mean, sd, q) for q in ((1 - level) / 2, (1 + level) / 2)))


def _mixture_quantile(mean: np.ndarray, sd: np.ndarray, q: float) -> np.ndarray:
    # The mixture's quantile lies between the smallest and the largest of its components' quantiles.
    each = mean + ndtri(q) * sd
    lo, hi = each.min(0), each.max(0)
    scale = np.where(sd > 0, sd, np.finfo(np.float64).tiny)
    widest = float(np.nanmax((hi - lo) / sd.max(0).clip(np.finfo(np.float64).tiny), initial=0.0))
    for _ in range(int(np.ceil(np.log2(min(max(widest, 1e-9), 1e12) / 1e-9))) + 1):
        middle = (lo + hi) / 2
        below = ndtr((middle - mean) / scale).mean(0) < q
        lo, hi = np.where(below, middle, lo), np.where(below, hi, middle)
    return np.where(np.isnan(each).any(0), np.nan, (lo + hi) / 2)


def _joint_information(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean entropy of the draws and mean KL(draw || mean), nats, from probabilities (S, ..., C) that sum to one over the last axis.

    The divergence is written sum_c q_c phi(p_c / q_c - 1), phi(u) = (1 + u) log(1 + u) - u >= 0: equal to sum_c p_c log(p_c / q_c) because p and
    q both sum to one, but without cancellation, so it is never negative and zero exactly where all draws are equal.
    """
    deviation = _deviation(p)
    centre = p - deviation
    # The mean is the same for every draw up to rounding; the first serves, so that equal draws have deviation 0 and ratio 0.
    q = centre[0]
    ratio = np.divide(deviation, q, out=np.where(np.isnan(deviation), np.nan, 0.0), where=q > 0)
    return -xlogy(p, p).sum(-1).mean(0), (q * _phi(ratio)).sum(-1).mean(0)


def _deviation(x: np.ndarray) -> np.ndarray:
    """x minus its mean over the first axis; exactly 0 where all entries are equal."""
    shifted = x - x[:1]
    return shifted - shifted.mean(0)


def _phi(u: np.ndarray) -> np.ndarray:
    """(1 + u) log(1 + u) - u for u >= -1, by its series near 0."""
    u = np.maximum(u, -1.0)
    near = np.where(np.abs(u) < 0.01, u, 0.0)
    series = sum((-1.0) ** k * near**k / (k * (k - 1)) for k in range(8, 1, -1))
    return np.where(np.abs(u) < 0.01, series, xlogy(1 + u, 1 + u) - u)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")

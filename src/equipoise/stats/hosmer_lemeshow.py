"""The Hosmer-Lemeshow statistic, and the two scores of the PhysioNet/CinC Challenge 2012."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.weighting import ratio, weights_of


@dataclass(frozen=True)
class HosmerLemeshow:
    """H over groups of equal size by risk, and mean risk of the highest minus that of the lowest group."""

    h: float
    spread: float

    @property
    def event2(self) -> float:
        """H / spread: "Event 2" of the challenge, lower is better; NaN where all groups have one mean risk."""
        return float(ratio(np.array(self.h), np.array(self.spread)))


def hosmer_lemeshow(risk: np.ndarray, outcome: np.ndarray, n_groups: int = 10) -> HosmerLemeshow:
    """H = sum_g (O_g - n_g p_g)^2 / (n_g p_g (1 - p_g)), p_g the mean risk of group g, groups by rank of equal size.

    Args:
        risk: f64 (n,), in [0, 1].
        outcome: (n,), 0 or 1.
        n_groups: >= 2; n >= n_groups.

    Returns:
        NaN where a group's mean risk is 0 or 1, or there are fewer rows than groups.

    Source: Hosmer and Lemeshow (1980); Silva et al. (2012) for H / D.

    >>> hosmer_lemeshow(np.array([0.5, 0.5, 0.5, 0.5]), np.array([0, 1, 1, 0]), 2).h
    0.0
    """
    risk, y = np.asarray(risk, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    if risk.size < n_groups:
        return HosmerLemeshow(float("nan"), float("nan"))
    # Within one group of tied risks the source's row order would decide who falls into which group; the stable sort keeps that repeatable.
    groups = np.array_split(np.argsort(risk, kind="stable"), n_groups)
    n, mean, observed = (np.array(x) for x in zip(*[(g.size, risk[g].mean(), y[g].sum()) for g in groups], strict=True))
    h = ratio((observed - n * mean) ** 2, n * mean * (1 - mean)).sum()
    return HosmerLemeshow(float(h), float(mean[-1] - mean[0]))


def event1(risk: np.ndarray, outcome: np.ndarray, threshold: float, weight: np.ndarray | None = None) -> np.ndarray:
    """min(sensitivity, positive predictive value) of alarms at risk >= threshold, f64 (...,): "Event 1" of the challenge, higher is better.

    Args:
        risk: f64 (n,).
        outcome: (n,), 0 or 1.
        threshold: fixed on other rows.
        weight: f64 (..., n).

    Returns:
        0 where nothing is alarmed; NaN where there is no event.

    Source: Silva et al. (2012).
    """
    alarm, y = np.asarray(risk) >= threshold, np.asarray(outcome, dtype=np.float64)
    w = weights_of(weight, y.shape[0])
    true = w @ (alarm * y)
    return np.minimum(ratio(true, w @ y), np.nan_to_num(ratio(true, w @ alarm.astype(np.float64))))

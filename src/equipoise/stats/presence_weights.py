"""Weights that make rows with an evidence stand for all rows: inverse probabilities of presence, and their tilt where absence is not at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.logistic import logistic_fit, logistic_risk
from equipoise.stats.propensity import effective_rows

LARGEST = 10.0
"""A weight is read as at most this many times the median one: a few rows must not be the whole estimate."""


@dataclass(frozen=True)
class PresenceWeights:
    """Weights of rows that have an evidence.

    Args:
        weight: f64 (n,), mean 1 over the rows with the evidence, 0 without.
        effective_rows: (sum w)^2 / sum w^2, Kish's effective sample size.
        truncated: rows whose weight was cut.
    """

    weight: np.ndarray
    effective_rows: float
    truncated: int


def presence_probability(present: np.ndarray, x: np.ndarray) -> np.ndarray:
    """P(present | x) by logistic regression, f64 (n,); the share where there are no columns or nothing varies.

    Args:
        present: bool (n,).
        x: f64 (n, k), finite; standardised here.
    """
    share = float(np.mean(present))
    spread = x.std(axis=0)
    z = ((x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0))[:, spread > 1e-12]
    if not 0 < share < 1 or not z.shape[1]:
        return np.full(present.size, share)
    return logistic_risk(z, logistic_fit(z, present))


def presence_weights(present: np.ndarray, probability: np.ndarray, absent_as: np.ndarray | float = 1.0) -> PresenceWeights:
    """Weights ``1 + t_i (1 - p_i) / p_i`` of the rows with the evidence: each stands for itself and for the rows without it that are like it.

    With t = 1 this is ``1 / p_i``, the inverse probability of presence, right where absence depends on nothing but x (missing at random). A factor t
    beside 1 gives the rows without the evidence another distribution of outcomes than like rows with it (see `tilt`): a pattern mixture. Weights are
    cut at `LARGEST` and scaled to mean 1 (which stabilises them).

    Args:
        present: bool (n,).
        probability: f64 (n,), P(present | x), in (0, 1].
        absent_as: t, f64 (n,) or a number, > 0.

    Source: Horvitz and Thompson (1952); Cole and Hernan (2008) for scaling and truncation; Kish (1965) for the effective size.

    >>> made = presence_weights(np.array([True, True, False]), np.array([0.5, 1.0, 0.5]))
    >>> made.weight.round(3).tolist(), round(made.effective_rows, 2)
    ([1.333, 0.667, 0.0], 1.8)
    """
    raw = np.where(present, 1 + absent_as * (1 - probability) / np.maximum(probability, 1e-9), 0.0)
    n = int(present.sum())
    if not n:
        return PresenceWeights(raw, 0.0, 0)
    largest = LARGEST * float(np.median(raw[present]))
    cut = np.minimum(raw, largest)
    return PresenceWeights(cut * (n / cut.sum()), effective_rows(cut), int((raw > largest).sum()))


def tilt(outcome: np.ndarray, risk: np.ndarray, delta: float) -> np.ndarray:
    """Factor ``e^(delta y) / E[e^(delta Y) | risk]`` that shifts the log odds of a binary outcome by delta: ``e^(delta y) / (1 - r + r e^delta)``.

    Args:
        outcome: f64 (n,), 0 or 1.
        risk: f64 (n,), P(Y = 1) as predicted.
        delta: log odds.

    Returns:
        f64 (n,), mean 1 under the predicted risk.

    Source: Rubin (1977); Carpenter and Kenward (2013), chapter 10 (pattern mixture, delta adjustment); Rotnitzky, Robins and Scharfstein (1998) for the
    exponential tilt.

    >>> r, d = 0.2, 0.7
    >>> tilted = r * tilt(np.array([1.0]), np.array([r]), d)[0]
    >>> round(float(np.log(tilted / (1 - tilted)) - np.log(r / (1 - r))), 6)
    0.7
    """
    return np.asarray(np.exp(delta * outcome) / (1 - risk + risk * np.exp(delta)))


def tilt_normal(outcome: np.ndarray, mean: np.ndarray, sd: np.ndarray, delta: float) -> np.ndarray:
    """`tilt` of a continuous outcome: ``exp(delta z - delta^2 / 2)`` with ``z = (y - mean) / sd`` shifts a normal outcome by delta standard deviations.

    Args:
        outcome: f64 (n,).
        mean: f64 (n,), as predicted.
        sd: f64 (n,), > 0, predictive.
        delta: standard deviations.
    """
    return np.asarray(np.exp(delta * (outcome - mean) / sd - delta**2 / 2))

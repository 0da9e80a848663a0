"""Distributions of a model's log odds, for planning: what a C statistic and a prevalence, or a mean and a standard deviation, say about the risks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri

_WIDTH = 9.0  # standard deviations on each side: what lies beyond has a weight below 1e-18
_STEPS = 4001


@dataclass(frozen=True)
class LogOdds:
    """Log odds of calibrated risks on a grid of equal steps.

    Args:
        value: f64 (k,), rising.
        weight: f64 (k,), the share of people at each, sum 1.
    """

    value: np.ndarray
    weight: np.ndarray

    @property
    def risk(self) -> np.ndarray:
        return expit(self.value)

    @property
    def prevalence(self) -> float:
        """The share of events that calibrated risks imply."""
        return float(self.weight @ self.risk)


def normal(mean: float, sd: float) -> LogOdds:
    """Log odds that are normal in the whole population.

    Args:
        mean: in log odds.
        sd: > 0, in log odds.

    Source: Riley et al. (2021).
    """
    z = np.linspace(-_WIDTH, _WIDTH, _STEPS)
    weight = np.exp(-z * z / 2)
    return LogOdds(mean + sd * z, weight / weight.sum())


def binormal(c: float, prevalence: float) -> LogOdds:
    """Log odds that are normal with equal variance among events and among non-events: N(m, d^2) and N(m + d^2, d^2).

    ``d = sqrt(2) Phi^-1(c)`` and ``m = logit(prevalence) - d^2 / 2``, with which the risks are calibrated.

    Args:
        c: C statistic, in (0.5, 1).
        prevalence: in (0, 1).

    Source: Riley, Van Calster and Collins (2021); Riley et al. (2021).

    >>> round(binormal(0.8, 0.1).prevalence, 6)
    0.1
    """
    d = float(np.sqrt(2) * ndtri(c))
    m = float(logit(prevalence)) - d * d / 2
    value = np.linspace(m - _WIDTH * d, m + d * d + _WIDTH * d, _STEPS)
    weight = (1 - prevalence) * np.exp(-(((value - m) / d) ** 2) / 2) + prevalence * np.exp(-(((value - m) / d - d) ** 2) / 2)
    return LogOdds(value, weight / weight.sum())


def accuracy_at(log_odds: LogOdds, threshold: float) -> tuple[float, float]:
    """Sensitivity and specificity of calling a risk >= threshold an event.

    Args:
        log_odds: of calibrated risks.
        threshold: in (0, 1).

    Source: ours: ``E[p; p >= t] / E[p]`` and ``E[1 - p; p < t] / E[1 - p]``, linear within a step of the grid.

    >>> sensitivity, specificity = accuracy_at(binormal(0.8, 0.5), 0.5)
    >>> round(sensitivity, 3) == round(specificity, 3) == 0.724
    True
    """
    step = log_odds.value[1] - log_odds.value[0]
    edges = log_odds.value + step / 2
    shares = []
    for part in (log_odds.weight * log_odds.risk, log_odds.weight * (1 - log_odds.risk)):
        shares.append(float(np.interp(logit(threshold), edges, np.cumsum(part))) / float(part.sum()))
    return 1 - shares[0], shares[1]


def log_hazard_shift(risk: float, sd: float) -> float:
    """The log cumulative baseline hazard at a horizon, with which normal log hazards of this spread give this overall risk: E[1 - exp(-exp(a + x))] = risk.

    Args:
        risk: overall risk by the horizon, in (0, 1).
        sd: standard deviation of the linear predictor, in log hazards, > 0.

    Source: ours.
    """
    x = normal(0.0, sd)
    return float(brentq(lambda a: float(x.weight @ -np.expm1(-np.exp(a + x.value))) - risk, -60.0, 60.0))

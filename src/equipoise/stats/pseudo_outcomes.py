"""Pseudo-outcomes: numbers whose regression on the inputs is a treatment's effect, from nuisances fitted on other rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from equipoise.stats.aipw import doubly_robust_scores
from equipoise.stats.weighting import ratio

EffectLoss = Literal["dr", "r"]
"""By what effects are learnt and chosen: the doubly robust scores, or Robinson's residuals."""


@dataclass(frozen=True)
class PseudoOutcomes:
    """The loss of an effect tau is sum_i weight_i (value_i - tau_i)^2.

    Args:
        value: f64 (n,), in the outcome's unit; NaN where there is none.
        weight: f64 (n,), >= 0; 1 where there is no value.
    """

    value: np.ndarray
    weight: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """bool (n,)."""
        return np.isfinite(self.value)

    @classmethod
    def none(cls, n: int) -> PseudoOutcomes:
        """Of n rows, none known yet."""
        return cls(np.full(n, np.nan), np.ones(n))

    def fill(self, rows: np.ndarray, made: PseudoOutcomes) -> None:
        """Writes those of these rows, i64 (m,)."""
        self.value[rows], self.weight[rows] = made.value, made.weight


def pseudo_outcomes(by: EffectLoss, outcome: np.ndarray, treatment: np.ndarray, mu0: np.ndarray, mu1: np.ndarray, propensity: np.ndarray) -> PseudoOutcomes:
    """dr: mu1 - mu0 + (a - e)/(e (1 - e)) (y - mu_a), weight 1. r: (y - m)/(a - e), weight (a - e)^2, m = (1 - e) mu0 + e mu1.

    The R-loss of an effect is then sum (y - m - (a - e) tau)^2, that of Robinson's residuals, which does not divide by a small propensity.

    Args:
        by: "dr" or "r".
        outcome: f64 (n,).
        treatment: (n,), 0 or 1.
        mu0: f64 (n,), expected outcome untreated, from other rows.
        mu1: f64 (n,), treated.
        propensity: f64 (n,), P(treated), in (0, 1).

    Source: Kennedy (2023), eq. 2 (DR); Nie and Wager (2021), eq. 4 (R); Robinson (1988).

    >>> p = pseudo_outcomes("r", np.array([3.0]), np.array([1]), np.array([1.0]), np.array([2.0]), np.array([0.5]))
    >>> p.value.tolist(), p.weight.tolist()
    ([3.0], [0.25])
    """
    a, e = np.asarray(treatment, dtype=np.float64), np.asarray(propensity, dtype=np.float64)
    if by == "dr":
        return PseudoOutcomes(doubly_robust_scores(outcome, treatment, mu0, mu1, e), np.ones(a.size))
    return PseudoOutcomes((outcome - (1 - e) * mu0 - e * mu1) / (a - e), (a - e) ** 2)


def effect_loss(pseudo: PseudoOutcomes, effect: np.ndarray, weight: np.ndarray) -> float:
    """Mean over rows of weight (value - effect)^2, rows without a pseudo-outcome or an effect left out.

    Args:
        pseudo: n of them.
        effect: f64 (n,), predicted; NaN where there is none.
        weight: f64 (n,), analysis weights.

    Source: Nie and Wager (2021), eq. 4; Schuler et al. (2018), section 3 (choosing by it).
    """
    both = pseudo.known & np.isfinite(effect)
    gap = (pseudo.value[both] - effect[both]) ** 2
    return float(ratio(np.asarray(weight[both] @ (pseudo.weight[both] * gap)), np.asarray(weight[both].sum())))


def uncensored(status: np.ndarray, weight: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """mu + W (y - mu): stands for an outcome that censoring hides in some rows; its mean given the inputs is that of y.

    W is one over P(the status is known) where it is known and 0 elsewhere, so that E(W | x, y) = 1 and what mu says cancels on average: an outcome
    model that is wrong costs precision and no bias, as long as P is right.

    Args:
        status: f64 (n,), the outcome where it is known.
        weight: f64 (n,), W.
        expected: f64 (n,), mu, the expected outcome in the arm that was received, from other rows.

    Source: Robins, Rotnitzky and Zhao (1994); ours in that mu serves all censored rows alike, whenever they were censored.

    >>> uncensored(np.array([1.0, 0.0]), np.array([2.0, 0.0]), np.array([0.4, 0.3])).round(3).tolist()
    [1.6, 0.3]
    """
    return np.asarray(expected + weight * (status - expected), dtype=np.float64)

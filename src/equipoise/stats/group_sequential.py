"""Group-sequential designs with an upper, efficacy boundary: alpha spending, bounds, crossing probabilities, sample size.

The statistic ``B(t) = Z sqrt(t)`` at information fraction t is a Brownian motion with drift; the density of what has not stopped is carried from look
to look by Gauss-Legendre integration (Armitage, McPherson and Rowe 1969; Jennison and Turnbull 2000, chapter 19). Tests are one-sided, without
futility bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

BOUNDARIES = ("obrien_fleming_spending", "pocock_spending", "obrien_fleming", "pocock")

_TAIL = 9.0  # standard deviations beyond which a path counts for nothing (1e-19)
_MOST_NODES = 1200
_NEVER = 1e-14  # a smaller probability is spent nowhere: the bound is infinite


@dataclass(frozen=True)
class Design:
    """A group-sequential design at its planned effect.

    Args:
        information: f64 (k,), fraction of the information at each look, rising to 1.
        bounds: f64 (k,), of Z; infinite where nothing is spent.
        spent: f64 (k,), one-sided error spent up to each look.
        drift: true effect over its standard error at full information.
        inflation: maximal sample size over that of a trial without looks.
        stops: f64 (k,), probability of crossing at each look under the planned effect; the last is the share that is shown at the end.
        expected: expected over fixed sample size under the planned effect.
        expected_half: the same under half of the planned effect.
        expected_null: the same under no effect.
    """

    information: np.ndarray
    bounds: np.ndarray
    spent: np.ndarray
    drift: float
    inflation: float
    stops: np.ndarray
    expected: float
    expected_half: float
    expected_null: float


def alpha_spent(information: np.ndarray, alpha: float, boundary: str) -> np.ndarray:
    """Cumulative error of a spending function: ``2 (1 - Phi(z_(alpha/2) / sqrt(t)))`` (O'Brien-Fleming type) or ``alpha ln(1 + (e - 1) t)`` (Pocock type).

    Args:
        information: f64 (k,), in (0, 1].
        alpha: one-sided, in (0, 0.5).
        boundary: ``obrien_fleming_spending`` or ``pocock_spending``.

    Source: Lan and DeMets (1983).

    >>> alpha_spent(np.array([0.5, 1.0]), 0.025, "obrien_fleming_spending").round(5).tolist()
    [0.00153, 0.025]
    """
    t = np.asarray(information, dtype=np.float64)
    if boundary == "obrien_fleming_spending":
        return 2 * ndtr(-float(ndtri(1 - alpha / 2)) / np.sqrt(t))
    return alpha * np.log1p((math.e - 1) * t)


def crossing(information: np.ndarray, bounds: np.ndarray, drift: float) -> np.ndarray:
    """P(first crossing at look k) of a Brownian motion with this drift.

    Args:
        information: f64 (k,), rising, in (0, 1].
        bounds: f64 (k,), of Z; infinity = no stopping.
        drift: mean of Z at information 1.

    Returns:
        f64 (k,); the sum is the power (drift > 0) or the error (0).

    Source: Armitage, McPherson and Rowe (1969); Jennison and Turnbull (2000), section 19.2.

    >>> round(float(crossing(np.array([1.0]), np.array([1.96]), 0.0)[0]), 4)
    0.025
    """
    path = _Path(drift)
    return np.array([path.look(float(t), float(c)) for t, c in zip(information, bounds, strict=True)])


def bounds_of(information: np.ndarray, alpha: float, boundary: str) -> np.ndarray:
    """Bounds of Z at each look, f64 (k,), with the one-sided error ``alpha`` in total.

    A spending function fixes them one after another; ``obrien_fleming`` is ``C / sqrt(t)`` and ``pocock`` is ``C`` at every look.

    Args:
        information: f64 (k,), rising to 1.
        alpha: one-sided, in (0, 0.5).
        boundary: one of `BOUNDARIES`.

    Source: Lan and DeMets (1983); O'Brien and Fleming (1979); Pocock (1977).

    >>> bounds_of(np.array([1, 2, 3]) / 3, 0.025, "obrien_fleming_spending").round(6).tolist()
    [3.710303, 2.511427, 1.993047]
    """
    t = np.asarray(information, dtype=np.float64)
    if boundary.endswith("spending"):
        path, bounds = _Path(0.0), []
        for at, step in zip(t, np.diff(alpha_spent(t, alpha, boundary), prepend=0.0), strict=True):
            bounds.append(path.bound(float(at), float(step)))
            path.look(float(at), bounds[-1])
        return np.array(bounds)
    shape = 1 / np.sqrt(t) if boundary == "obrien_fleming" else np.ones_like(t)
    c = brentq(lambda c: float(crossing(t, c * shape, 0.0).sum()) - alpha, float(ndtri(1 - alpha)) - 1e-9, 10.0, xtol=1e-13)
    return float(c) * shape


def design(information: np.ndarray, alpha: float, power: float, boundary: str) -> Design:
    """Bounds, sample size and stopping probabilities of a design with this power.

    Args:
        information: f64 (k,), rising to 1.
        alpha: one-sided, in (0, 0.5).
        power: in (alpha, 1).
        boundary: one of `BOUNDARIES`.

    Source: Jennison and Turnbull (2000), chapters 2 and 7.

    >>> made = design(np.array([1, 2, 3]) / 3, 0.025, 0.8, "obrien_fleming_spending")
    >>> round(made.inflation, 4), round(made.expected, 4)
    (1.0128, 0.8656)
    """
    t = np.asarray(information, dtype=np.float64)
    bounds = bounds_of(t, alpha, boundary)
    fixed = float(ndtri(1 - alpha) + ndtri(power))
    drift = float(brentq(lambda d: float(crossing(t, bounds, d).sum()) - power, fixed - 1e-9, 3 * fixed, xtol=1e-12))
    inflation = (drift / fixed) ** 2
    stops = {share: crossing(t, bounds, share * drift) for share in (1.0, 0.5, 0.0)}
    expected = {share: inflation * (1 - float(stop[:-1] @ (1 - t[:-1]))) for share, stop in stops.items()}
    return Design(t, bounds, np.cumsum(stops[0.0]), drift, inflation, stops[1.0], expected[1.0], expected[0.5], expected[0.0])


@lru_cache
def _nodes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [-1, 1]; finding them costs more than all the rest."""
    return np.polynomial.legendre.leggauss(n)


class _Path:
    """The Brownian motion that has not crossed yet, from look to look."""

    def __init__(self, drift: float) -> None:
        self._drift, self._t = drift, 0.0
        self._at, self._mass = np.zeros(1), np.ones(1)

    def bound(self, t: float, probability: float) -> float:
        """The bound of Z at information t that is first crossed there with this probability; infinite where it is next to nothing."""
        if probability < _NEVER:
            return math.inf
        return float(brentq(lambda c: self._tail(t, c) - probability, -_TAIL, _TAIL, xtol=1e-13))

    def look(self, t: float, bound: float) -> float:
        """Goes on to information t; returns the probability of first crossing the bound there."""
        crossed = self._tail(t, bound) if math.isfinite(bound) else 0.0
        sd = math.sqrt(t - self._t)
        low, high = (self._drift * t + side * _TAIL * math.sqrt(t) for side in (-1, 1))
        high = min(bound * math.sqrt(t), high)
        # Steps well below the spread of one increment: the sum is then exact to rounding.
        node, weight = _nodes(min(_MOST_NODES, 100 * math.ceil(0.6 + 0.08 * max(high - low, sd) / sd)))
        at = low + (node + 1) * (high - low) / 2
        density = np.exp(-(((at[:, None] - self._mean(t)) / sd) ** 2) / 2) @ self._mass / (sd * math.sqrt(2 * math.pi))
        self._t, self._at, self._mass = t, at, density * weight * (high - low) / 2
        return crossed

    def _tail(self, t: float, bound: float) -> float:
        """P(first crossing at t with this bound)."""
        return float(self._mass @ ndtr((self._mean(t) - bound * math.sqrt(t)) / math.sqrt(t - self._t)))

    def _mean(self, t: float) -> np.ndarray:
        return self._at + self._drift * (t - self._t)

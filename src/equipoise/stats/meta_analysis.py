"""Meta-analysis of one quantity from k sites: a common value, or a mean over sites with its spread, and what to expect at a further site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtrc, stdtrit

from equipoise.stats.estimate import Estimate, normal_interval

Between = Literal["REML", "DL", "PM"]
FEWEST_FOR_PREDICTION = 3
"""The prediction interval has k - 2 degrees of freedom."""

_PLACES = 60  # of a grid that brackets the highest restricted likelihood, which may have several peaks


@dataclass(frozen=True)
class Pooled:
    """What k sites say together, on the scale on which they were given.

    Args:
        mean: the common value, or the mean over sites, with its interval.
        lo: lower bound of the prediction interval for the true value at a further site; NaN where there is none.
        hi: upper bound.
        tau2: variance between sites, >= 0.
        q: Cochran's Q.
        q_p: its p value, k - 1 degrees of freedom.
        i2: share of the variance that lies between sites, in [0, 1).
        weight: f64 (k,), share of each site in the mean.
    """

    mean: Estimate
    lo: float
    hi: float
    tau2: float
    q: float
    q_p: float
    i2: float
    weight: np.ndarray


def between_sites(value: np.ndarray, se: np.ndarray, method: Between = "REML") -> float:
    """The variance tau^2 between sites' true values, never below 0.

    REML maximises ``-1/2 [sum log(v + tau^2) + log sum w + sum w (y - mean)^2]``, w = 1/(v + tau^2), v = se^2; PM solves
    ``sum w (y - mean)^2 = k - 1``; DL is the first step towards that from tau^2 = 0.

    Args:
        value: f64 (k,), k >= 2.
        se: f64 (k,), > 0.
        method: REML, DL (DerSimonian and Laird) or PM (Paule and Mandel).

    Raises:
        ValueError: fewer than two sites, or an error that is not above 0.

    Source: Viechtbauer (2005), eq. 13; DerSimonian and Laird (1986), eq. 8; Paule and Mandel (1982).

    >>> round(between_sites(np.array([0.1, 0.4, 0.7]), np.array([0.1, 0.1, 0.1])), 4)
    0.08
    """
    y, v = _checked(value, se)
    match method:
        case "DL":
            return _dersimonian_laird(y, v)
        case "PM":
            return _paule_mandel(y, v)
        case _:
            return _reml(y, v)


def fixed_effect(value: np.ndarray, se: np.ndarray, level: float) -> Pooled:
    """The value that all sites are taken to share: ``sum y/v / sum 1/v``, variance ``1 / sum 1/v``. There is no prediction interval.

    Args:
        value: f64 (k,), k >= 2.
        se: f64 (k,), > 0.
        level: in (0, 1).

    Source: Hedges and Vevea (1998), eq. 3 and 4.

    >>> p = fixed_effect(np.array([0.1, 0.4]), np.array([0.1, 0.2]), 0.95)
    >>> round(p.mean.value, 3), round(p.mean.se, 4), round(p.q, 3)
    (0.16, 0.0894, 1.8)
    """
    y, v = _checked(value, se)
    w = 1 / v
    mean = normal_interval(_mean(y, w), float(1 / np.sqrt(w.sum())), level, f"common value of {y.size} sites, inverse variance")
    return _described(y, v, 0.0, mean, (float("nan"), float("nan")))


def random_effects(value: np.ndarray, se: np.ndarray, level: float, between: Between = "REML", *, modified: bool = True) -> Pooled:
    """The mean over sites, Hartung and Knapp's interval, and the prediction interval of a further site's true value.

    With w = 1/(se^2 + tau^2), mean = sum w y / sum w and q = sum w (y - mean)^2 / (k - 1), the mean's variance is ``V = q / sum w`` and its interval
    ``mean -+ t_{k-1} sqrt(V)``. Modified: max(1, q) in the place of q, so that sites that happen to agree give no interval narrower than tau^2 = 0
    would; without it that is possible. The prediction interval is ``mean -+ t_{k-2} sqrt(tau^2 + V)`` (Higgins' with V in the place of 1 / sum w),
    none for k = 2.

    Args:
        value: f64 (k,), k >= 2, on a scale on which estimates and true values are about normal.
        se: f64 (k,), > 0, taken as known.
        level: in (0, 1).
        between: how tau^2 is estimated.
        modified: see above.

    Source: Hartung and Knapp (2001), eq. 4; Knapp and Hartung (2003), section 3, for the modification; Higgins, Thompson and Spiegelhalter (2009),
    eq. 12; Partlett and Riley (2017), eq. 13, for V in the prediction interval.

    >>> p = random_effects(np.array([0.1, 0.4, 0.7]), np.array([0.1, 0.1, 0.1]), 0.95)
    >>> round(p.mean.value, 3), round(p.mean.lo, 3), round(p.mean.hi, 3)
    (0.4, -0.345, 1.145)
    """
    y, v = _checked(value, se)
    k, tau2 = y.size, between_sites(value, se, between)
    w = 1 / (v + tau2)
    middle = _mean(y, w)
    q = float((w * (y - middle) ** 2).sum() / (k - 1))
    variance = (max(1.0, q) if modified else q) / float(w.sum())
    method = f"random effects over {k} sites ({between}), {'modified ' if modified else ''}Hartung-Knapp"
    mean = normal_interval(middle, float(np.sqrt(variance)), level, method, df=k - 1.0)
    half = float(stdtrit(k - 2, (1 + level) / 2) * np.sqrt(tau2 + variance)) if k >= FEWEST_FOR_PREDICTION else float("nan")
    return _described(y, v, tau2, mean, (middle - half, middle + half))


def unweighted_mean(value: np.ndarray, level: float) -> Estimate:
    """``mean -+ t_{k-1} s / sqrt(k)`` over the sites' estimates, s their standard deviation; their own errors are not used.

    Its one-sided error is at most the declared one, for levels of 0.917 and above, however unequal the sites are: a bound that no random-effects
    interval with estimated weights has.

    Args:
        value: f64 (k,), k >= 2.
        level: in (0, 1).

    Source: Ibragimov and Mueller (2010), theorem 1 (Bakirov and Szekely 2006).

    >>> e = unweighted_mean(np.array([0.1, 0.4, 0.7]), 0.95)
    >>> round(e.lo, 3), round(e.hi, 3)
    (-0.345, 1.145)
    """
    y, _ = _checked(value, np.ones_like(value))
    return normal_interval(float(y.mean()), float(y.std(ddof=1) / np.sqrt(y.size)), level, f"t interval over {y.size} sites", df=y.size - 1.0)


def _checked(value: np.ndarray, se: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, s = np.asarray(value, dtype=np.float64), np.asarray(se, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or y.size < 2:
        raise ValueError(f"a value and an error of at least two sites are needed, not {y.shape} and {s.shape}")
    if not (np.isfinite(y).all() and np.isfinite(s).all() and (s > 0).all()):
        raise ValueError("values must be finite and errors above 0")
    return y, s**2


def _mean(y: np.ndarray, w: np.ndarray) -> float:
    return float((w * y).sum() / w.sum())


def _described(y: np.ndarray, v: np.ndarray, tau2: float, mean: Estimate, prediction: tuple[float, float]) -> Pooled:
    """Adds Q, and I^2 = tau^2 / (tau^2 + typical v) (Higgins and Thompson 2002, eq. 9; of a common value (Q - k + 1) / Q)."""
    k, fixed = y.size, 1 / v
    q = float((fixed * (y - _mean(y, fixed)) ** 2).sum())
    typical = (k - 1) * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())
    i2 = max(0.0, 1 - (k - 1) / q) if mean.method.startswith("common") and q > 0 else float(tau2 / (tau2 + typical))
    w = 1 / (v + tau2)
    return Pooled(mean, *prediction, tau2=tau2, q=q, q_p=float(chdtrc(k - 1, q)), i2=i2, weight=w / w.sum())


def _dersimonian_laird(y: np.ndarray, v: np.ndarray) -> float:
    w = 1 / v
    q = (w * (y - _mean(y, w)) ** 2).sum()
    return max(0.0, float((q - (y.size - 1)) / (w.sum() - (w**2).sum() / w.sum())))


def _paule_mandel(y: np.ndarray, v: np.ndarray) -> float:
    def excess(tau2: float) -> float:
        w = 1 / (v + tau2)
        return float((w * (y - _mean(y, w)) ** 2).sum() - (y.size - 1))

    return 0.0 if excess(0.0) <= 0 else _root(excess, 0.0, _beyond(y))


def _reml(y: np.ndarray, v: np.ndarray) -> float:
    def slope(tau2: float) -> float:
        """Twice the derivative of the restricted log likelihood."""
        w = 1 / (v + tau2)
        return float((w**2 * (y - _mean(y, w)) ** 2).sum() - w.sum() + (w**2).sum() / w.sum())

    most = _beyond(y)
    if most == 0:
        return 0.0
    grid = np.concatenate([[0.0], np.geomspace(1e-6 * min(most, float(v.min())), most, _PLACES)])
    w = 1 / (v + grid[:, None])
    middle = (w @ y) / w.sum(1)
    likelihood = np.log(w).sum(1) - np.log(w.sum(1)) - (w * (y - middle[:, None]) ** 2).sum(1)
    best = int(np.argmax(likelihood))
    rising = slope(float(grid[best])) > 0
    if best == 0 and not rising:
        return 0.0
    low = best if rising else best - 1
    return _root(slope, float(grid[low]), float(grid[low + 1]))


def _beyond(y: np.ndarray) -> float:
    """A variance that no estimate exceeds: in contrasts z with variances l + tau^2, REML's slope is the sum of (z^2/(l + tau^2) - 1)/(l + tau^2)."""
    return float(((y - y.mean()) ** 2).sum())


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(f, low, high, xtol=1e-300, rtol=8.9e-16, maxiter=500))

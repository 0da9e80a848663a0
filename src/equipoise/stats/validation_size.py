"""How many people the external validation of a prediction model needs: an interval of the wanted width for each measure of performance.

All widths are those of a whole 95 % interval of a well calibrated model (O/E 1, slope 1): Riley et al. (2021) and pmvalsampsize for a binary
outcome, Archer et al. (2021) for a continuous one. For a time to event Riley et al. (2022) simulate; here two measures with an asymptotic
variance are integrated.
"""

from __future__ import annotations

import math

import numpy as np

from equipoise.stats.log_odds import LogOdds, log_hazard_shift, normal
from equipoise.stats.sample_size import Z, n_for_residual_sd
from equipoise.stats.smallest import smallest_n


def log_ratio_se(width: float) -> float:
    """Standard error of ln(O/E) with which the interval of O/E = 1 has this width: ``asinh(width / 2) / 1.96``.

    Args:
        width: upper minus lower bound of O/E, > 0.

    >>> round(log_ratio_se(0.2), 4)
    0.0509
    """
    return math.asinh(width / 2) / Z


def n_for_observed_expected(prevalence: float, width: float) -> int:
    """Observed over expected events, binary outcome: ``n = (1 - p) / (p se^2)``.

    Args:
        prevalence: in (0, 1).
        width: of the interval of O/E, > 0, usually 0.2.

    Source: Riley et al. (2021), criterion 1; Debray et al. (2017).

    >>> n_for_observed_expected(0.018, 1)
    906
    """
    return math.ceil((1 - prevalence) / (prevalence * log_ratio_se(width) ** 2))


def n_for_slope(log_odds: LogOdds, width: float) -> int:
    """Calibration slope of a logistic model: ``n = I00 / (se^2 (I00 I11 - I01^2))`` with ``Ijk = E[lp^(j+k) p (1 - p)]``.

    Args:
        log_odds: the expected distribution in the validation population.
        width: of the interval of the slope, > 0, usually 0.2.

    Source: Riley et al. (2021), criterion 2.
    """
    spread = log_odds.weight * log_odds.risk * (1 - log_odds.risk)
    i00, i01, i11 = (float(spread @ log_odds.value**k) for k in range(3))
    return math.ceil(i00 / ((width / (2 * Z)) ** 2 * (i00 * i11 - i01**2)))


def c_statistic_se(n: float, c: float, prevalence: float) -> float:
    """Standard error of a C statistic: ``sqrt(c (1 - c) (1 + (n/2 - 1) ((1 - c) / (2 - c) + c / (1 + c))) / (n^2 p (1 - p)))``.

    Args:
        n: people.
        c: in (0.5, 1).
        prevalence: p, in (0, 1).

    Source: Newcombe (2006), method 4; Riley et al. (2021), criterion 3.
    """
    pairs = 1 + (n / 2 - 1) * ((1 - c) / (2 - c) + c / (1 + c))
    return math.sqrt(c * (1 - c) * pairs / (n * n * prevalence * (1 - prevalence)))


def n_for_c_statistic(c: float, prevalence: float, width: float) -> int:
    """C statistic, binary outcome: the smallest n with ``2 * 1.96 se <= width`` (`c_statistic_se`).

    Args:
        c: expected, in (0.5, 1).
        prevalence: in (0, 1).
        width: of the interval, > 0, usually 0.1.

    Source: Riley et al. (2021), criterion 3.

    >>> n_for_c_statistic(0.8, 0.018, 0.1)
    4252
    """
    return smallest_n(lambda n: 2 * Z * c_statistic_se(n, c, prevalence) <= width, 2)


def n_for_net_benefit(sensitivity: float, specificity: float, prevalence: float, threshold: float, width: float) -> int:
    """Standardised net benefit (net benefit over prevalence) at a threshold.

    ``n = (se (1 - se) / p + w^2 sp (1 - sp) / (1 - p) + w^2 (1 - sp)^2 / (p (1 - p))) / SE^2`` with ``w = (1 - p) / p * t / (1 - t)``.

    Args:
        sensitivity: at the threshold, in [0, 1].
        specificity: at the threshold, in [0, 1].
        prevalence: p, in (0, 1).
        threshold: t, in (0, 1).
        width: of the interval, > 0, usually 0.2.

    Source: Riley et al. (2021), criterion 4; Marsh et al. (2020).

    >>> n_for_net_benefit(0.5, 0.5, 0.018, 0.08, 0.2)
    129811
    """
    w = (1 - prevalence) / prevalence * threshold / (1 - threshold)
    called = sensitivity * (1 - sensitivity) / prevalence
    false = w * w * (1 - specificity) * (specificity / (1 - prevalence) + (1 - specificity) / (prevalence * (1 - prevalence)))
    return math.ceil((called + false) / (width / (2 * Z)) ** 2)


def n_for_r2(r2: float, width: float) -> int:
    """R2 of a continuous outcome: ``n = 4 R2 (1 - R2)^2 / se^2``.

    Args:
        r2: expected in the validation population, in (0, 1).
        width: of its interval, > 0, usually 0.1.

    Source: Archer et al. (2021), criterion 1.

    >>> n_for_r2(0.5, 0.1)
    769
    """
    return math.ceil(4 * r2 * (1 - r2) ** 2 / (width / (2 * Z)) ** 2)


def n_for_mean_residual(r2: float, sd: float, width: float) -> int:
    """Calibration in the large of a continuous outcome: ``n = sd^2 (1 - R2) / se^2``.

    Args:
        r2: expected, in (0, 1).
        sd: of the outcome, in its unit, > 0.
        width: of the interval of the mean residual, in the outcome's unit, > 0.

    Source: Archer et al. (2021), criterion 2.

    >>> n_for_mean_residual(0.5, 1.0, 0.2)
    193
    """
    return math.ceil(sd**2 * (1 - r2) / (width / (2 * Z)) ** 2)


def n_for_linear_slope(r2: float, width: float) -> int:
    """Calibration slope of a continuous outcome, 1 expected: ``n = (1 - R2) / (R2 se^2) + 1``.

    Args:
        r2: expected, in (0, 1).
        width: of the interval of the slope, > 0, usually 0.2.

    Source: Archer et al. (2021), criterion 3.

    >>> n_for_linear_slope(0.5, 0.2)
    386
    """
    return math.ceil((1 - r2) / (r2 * (width / (2 * Z)) ** 2) + 1)


def n_for_calibration_residuals(margin: float) -> int:
    """Residual standard deviation of the calibration model (one parameter) within a factor of ``margin``; 235 for 1.1.

    Source: Archer et al. (2021), criterion 4; see `n_for_residual_sd`.

    >>> n_for_calibration_residuals(1.1)
    235
    """
    return n_for_residual_sd(1, margin)


def n_for_observed_expected_at(risk: float, horizon_years: float, lost_per_year: float, sd: float, width: float) -> int:
    """Observed over expected risk at a horizon, observed by Kaplan-Meier: ``n = v / ((1 - S)^2 se^2)`` with Greenwood's ``v = S^2 integral of f / (S^2 G)``.

    Hazards are proportional with a constant baseline and a normal linear predictor; censoring is independent and exponential.

    Args:
        risk: 1 - S at the horizon, in (0, 1).
        horizon_years: > 0.
        lost_per_year: rate of censoring a year, >= 0.
        sd: of the linear predictor, in log hazards, > 0.
        width: of the interval of O/E, > 0, usually 0.2.

    Source: Greenwood (1926) and Breslow and Crowley (1974) for the variance; Riley et al. (2022) for the criterion; the integral is ours.
    """
    time, step, survivors, density, _ = _course(risk, horizon_years, sd)
    variance = (1 - risk) ** 2 * float(step @ (density / survivors**2 * np.exp(lost_per_year * time)))
    return math.ceil(variance / (risk * log_ratio_se(width)) ** 2)


def n_for_cox_slope(risk: float, horizon_years: float, lost_per_year: float, sd: float, width: float) -> int:
    """Calibration slope of a Cox model, 1 expected: ``n = 1 / (se^2 I)`` with the information a person ``I = integral of Var(x | event at t) f G``.

    Args:
        risk: of the event by the horizon, at which follow-up ends, in (0, 1).
        horizon_years: > 0.
        lost_per_year: rate of censoring a year, >= 0.
        sd: of the linear predictor, in log hazards, > 0.
        width: of the interval of the slope, > 0, usually 0.2.

    Source: Andersen and Gill (1982) for the information; Riley et al. (2022) for the criterion; the integral is ours.
    """
    time, step, _, density, spread = _course(risk, horizon_years, sd)
    information = float(step @ (spread * density * np.exp(-lost_per_year * time)))
    return math.ceil(1 / ((width / (2 * Z)) ** 2 * information))


def _course(risk: float, horizon: float, sd: float) -> tuple[np.ndarray, ...]:
    """Times with their steps (Gauss-Legendre), and there: survivors, density of events, variance of the linear predictor among those who have the event."""
    x = normal(0.0, sd)
    shift = log_hazard_shift(risk, sd)
    node, weight = np.polynomial.legendre.leggauss(60)
    time, step = (node + 1) * horizon / 2, weight * horizon / 2
    hazard = np.exp(shift + x.value) / horizon
    alive = np.exp(-hazard * time[:, None]) * x.weight
    falling = alive * hazard
    density = falling.sum(1)
    mean = falling @ x.value / density
    return time, step, alive.sum(1), density, falling @ x.value**2 / density - mean**2

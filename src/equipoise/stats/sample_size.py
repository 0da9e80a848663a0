"""How many people the development of a prediction model needs: Riley's criteria, and one of van Smeden for the mean absolute error of the risks.

For a binary outcome and a time to event: 1. little overfitting (`n_for_shrinkage`); 2. little optimism of Nagelkerke's R2 (`n_for_optimism`);
3. a precise mean risk (`n_for_mean_risk`, `n_for_incidence`). The example of pmsampsize (24 parameters, Cox-Snell R2 0.288,
prevalence 0.174) needs 623, 662 and 221 by criteria 1, 2 and 3.
For a continuous outcome: 1. shrinkage, 2. optimism, 3. residual standard deviation, 4. mean outcome (`n_for_linear_shrinkage` and so on).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import chdtri, ndtri, stdtrit

from equipoise.stats.log_odds import binormal
from equipoise.stats.smallest import smallest_n

Z = float(ndtri(0.975))
"""Normal quantile of the 95 % intervals that all criteria ask for."""


def largest_r2_binary(prevalence: float) -> float:
    """The largest Cox-Snell R2 that a binary outcome allows: ``1 - exp(2 (p ln p + (1 - p) ln(1 - p)))``.

    Args:
        prevalence: in (0, 1).

    Source: Riley et al. (2019, part II), eq. 23.

    >>> round(largest_r2_binary(0.174), 4)
    0.6032
    """
    return 1 - math.exp(2 * (prevalence * math.log(prevalence) + (1 - prevalence) * math.log1p(-prevalence)))


def largest_r2_time_to_event(events_per_person: float) -> float:
    """The largest Cox-Snell R2 of a time to event under an exponential null model: ``1 - exp(2 e (ln e - 1))`` with e events a person.

    Args:
        events_per_person: event rate a year times mean follow-up in years, > 0.

    Source: Riley et al. (2019, part II), with the time unit of pmsampsize: the mean follow-up.

    >>> round(largest_r2_time_to_event(0.065 * 2.07), 4)
    0.5546
    """
    return 1 - math.exp(2 * events_per_person * (math.log(events_per_person) - 1))


def cox_snell_r2_of_c(c: float, prevalence: float) -> float:
    """The Cox-Snell R2 of calibrated risks with this C statistic, when log odds are normal with equal variance among events and non-events.

    ``1 - exp(-2 E[ln L - ln L0])`` a person; the expectation is integrated, where pmsampsize simulates 1,000,000 people.

    Args:
        c: in (0.5, 1).
        prevalence: in (0, 1).

    Source: Riley, Van Calster and Collins (2021).

    >>> round(cox_snell_r2_of_c(0.89, 0.174), 3)
    0.291
    """
    lp = binormal(c, prevalence)
    p = lp.risk
    gained = float(lp.weight @ (p * np.log(p) + (1 - p) * np.log1p(-p)))
    null = prevalence * math.log(prevalence) + (1 - prevalence) * math.log1p(-prevalence)
    return 1 - math.exp(-2 * (gained - null))


def n_for_shrinkage(parameters: int, r2: float, shrinkage: float) -> int:
    """Criterion 1, logistic and Cox models: ``n = P / ((S - 1) ln(1 - R2 / S))``, so that a uniform shrinkage factor of at least S is expected.

    Args:
        parameters: candidate predictor parameters P, >= 1.
        r2: expected (adjusted) Cox-Snell R2, in (0, shrinkage).
        shrinkage: S, in (0, 1), usually 0.9.

    Source: Riley et al. (2019, part II), criterion (i); Riley et al. (2020), step 3.

    >>> n_for_shrinkage(24, 0.288, 0.9)
    623
    """
    return math.ceil(parameters / ((shrinkage - 1) * math.log(1 - r2 / shrinkage)))


def n_for_optimism(parameters: int, r2: float, r2_max: float, optimism: float) -> int:
    """Criterion 2, logistic and Cox models: apparent minus adjusted Nagelkerke R2 at most ``optimism``, by the shrinkage ``R2 / (R2 + optimism R2max)``.

    Args:
        parameters: P, >= 1.
        r2: expected (adjusted) Cox-Snell R2, in (0, r2_max).
        r2_max: see `largest_r2_binary`.
        optimism: in (0, 1), usually 0.05.

    Source: Riley et al. (2019, part II), criterion (ii); Riley et al. (2020), step 4.

    >>> n_for_optimism(24, 0.288, largest_r2_binary(0.174), 0.05)
    662
    """
    return n_for_shrinkage(parameters, r2, r2 / (r2 + optimism * r2_max))


def n_for_mean_risk(prevalence: float, half_width: float) -> int:
    """Criterion 3, binary outcome: the 95 % interval of the overall risk is p -+ half_width, ``n = (1.96 / half_width)^2 p (1 - p)``.

    Args:
        prevalence: in (0, 1).
        half_width: in (0, 1), usually 0.05.

    Source: Riley et al. (2019, part II), criterion (iii); Riley et al. (2020), step 1.

    >>> n_for_mean_risk(0.174, 0.05)
    221
    """
    return math.ceil((Z / half_width) ** 2 * prevalence * (1 - prevalence))


def n_for_absolute_error(parameters: int, prevalence: float, error: float) -> int:
    """Mean absolute error of the estimated risks: ``n = exp((-0.508 + 0.259 ln p + 0.504 ln P - ln error) / 0.544)``.

    Args:
        parameters: P, 1 to 30: beyond that the formula was not fitted.
        prevalence: in (0, 0.5]: it was fitted to at most a half.
        error: mean absolute difference between estimated and true risk, in (0, 1), e.g. 0.05.

    Source: van Smeden et al. (2019); Riley et al. (2020), step 2.

    >>> n_for_absolute_error(10, 0.3, 0.05)
    461
    """
    return math.ceil(math.exp((-0.508 + 0.259 * math.log(prevalence) + 0.504 * math.log(parameters) - math.log(error)) / 0.544))


def n_for_incidence(rate_per_year: float, mean_follow_up_years: float, horizon_years: float, half_width: float) -> int:
    """Criterion 3, time to event: the upper 95 % bound of the overall risk at the horizon lies within half_width of it, under an exponential model.

    ``n = rate (1.96 / w)^2 / follow-up`` with w the distance in rate that moves ``1 - exp(-rate t)`` up by half_width.

    Args:
        rate_per_year: events a person-year, > 0.
        mean_follow_up_years: > 0.
        horizon_years: t, > 0.
        half_width: in (0, exp(-rate t)), usually 0.05.

    Source: Riley et al. (2019, part II), criterion (iii); pmsampsize prints the bound at the n of the other criteria, here it is solved for n.

    >>> n_for_incidence(0.065, 2.07, 2, 0.05)
    141
    """
    free = math.exp(-rate_per_year * horizon_years)
    distance = -math.log(free - half_width) / horizon_years - rate_per_year
    return math.ceil(rate_per_year * (Z / distance) ** 2 / mean_follow_up_years)


def linear_shrinkage(n: int, parameters: int, r2: float) -> float:
    """Expected uniform shrinkage of a linear model: ``1 + (P - 2) / (n ln(1 - R2app))`` with ``R2app = (R2 (n - P - 1) + P) / (n - 1)``.

    Args:
        n: people, >= P + 2.
        parameters: P, >= 1.
        r2: expected adjusted R2, in (0, 1).

    Source: Riley et al. (2019, part I), criterion (i).

    >>> round(linear_shrinkage(918, 25, 0.2), 3)
    0.9
    """
    apparent = (r2 * (n - parameters - 1) + parameters) / (n - 1)
    return 1 + (parameters - 2) / (n * math.log(1 - apparent))


def n_for_linear_shrinkage(parameters: int, r2: float, shrinkage: float) -> int:
    """Criterion 1, linear model: the n from which on `linear_shrinkage` >= shrinkage.

    Near P + 2 people the apparent R2 is close to 1, and the expected shrinkage first falls as n grows: an n there is none to plan with.

    Source: Riley et al. (2019, part I), criterion (i).

    >>> n_for_linear_shrinkage(25, 0.2, 0.9), n_for_linear_shrinkage(25, 0.2, 0.7)
    (918, 225)
    """

    def of(n: int) -> float:
        return linear_shrinkage(n, parameters, r2)

    least = parameters + 2
    if parameters < 3:
        return least  # no shrinkage is expected
    bottom = smallest_n(lambda n: of(n + 1) >= of(n), least)
    return least if of(bottom) >= shrinkage else smallest_n(lambda n: of(n) >= shrinkage, bottom)


def n_for_linear_optimism(parameters: int, r2: float, optimism: float) -> int:
    """Criterion 2, linear model: apparent minus adjusted R2 at most ``optimism``, ``n = 1 + P (1 - R2) / optimism``.

    Source: Riley et al. (2019, part I), criterion (ii).

    >>> n_for_linear_optimism(25, 0.2, 0.05)
    401
    """
    return math.ceil(1 + parameters * (1 - r2) / optimism)


def n_for_residual_sd(parameters: int, margin: float) -> int:
    """Criterion 3, linear model: the 95 % interval of the residual standard deviation within a factor of ``margin``.

    ``max(chi2(.975, df) / df, df / chi2(.025, df)) <= margin^2`` with df = n - P - 1.

    Args:
        parameters: P, >= 0.
        margin: > 1; usually 1.1, which gives 234 + P.

    Source: Riley et al. (2019, part I), criterion (iii); Harrell (2015), section 4.4.

    >>> n_for_residual_sd(25, 1.1)
    259
    """

    def reaches(df: int) -> bool:
        return max(float(chdtri(df, 0.025)) / df, df / float(chdtri(df, 0.975))) <= margin**2

    return smallest_n(reaches) + parameters + 1


def n_for_linear_mean(parameters: int, r2: float, mean: float, sd: float, margin: float) -> int:
    """Criterion 4, linear model: the 95 % interval of the mean outcome within a factor of ``margin``, ``t sqrt(sd^2 (1 - R2) / n) <= (margin - 1) |mean|``.

    Args:
        parameters: P, >= 1.
        r2: expected adjusted R2, in (0, 1).
        mean: of the outcome, in its unit, not 0.
        sd: of the outcome, in its unit, > 0.
        margin: > 1, usually 1.1.

    Source: Riley et al. (2019, part I), criterion (iv).

    >>> n_for_linear_mean(25, 0.2, 1.9, 0.6, 1.1)
    38
    """
    spread = sd * math.sqrt(1 - r2)
    return smallest_n(lambda n: float(stdtrit(n - parameters - 1, 0.975)) * spread / math.sqrt(n) <= (margin - 1) * abs(mean), parameters + 2)

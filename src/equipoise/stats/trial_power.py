"""Power of a trial with two parallel arms of equal size, for a proportion, a mean and a time to event.

All tests are one-sided at ``alpha``: 0.025 is the usual two-sided 0.05.
"""

from __future__ import annotations

import math

from scipy.special import nctdtr, ndtr, ndtri, stdtrit


def proportions_n(control: float, treated: float, alpha: float, power: float) -> float:
    """People an arm for two proportions: ``(z_a sqrt(2 q (1 - q)) + z_b sqrt(p0 (1 - p0) + p1 (1 - p1)))^2 / (p1 - p0)^2`` with q their mean; not rounded.

    Args:
        control: p0, in (0, 1).
        treated: p1, in (0, 1), not p0.
        alpha: one-sided, in (0, 0.5).
        power: in (alpha, 1).

    Source: Fleiss, Levin and Paik (2003), section 4.2; R's power.prop.test.

    >>> round(proportions_n(0.5, 0.75, 0.025, 0.9), 2)
    76.71
    """
    null, alternative = _proportion_spread(control, treated)
    return ((float(ndtri(1 - alpha)) * null + float(ndtri(power)) * alternative) / (treated - control)) ** 2


def proportions_power(n_per_arm: float, control: float, treated: float, alpha: float) -> float:
    """Power of the z test of two proportions with pooled variance: ``Phi((sqrt(n) |p1 - p0| - z_a sqrt(2 q (1 - q))) / sqrt(p0 (1 - p0) + p1 (1 - p1)))``.

    Args as in `proportions_n`; ``n_per_arm`` > 0.

    Source: Fleiss, Levin and Paik (2003), section 4.2; R's power.prop.test.

    >>> round(proportions_power(50, 0.5, 0.75, 0.025), 4)
    0.7402
    """
    null, alternative = _proportion_spread(control, treated)
    return float(ndtr((math.sqrt(n_per_arm) * abs(treated - control) - float(ndtri(1 - alpha)) * null) / alternative))


def _proportion_spread(control: float, treated: float) -> tuple[float, float]:
    middle = (control + treated) / 2
    return math.sqrt(2 * middle * (1 - middle)), math.sqrt(control * (1 - control) + treated * (1 - treated))


def shifted_t_power(shift: float, df: float, alpha: float) -> float:
    """P(T > t_a) for a noncentral t: the power of a t test whose estimate lies ``shift`` standard errors from 0.

    Args:
        shift: noncentrality, true difference over its true standard error, >= 0.
        df: degrees of freedom, > 0.
        alpha: one-sided, in (0, 0.5).

    Source: Johnson and Welch (1940); R's power.t.test.
    """
    return 1 - float(nctdtr(df, shift, float(stdtrit(df, 1 - alpha))))


def means_power(n_per_arm: float, difference: float, sd: float, alpha: float) -> float:
    """Power of the t test of two means: noncentral t with ``2 n - 2`` degrees of freedom and noncentrality ``|difference| / (sd sqrt(2 / n))``.

    Args:
        n_per_arm: > 1.
        difference: treated minus control, in the outcome's unit, not 0.
        sd: within an arm, in the outcome's unit, > 0.
        alpha: one-sided, in (0, 0.5).

    Source: R's power.t.test.

    >>> round(means_power(20, 1.0, 1.0, 0.025), 4)
    0.869
    """
    return shifted_t_power(abs(difference) / (sd * math.sqrt(2 / n_per_arm)), 2 * n_per_arm - 2, alpha)


def logrank_events(hazard_ratio: float, alpha: float, power: float) -> float:
    """Events in both arms for the log-rank test: ``4 (z_a + z_b)^2 / (ln HR)^2``; not rounded.

    Args:
        hazard_ratio: treated over control, > 0, not 1.
        alpha: one-sided, in (0, 0.5).
        power: in (alpha, 1).

    Source: Schoenfeld (1981).

    >>> round(logrank_events(0.7, 0.025, 0.9), 1)
    330.4
    """
    return 4 * (float(ndtri(1 - alpha)) + float(ndtri(power))) ** 2 / math.log(hazard_ratio) ** 2


def logrank_power(events: float, hazard_ratio: float, alpha: float) -> float:
    """Power of the log-rank test: ``Phi(sqrt(events) |ln HR| / 2 - z_a)``; args as in `logrank_events`.

    >>> round(logrank_power(330.4, 0.7, 0.025), 3)
    0.9
    """
    return float(ndtr(math.sqrt(events) * abs(math.log(hazard_ratio)) / 2 - float(ndtri(1 - alpha))))


def event_probability(hazard: float, lost: float, accrual_years: float, follow_up_years: float) -> float:
    """P(the event is seen) of a person who enters evenly during accrual, with constant hazards of the event and of being lost.

    ``h / s (1 - (exp(-s f) - exp(-s (a + f))) / (s a))`` with s = h + lost; without accrual ``h / s (1 - exp(-s f))``.

    Args:
        hazard: of the event a year, > 0.
        lost: hazard of being lost a year, >= 0.
        accrual_years: a, >= 0.
        follow_up_years: f, from the last entry to the end, >= 0; a + f > 0.

    Source: Lachin and Foulkes (1986).

    >>> round(event_probability(0.1, 0.0, 2.0, 3.0), 4)
    0.3286
    """
    total = hazard + lost
    first = math.exp(-total * follow_up_years)
    free = first * -math.expm1(-total * accrual_years) / (total * accrual_years) if accrual_years > 0 else first
    return hazard / total * (1 - free)

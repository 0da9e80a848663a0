"""Plans for the validation of a prediction model in new people."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from equipoise.contract.errors import UserError
from equipoise.plan.result import Curve, Plan, criteria, criteria_table
from equipoise.stats import validation_size as size
from equipoise.stats.log_odds import LogOdds, accuracy_at, binormal, normal

_BINARY = "Riley RD, Debray TPA, Collins GS, et al. Minimum sample size for external validation with a binary outcome. Stat Med 2021."
_CONTINUOUS = "Archer L, Snell KIE, Ensor J, et al. Minimum sample size for external validation with a continuous outcome. Stat Med 2021."
_TIME = "Riley RD, Collins GS, Ensor J, et al. Minimum sample size for external validation with a time-to-event outcome. Stat Med 2022."
_CALIBRATED = "The model is well calibrated in these people, and they are independent (one row a person, no clusters)."
Needs = Mapping[str, tuple[int, str]]


def binary(
    *,
    prevalence: float,
    c_statistic: float,
    lp_mean: float | None,
    lp_sd: float | None,
    threshold: float | None,
    oe_width: float,
    slope_width: float,
    c_width: float,
    net_benefit_width: float,
) -> Plan:
    """Observed over expected, slope, C statistic and, with a threshold, net benefit."""
    if (lp_mean is None) != (lp_sd is None):
        raise UserError("lp_mean and lp_sd go together", expected="both, or neither", mend="give the other one too")

    def distribution(p: float) -> LogOdds:
        return binormal(c_statistic, p) if lp_mean is None or lp_sd is None else normal(lp_mean, lp_sd)

    def needs(p: float) -> dict[str, tuple[int, str]]:
        lp = distribution(p)
        found = {
            "observed / expected": (size.n_for_observed_expected(p, oe_width), f"interval of O/E {oe_width:g} wide"),
            "calibration slope": (size.n_for_slope(lp, slope_width), f"interval of the slope {slope_width:g} wide"),
            "C statistic": (size.n_for_c_statistic(c_statistic, p, c_width), f"interval of C {c_width:g} wide"),
        }
        if threshold is not None:
            sensitivity, specificity = accuracy_at(lp, threshold)
            n = size.n_for_net_benefit(sensitivity, specificity, p, threshold, net_benefit_width)
            found["net benefit"] = (n, f"interval of the standardised net benefit at {threshold:g} {net_benefit_width:g} wide")
        return found

    lp = distribution(prevalence)
    assumes = [
        _CALIBRATED,
        "Log odds are normal with the given mean and spread." if lp_sd else "Log odds are normal, with equal variance, among events and among non-events.",
    ]
    if abs(lp.prevalence / prevalence - 1) > 0.1:
        assumes.append(f"Calibrated risks with this lp_mean and lp_sd have a prevalence of {lp.prevalence:.3g}, not {prevalence:g}: one is wrong.")
    extra: dict[str, float] = {"prevalence_of_log_odds": lp.prevalence}
    if threshold is not None:
        extra["sensitivity"], extra["specificity"] = accuracy_at(lp, threshold)
        assumes.append(f"At a threshold of {threshold:g}: sensitivity {extra['sensitivity']:.3f}, specificity {extra['specificity']:.3f}.")
    across = (prevalence * np.linspace(0.5, min(2.0, 0.95 / prevalence), 13)).tolist()
    return _plan(
        "a model of a binary outcome",
        needs,
        prevalence,
        "Prevalence",
        across,
        lambda n: f" ({math.ceil(n * prevalence):,} with the outcome)",
        extra,
        assumes,
        [_BINARY],
    )


def continuous(*, r2: float, sd: float, mean_width: float, r2_width: float, slope_width: float, margin: float) -> Plan:
    """R2, mean residual, slope and residual standard deviation."""

    def needs(share: float) -> dict[str, tuple[int, str]]:
        return {
            "R2": (size.n_for_r2(share, r2_width), f"interval of R2 {r2_width:g} wide"),
            "mean residual": (size.n_for_mean_residual(share, sd, mean_width), f"interval of the mean residual {mean_width:g} wide"),
            "calibration slope": (size.n_for_linear_slope(share, slope_width), f"interval of the slope {slope_width:g} wide"),
            "residual sd": (size.n_for_calibration_residuals(margin), f"residual standard deviation within a factor of {margin:g}"),
        }

    across = np.linspace(max(0.05, r2 - 0.2), min(0.95, r2 + 0.2), 13).tolist()
    return _plan("a model of a continuous outcome", needs, r2, "R2", across, lambda n: "", {}, [_CALIBRATED], [_CONTINUOUS])


def time_to_event(*, risk: float, horizon_years: float, lp_sd: float, lost_per_year: float, oe_width: float, slope_width: float) -> Plan:
    """Observed over expected risk at a horizon, and the slope of a Cox model."""
    lost = -math.log1p(-lost_per_year)

    def needs(share: float) -> dict[str, tuple[int, str]]:
        return {
            "observed / expected": (
                size.n_for_observed_expected_at(share, horizon_years, lost, lp_sd, oe_width),
                f"interval of O/E at the horizon {oe_width:g} wide",
            ),
            "calibration slope": (size.n_for_cox_slope(share, horizon_years, lost, lp_sd, slope_width), f"interval of the Cox slope {slope_width:g} wide"),
        }

    assumes = [
        _CALIBRATED,
        "Hazards are proportional with a constant baseline and normal log hazards; follow-up ends at the horizon; earlier censoring is exponential.",
        "Riley et al. (2022) simulate; this is the asymptotic variance of the same two measures. Discrimination has no closed form: simulate it.",
    ]
    across = (risk * np.linspace(0.5, min(2.0, 0.95 / risk), 13)).tolist()
    return _plan("a model of a time to event", needs, risk, "Risk by the horizon", across, lambda n: "", {}, assumes, [_TIME])


def _plan(
    what: str,
    needs: Callable[[float], Needs],
    at: float,
    axis: str,
    across: list[float],
    aside: Callable[[int], str],
    extra: Mapping[str, float],
    assumes: list[str],
    sources: list[str],
) -> Plan:
    found = needs(at)
    binding, n = criteria(found)
    lines = {name: (across, [float(needs(x)[name][0]) for x in across]) for name in found}
    return Plan(
        title=f"Sample size to validate {what}",
        answer=f"{n:,} people{aside(n)}; the {binding} binds.",
        tables=[criteria_table(found)],
        curve=Curve(f"People that each measure needs, by {axis[0].lower()}{axis[1:]}. Dotted: as planned.", axis, "People", lines, at),
        numbers={"n": n, "binding": binding, "criteria": {name: need for name, (need, _) in found.items()}, **extra},
        assumes=assumes,
        sources=sources,
    )

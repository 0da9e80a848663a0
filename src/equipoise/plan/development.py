"""Plans for the development of a prediction model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from equipoise.contract.errors import UserError
from equipoise.plan.result import Curve, Plan, criteria, criteria_table
from equipoise.stats import sample_size as size

_BMJ = "Riley RD, Ensor J, Snell KIE, et al. Calculating the sample size required for developing a clinical prediction model. BMJ 2020;368:m441."
_PART_1 = "Riley RD, Snell KIE, Ensor J, et al. Minimum sample size for developing a prediction model: part I, continuous outcomes. Stat Med 2019."
_PART_2 = "Riley RD, Snell KIE, Ensor J, et al. Minimum sample size for developing a prediction model: part II, binary and time-to-event. Stat Med 2019."
_NOTE = "Riley RD, Van Calster B, Collins GS. A note on estimating the Cox-Snell R2 from a reported C statistic. Stat Med 2021."
_SMEDEN = "van Smeden M, Moons KGM, de Groot JAH, et al. Sample size for logistic prediction models: beyond events per variable. Stat Methods Med Res 2019."

_FOR_REGRESSION = (
    "The criteria are for regression with the stated number of parameters, fitted once. "
    "A neural network or a tree ensemble has no such count and usually needs more people: read the answer as a lower bound."
)
Needs = Mapping[str, tuple[int, str]]


def binary(
    *,
    parameters: int,
    prevalence: float,
    cox_snell_r2: float | None,
    c_statistic: float | None,
    shrinkage: float,
    optimism: float,
    half_width: float,
    absolute_error: float | None,
) -> Plan:
    """Riley's three criteria for a binary outcome, and van Smeden's where it is asked for."""
    if (cox_snell_r2 is None) == (c_statistic is None):
        raise UserError("A plan of a binary outcome needs cox_snell_r2 or c_statistic", expected="one of them", mend="give one, the other stays null")
    r2 = cox_snell_r2 if cox_snell_r2 is not None else size.cox_snell_r2_of_c(float(c_statistic or 0), prevalence)
    largest = size.largest_r2_binary(prevalence)
    _possible(r2, largest, shrinkage)
    if absolute_error is not None and (parameters > 30 or prevalence > 0.5):
        raise UserError("absolute_error was derived for at most 30 parameters and a prevalence of at most 0.5", mend="leave absolute_error at null")

    def needs(p: int) -> dict[str, tuple[int, str]]:
        found = {
            "1 shrinkage": (size.n_for_shrinkage(p, r2, shrinkage), f"expected shrinkage factor of at least {shrinkage:g}"),
            "2 optimism": (size.n_for_optimism(p, r2, largest, optimism), f"apparent minus adjusted Nagelkerke R2 of at most {optimism:g}"),
            "3 overall risk": (size.n_for_mean_risk(prevalence, half_width), f"overall risk within {half_width:g} (95 % interval)"),
        }
        if absolute_error is not None:
            found["mean absolute error"] = (size.n_for_absolute_error(p, prevalence, absolute_error), f"mean absolute error of the risks of {absolute_error:g}")
        return found

    sources = [_BMJ, _PART_2, *([_NOTE] if c_statistic is not None else []), *([_SMEDEN] if absolute_error is not None else [])]
    assumes = [f"Cox-Snell R2 {r2:.4g}, of at most {largest:.4g} at this prevalence (Nagelkerke R2 {r2 / largest:.4g})."]
    if c_statistic is not None:
        assumes.append("R2 was derived from the C statistic, with log odds normal among events and among non-events.")
    extra = {"cox_snell_r2": r2, "largest_cox_snell_r2": largest, "nagelkerke_r2": r2 / largest}
    return _plan("a model of a binary outcome", needs, parameters, lambda n: f" ({math.ceil(n * prevalence):,} with the outcome)", extra, assumes, sources)


def continuous(*, parameters: int, r2: float, mean: float, sd: float, shrinkage: float, optimism: float, margin: float) -> Plan:
    """Riley's four criteria for a continuous outcome."""

    def needs(p: int) -> dict[str, tuple[int, str]]:
        return {
            "1 shrinkage": (size.n_for_linear_shrinkage(p, r2, shrinkage), f"expected shrinkage factor of at least {shrinkage:g}"),
            "2 optimism": (size.n_for_linear_optimism(p, r2, optimism), f"apparent minus adjusted R2 of at most {optimism:g}"),
            "3 residual sd": (size.n_for_residual_sd(p, margin), f"residual standard deviation within a factor of {margin:g} (95 % interval)"),
            "4 mean": (size.n_for_linear_mean(p, r2, mean, sd, margin), f"mean outcome within a factor of {margin:g} (95 % interval)"),
        }

    return _plan("a model of a continuous outcome", needs, parameters, lambda n: "", {}, [], [_BMJ, _PART_1])


def time_to_event(
    *,
    parameters: int,
    cox_snell_r2: float,
    rate_per_year: float,
    mean_follow_up_years: float,
    horizon_years: float,
    shrinkage: float,
    optimism: float,
    half_width: float,
) -> Plan:
    """Riley's three criteria for a time to event."""
    largest = size.largest_r2_time_to_event(rate_per_year * mean_follow_up_years)
    _possible(cox_snell_r2, largest, shrinkage)
    free = math.exp(-rate_per_year * horizon_years)
    if half_width >= free:
        raise UserError("half_width reaches beyond a risk of 1", expected=f"below {free:.3g}, the share without event at the horizon", found=f"{half_width:g}")

    def needs(p: int) -> dict[str, tuple[int, str]]:
        overall = size.n_for_incidence(rate_per_year, mean_follow_up_years, horizon_years, half_width)
        return {
            "1 shrinkage": (size.n_for_shrinkage(p, cox_snell_r2, shrinkage), f"expected shrinkage factor of at least {shrinkage:g}"),
            "2 optimism": (size.n_for_optimism(p, cox_snell_r2, largest, optimism), f"apparent minus adjusted Nagelkerke R2 of at most {optimism:g}"),
            "3 overall risk": (overall, f"upper bound of the risk at {horizon_years:g} years within {half_width:g} (95 % interval)"),
        }

    extra = {"largest_cox_snell_r2": largest, "nagelkerke_r2": cox_snell_r2 / largest}
    assumes = [f"Largest possible Cox-Snell R2 {largest:.4g} (Nagelkerke R2 {cox_snell_r2 / largest:.4g}); constant hazard for the overall risk."]
    events = rate_per_year * mean_follow_up_years
    return _plan("a model of a time to event", needs, parameters, lambda n: f" ({math.ceil(n * events):,} events)", extra, assumes, [_BMJ, _PART_2])


def _possible(r2: float, largest: float, shrinkage: float) -> None:
    if r2 >= min(largest, shrinkage):
        limit = f"below {min(largest, shrinkage):.4g}, the lesser of the shrinkage factor and the largest R2 that these events allow"
        raise UserError("cox_snell_r2 is not possible", expected=limit, found=f"{r2:.4g}", mend="Cox-Snell R2 is no Nagelkerke R2: see which one was reported")


def _plan(
    what: str, needs: Callable[[int], Needs], parameters: int, aside: Callable[[int], str], extra: Mapping[str, float], assumes: list[str], sources: list[str]
) -> Plan:
    found = needs(parameters)
    binding, n = criteria(found)
    counts = sorted({max(1, round(parameters * share / 10)) for share in range(2, 21)})
    lines = {
        name: ([float(p) for p in counts], [float(needs(p)[name][0]) for p in counts]) for name in found if name != "mean absolute error" or max(counts) <= 30
    }
    return Plan(
        title=f"Sample size to develop {what}",
        answer=f"{n:,} people{aside(n)} for {parameters} parameters; criterion {binding} binds.",
        tables=[criteria_table(found)],
        curve=Curve(
            "People that each criterion needs, by the number of candidate parameters. Dotted: as planned.", "Candidate parameters", "People", lines, parameters
        ),
        numbers={"n": n, "binding": binding, "criteria": {name: need for name, (need, _) in found.items()}, **extra},
        assumes=[*assumes, _FOR_REGRESSION],
        sources=sources,
    )

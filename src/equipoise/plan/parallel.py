"""Plans for trials that randomise people to two parallel arms."""

from __future__ import annotations

import math

import numpy as np

from equipoise.contract.errors import UserError
from equipoise.plan.endpoint import Endpoint, endpoint_of
from equipoise.plan.result import Curve, Plan, Table, Trial
from equipoise.stats import trial_power as power_of
from equipoise.stats.smallest import smallest_n

EFFECTS = {"planned effect": 1.0, "80 % of it": 0.8, "60 % of it": 0.6}
"""The effects for which a power curve is drawn."""

NO_INTERIM = "The sample size allows for no interim analysis of the primary outcome."
INDEPENDENT = (
    "People are independent. An AI-supported arm often acts on clinicians, who then treat both arms: "
    "where that can happen, randomise clusters (equipoise plan cluster, or stepped_wedge)."
)
_FLEISS = "Fleiss JL, Levin B, Paik MC. Statistical Methods for Rates and Proportions, 3rd ed., 2003 (R: power.prop.test)."
_T = "Noncentral t distribution (R: power.t.test)."
_SCHOENFELD = "Schoenfeld D. The asymptotic properties of nonparametric tests for comparing survival distributions. Biometrika 1981."
_LACHIN = "Lachin JM, Foulkes MA. Sample size and power for survival with nonuniform entry, losses to follow-up and more. Biometrics 1986."


def recruited(n: int, lost: float) -> int:
    """People to recruit so that n have an outcome."""
    return math.ceil(round(n / (1 - lost), 9))


def lost_sentence(lost: float) -> str:
    """What the plan allows for people without an outcome."""
    return f"The number recruited allows for {100 * lost:g} % without an outcome." if lost else "The sample size allows for nobody without an outcome."


def power_above(alpha: float, power: float) -> None:
    """Raises UserError for a power that no trial is needed for."""
    if power <= alpha:
        raise UserError("power is not above alpha", expected=f"above {alpha:g}", found=f"{power:g}")


def arms_power(end: Endpoint, n: float, alpha: float, share: float = 1.0) -> float:
    """Power of n people an arm, were the effect this share of the planned one."""
    if end.share:
        return power_of.proportions_power(n, end.control, end.control + share * end.difference, alpha)
    return power_of.means_power(n, share * end.difference, end.sd, alpha)


def parallel(*, control: float, treated: float, sd: float | None, n_per_arm: int | None, alpha: float, power: float, lost: float) -> Plan:
    """Two means (t test) or two shares (z test with pooled variance)."""
    power_above(alpha, power)
    end = endpoint_of(control, treated, sd)
    n = n_per_arm or smallest_n(lambda k: arms_power(end, k, alpha) >= power, 2)
    reached, entered = arms_power(end, n, alpha), recruited(n, lost)
    test = "z test of two proportions with pooled variance" if end.share else "t test of two means with equal variances"
    across = sorted({max(2, round(n * x)) for x in np.linspace(0.2, 2.0, 25)})
    lines = {name: ([float(k) for k in across], [arms_power(end, k, alpha, x) for k in across]) for name, x in EFFECTS.items()}
    given = [
        ("Difference to be shown", f"{end.difference:+.6g}"),
        ("People analysed an arm", f"{n:,}"),
        ("People recruited, both arms", f"{2 * entered:,}"),
        ("Power", f"{reached:.4f}"),
    ]
    answer = f"{2 * entered:,} people ({n:,} analysed an arm) give a power of {100 * reached:.1f} % at a one-sided error of {alpha:g}."
    return Plan(
        title="A trial of two parallel arms",
        answer=answer,
        tables=[Table("The plan.", ("Quantity", "Value"), given)],
        curve=Curve(
            "Power by the number analysed, for the planned and smaller effects. Dotted: as planned.",
            "People analysed an arm",
            "Power",
            lines,
            n,
            shares=True,
        ),
        numbers={"n_per_arm": n, "recruited": 2 * entered, "power": reached, "difference": end.difference, "sd": end.sd},
        assumes=[INDEPENDENT, lost_sentence(lost)],
        sources=[_FLEISS if end.share else _T],
        trial=Trial(
            design="Parallel-group trial of superiority, two arms, people randomised 1:1 to an AI-supported arm or control.",
            outcome=f"Planned for {end.sentence()}.",
            allocation="1:1, people.",
            unit="person",
            analysis=f"{test[0].upper()}{test[1:]}, one-sided error {alpha:g}.",
            interim=NO_INTERIM,
            lost=lost_sentence(lost),
        ),
    )


def time_to_event(
    *,
    control_risk: float,
    horizon_years: float,
    hazard_ratio: float,
    accrual_years: float,
    follow_up_years: float,
    lost_per_year: float,
    alpha: float,
    power: float,
) -> Plan:
    """Log-rank test with constant hazards."""
    power_above(alpha, power)
    if hazard_ratio == 1:
        raise UserError("hazard_ratio is 1", expected="the ratio that the trial is to show")
    hazard, lost = -math.log1p(-control_risk) / horizon_years, -math.log1p(-lost_per_year)
    events = power_of.logrank_events(hazard_ratio, alpha, power)
    seen = [power_of.event_probability(h, lost, accrual_years, follow_up_years) for h in (hazard, hazard * hazard_ratio)]
    n = math.ceil(events / sum(seen))
    reached = power_of.logrank_power(n * sum(seen), hazard_ratio, alpha)
    across = np.linspace(0.2, 2.0, 25) * n
    lines = {}
    for name, x in EFFECTS.items():
        ratio = hazard_ratio**x
        share = seen[0] + power_of.event_probability(hazard * ratio, lost, accrual_years, follow_up_years)
        lines[name] = (across.tolist(), [power_of.logrank_power(k * share, ratio, alpha) for k in across])
    given = [
        ("Events needed", f"{math.ceil(events):,}"),
        ("Share with a seen event, control", f"{seen[0]:.4f}"),
        ("Share with a seen event, AI-supported", f"{seen[1]:.4f}"),
        ("People recruited, both arms", f"{2 * n:,}"),
        ("Duration", f"{accrual_years + follow_up_years:g} years"),
        ("Power", f"{reached:.4f}"),
    ]
    return Plan(
        title="A trial of two parallel arms with a time to event",
        answer=f"{2 * n:,} people and {math.ceil(events):,} events give a power of {100 * reached:.1f} % at a one-sided error of {alpha:g}.",
        tables=[Table("The plan.", ("Quantity", "Value"), given)],
        curve=Curve(
            "Power by the number recruited; effects are shares of the log hazard ratio. Dotted: as planned.",
            "People an arm",
            "Power",
            lines,
            n,
            shares=True,
        ),
        numbers={"events": events, "n_per_arm": n, "recruited": 2 * n, "power": reached, "event_probability": {"control": seen[0], "treated": seen[1]}},
        assumes=[
            INDEPENDENT,
            "Hazards are constant and proportional; entry is even; losses are independent, with one rate in both arms.",
        ],
        sources=[_SCHOENFELD, _LACHIN],
        trial=Trial(
            design="Parallel-group trial of superiority, two arms, people randomised 1:1 to an AI-supported arm or control.",
            outcome=f"Time to an event; planned for a risk of {control_risk:g} by {horizon_years:g} years under control, hazard ratio {hazard_ratio:g}.",
            allocation="1:1, people.",
            unit="person",
            analysis=f"Log-rank test, one-sided error {alpha:g}; the analysis comes when {math.ceil(events):,} events were seen.",
            interim=NO_INTERIM,
            lost=f"The sample size allows for {100 * lost_per_year:g} % lost to follow-up a year.",
        ),
    )

"""Plans for trials that randomise clusters: parallel and stepped wedge."""

from __future__ import annotations

import numpy as np

from equipoise.contract.errors import UserError
from equipoise.plan.endpoint import Endpoint, endpoint_of
from equipoise.plan.parallel import EFFECTS, NO_INTERIM, power_above
from equipoise.plan.result import Curve, Plan, Table, Trial
from equipoise.stats import cluster_power as power_of
from equipoise.stats.smallest import smallest_n

_DONNER = "Donner A, Klar N. Design and Analysis of Cluster Randomization Trials in Health Research, 2000."
_ELDRIDGE = "Eldridge SM, Ashby D, Kerry S. Sample size for cluster randomized trials: effect of variation of cluster size. Int J Epidemiol 2006."
_HUSSEY = "Hussey MA, Hughes JP. Design and analysis of stepped wedge cluster randomized trials. Contemp Clin Trials 2007."
_HOOPER = "Hooper R, Teerenstra S, de Hoop E, Eldridge S. Sample size for stepped wedge and other longitudinal cluster trials. Stat Med 2016."
_DRIFTING = 0.8  # a cluster autocorrelation that is printed beside the asked one
_NOBODY = "The sizes are of people analysed: nobody without an outcome is allowed for."
_SHARES = "Shares are treated as means with the arms' average variance p (1 - p)."


def parallel(
    *, control: float, treated: float, sd: float | None, size: float, icc: float, cv: float, clusters_per_arm: int | None, alpha: float, power: float
) -> Plan:
    """Two arms of clusters, t test with two degrees of freedom less than clusters."""
    power_above(alpha, power)
    end = endpoint_of(control, treated, sd)

    def reached(k: int, share: float = 1.0) -> float:
        return power_of.cluster_power(k, size, share * end.difference, end.sd, icc, cv, alpha)

    k = clusters_per_arm or smallest_n(lambda k: reached(k) >= power, 2)
    effect = power_of.design_effect(size, icc, cv)
    across = sorted({max(2, round(k * x)) for x in np.linspace(0.2, 2.0, 25)})
    lines = {name: ([float(c) for c in across], [reached(c, share) for c in across]) for name, share in EFFECTS.items()}
    people = round(2 * k * size)
    given = [
        ("Difference to be shown", f"{end.difference:+.6g}"),
        ("Design effect", f"{effect:.3f}"),
        ("Clusters an arm", f"{k:,}"),
        ("People analysed, both arms", f"{people:,}"),
        ("Power", f"{reached(k):.4f}"),
    ]
    assumes = ["Clusters are independent.", _NOBODY, *([_SHARES] if end.share else [])]
    if 2 * k < 12:
        assumes.append(f"{2 * k} clusters are few: a chance imbalance between arms is likely, and the trial itself cannot tell the icc.")
    return Plan(
        title="A trial of two parallel arms of clusters",
        answer=f"{2 * k:,} clusters ({people:,} people) give a power of {100 * reached(k):.1f} % at a one-sided error of {alpha:g}.",
        tables=[Table("The plan.", ("Quantity", "Value"), given)],
        curve=Curve(
            "Power by the number of clusters, for the planned and smaller effects. Dotted: as planned.",
            "Clusters an arm",
            "Power",
            lines,
            k,
            shares=True,
        ),
        numbers={"clusters_per_arm": k, "people": people, "design_effect": effect, "power": reached(k), "difference": end.difference, "sd": end.sd},
        assumes=assumes,
        sources=[_DONNER, _ELDRIDGE],
        trial=Trial(
            design="Parallel-group trial of superiority, two arms, clusters randomised 1:1 to an AI-supported arm or control.",
            outcome=f"Planned for {end.sentence()}.",
            allocation="1:1, clusters.",
            unit="cluster",
            analysis=f"Analysis that accounts for clusters (mixed model, or t test of cluster means, {2 * k - 2} df), one-sided error {alpha:g}.",
            interim=NO_INTERIM,
            lost=_NOBODY,
        ),
    )


def stepped_wedge(
    *,
    control: float,
    treated: float,
    sd: float | None,
    steps: int,
    size: int,
    icc: float,
    cac: float,
    clusters: int | None,
    alpha: float,
    power: float,
) -> Plan:
    """Linear mixed model with period effects; the variance in closed form and by generalised least squares."""
    power_above(alpha, power)
    end = endpoint_of(control, treated, sd)
    if clusters is not None and clusters % steps:
        raise UserError("clusters is no multiple of steps", expected=f"a multiple of {steps}", found=str(clusters))
    within, between = power_of.cell_variances(size, end.sd, icc, cac)

    def reached(k: int, share: float = 1.0) -> float:
        variance = power_of.hussey_hughes_variance(power_of.stepped_wedge(k * steps, steps), within, between)
        return power_of.normal_power(share * end.difference, variance, alpha)

    k = clusters // steps if clusters is not None else smallest_n(lambda k: reached(k) >= power)
    design = power_of.stepped_wedge(k * steps, steps)
    closed = power_of.hussey_hughes_variance(design, within, between)
    elsewhere = power_of.hussey_hughes_variance(design, *power_of.cell_variances(size, end.sd, icc, _DRIFTING))
    drifting = power_of.normal_power(end.difference, elsewhere, alpha)
    squares = power_of.gls_variance(design, within * np.eye(steps + 1) + between)
    across = sorted({max(1, round(k * x)) for x in np.linspace(0.2, 2.0, 25)})
    lines = {name: ([float(c * steps) for c in across], [reached(c, share) for c in across]) for name, share in EFFECTS.items()}
    people = k * steps * (steps + 1) * size
    given = [
        ("Difference to be shown", f"{end.difference:+.6g}"),
        ("Clusters", f"{k * steps:,}, {k} at each of {steps} steps"),
        ("Periods", f"{steps + 1}"),
        ("People analysed", f"{people:,}"),
        ("Standard error of the effect, closed form", f"{closed**0.5:.6g}"),
        ("Standard error of the effect, least squares", f"{squares**0.5:.6g}"),
        ("Power", f"{reached(k):.4f}"),
        (f"Power at a cluster autocorrelation of {_DRIFTING:g}", f"{drifting:.4f}"),
    ]
    assumes = [
        "Others are analysed in each period; the effect is whole from the first period after crossing on; effect and time act alike on all clusters.",
        f"Cluster autocorrelation {cac:g}." + (" Real clusters drift, which lowers it and, with many people a cell, the power." if cac == 1 else ""),
        _NOBODY,
        *([_SHARES] if end.share else []),
    ]
    if k * steps < 12:
        assumes.append(f"{k * steps} clusters are few: the normal test is too liberal; with a small-sample correction the power is lower.")
    return Plan(
        title="A stepped-wedge trial",
        answer=f"{k * steps:,} clusters in {steps + 1} periods ({people:,} people) give a power of {100 * reached(k):.1f} % at a one-sided error of {alpha:g}.",
        tables=[Table("The plan.", ("Quantity", "Value"), given), _schedule(steps)],
        curve=Curve(
            "Power by the number of clusters, for the planned and smaller effects. Dotted: as planned.",
            "Clusters",
            "Power",
            lines,
            k * steps,
            shares=True,
        ),
        numbers={
            "clusters": k * steps,
            "periods": steps + 1,
            "people": people,
            "power": reached(k),
            "power_drifting": drifting,
            "variance": closed,
            "variance_least_squares": squares,
        },
        assumes=assumes,
        sources=[_HUSSEY, _HOOPER],
        trial=_trial(end, steps, alpha),
    )


def _schedule(steps: int) -> Table:
    rows = [(f"{group + 1}", *("AI" if period > group else "control" for period in range(steps + 1))) for group in range(steps)]
    return Table("What each group of clusters does in each period.", ("Group", *(f"{p + 1}" for p in range(steps + 1))), rows)


def _trial(end: Endpoint, steps: int, alpha: float) -> Trial:
    return Trial(
        design=f"Stepped-wedge trial of superiority: all clusters begin as control and cross to the AI-supported arm in {steps} steps, cross-sectional.",
        outcome=f"Planned for {end.sentence()}.",
        allocation=f"Clusters are randomised to one of {steps} steps, an equal number to each.",
        unit="cluster",
        analysis=f"Linear mixed model with fixed period effects and random clusters, Wald test of the effect, one-sided error {alpha:g}.",
        interim=NO_INTERIM,
        lost=_NOBODY,
    )

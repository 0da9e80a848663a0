"""Plans for trials with interim looks that may stop them for efficacy."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri

from equipoise.plan.endpoint import Endpoint, endpoint_of
from equipoise.plan.parallel import INDEPENDENT, lost_sentence, power_above, recruited
from equipoise.plan.result import Curve, Plan, Table, Trial
from equipoise.stats.group_sequential import Design, crossing, design
from equipoise.stats.trial_power import proportions_n

_JENNISON = "Jennison C, Turnbull BW. Group Sequential Methods with Applications to Clinical Trials, 2000."
_STOPPING = "The trial may stop for efficacy where Z is beyond the bound; no stopping for futility is planned."
_LAN = "Lan KKG, DeMets DL. Discrete sequential boundaries for clinical trials. Biometrika 1983."
_OF_BOUNDARY = {
    "obrien_fleming_spending": (
        "alpha spending of O'Brien-Fleming type",
        "Lan KKG, DeMets DL. Discrete sequential boundaries for clinical trials. Biometrika 1983.",
    ),
    "pocock_spending": ("alpha spending of Pocock type", _LAN),
    "obrien_fleming": ("O'Brien and Fleming's bounds", "O'Brien PC, Fleming TR. A multiple testing procedure for clinical trials. Biometrics 1979."),
    "pocock": ("Pocock's bounds", "Pocock SJ. Group sequential methods in the design and analysis of clinical trials. Biometrika 1977."),
}


def group_sequential(
    *, control: float, treated: float, sd: float | None, looks: int, information: list[float] | None, boundary: str, alpha: float, power: float, lost: float
) -> Plan:
    """Bounds, stopping probabilities, and the maximal and expected number of people."""
    power_above(alpha, power)
    end = endpoint_of(control, treated, sd)
    at = np.array(information if information is not None else np.arange(1, looks + 1) / looks)
    made = design(at, alpha, power, boundary)
    fixed = fixed_n(end, alpha, power)
    n = [math.ceil(round(share * fixed * made.inflation, 9)) for share in at]
    null = np.diff(made.spent, prepend=0.0)
    most = recruited(n[-1], lost)
    head = ("Look", "Share", "People an arm", "Bound of Z", "One-sided p", "Error spent", "Stops, planned effect", "Stops, no effect")
    rows = [
        (
            str(i + 1),
            f"{at[i]:.4g}",
            f"{n[i]:,}",
            _bound(made.bounds[i]),
            f"{ndtr(-made.bounds[i]):.6f}",
            f"{made.spent[i]:.6f}",
            f"{made.stops[i]:.4f}",
            f"{null[i]:.6f}",
        )
        for i in range(at.size)
    ]
    sizes = [
        ("Without looks", f"{fixed:.1f}"),
        ("Inflation factor", f"{made.inflation:.4f}"),
        ("At most", f"{n[-1]:,}"),
        ("Expected, planned effect", f"{made.expected * fixed:.1f}"),
        ("Expected, half of it", f"{made.expected_half * fixed:.1f}"),
        ("Expected, no effect", f"{made.expected_null * fixed:.1f}"),
    ]
    named, source = _OF_BOUNDARY[boundary]
    places = "; ".join(f"look {i + 1} at {n[i]:,} people an arm, bound {_bound(made.bounds[i])}" for i in range(at.size))
    return Plan(
        title="A group-sequential trial of two parallel arms",
        answer=(
            f"At most {2 * most:,} people ({n[-1]:,} analysed an arm); {made.expected * fixed:,.0f} an arm are expected under the planned effect. "
            f"Power {100 * power:g} % at a one-sided error of {alpha:g}."
        ),
        tables=[Table(f"Looks and bounds, {named}.", head, rows), Table("People analysed an arm.", ("Quantity", "Value"), sizes)],
        curve=_curve(made),
        numbers={
            "information": at,
            "bounds": made.bounds,
            "spent": made.spent,
            "stops_planned": made.stops,
            "stops_null": null,
            "n_per_arm": n,
            "recruited": 2 * most,
            "fixed_n_per_arm": fixed,
            "inflation": made.inflation,
            "expected_n_per_arm": {"planned": made.expected * fixed, "half": made.expected_half * fixed, "null": made.expected_null * fixed},
        },
        assumes=[
            INDEPENDENT,
            "The test statistic is normal with known variance. There is no boundary for futility. "
            "With alpha spending the looks may come at other times than planned; the bounds are then computed anew.",
            "The same inflation factor holds for the events of a log-rank test.",
            lost_sentence(lost),
        ],
        sources=[_JENNISON, source],
        trial=Trial(
            design="Group-sequential, parallel-group trial of superiority, two arms, people randomised 1:1 to an AI-supported arm or control.",
            outcome=f"Planned for {end.sentence()}.",
            allocation="1:1, people.",
            unit="person",
            analysis=f"Z test of two {'proportions' if end.share else 'means'} at each look, one-sided error {alpha:g} over all looks.",
            interim=f"{at.size} looks with {named}, one-sided error {alpha:g}: {places}. {_STOPPING}",
            lost=lost_sentence(lost),
        ),
    )


def fixed_n(end: Endpoint, alpha: float, power: float) -> float:
    """People an arm of the same trial without looks, by the normal test; not rounded."""
    if end.share:
        return proportions_n(end.control, end.treated, alpha, power)
    return float(2 * (end.sd * (ndtri(1 - alpha) + ndtri(power)) / end.difference) ** 2)


def _bound(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else "none"


def _curve(made: Design) -> Curve:
    shares = np.linspace(0.0, 1.5, 31)
    stops = np.array([crossing(made.information, made.bounds, s * made.drift) for s in shares])
    expected = 1 - stops[:, :-1] @ (1 - made.information[:-1])
    lines = {"power": (shares.tolist(), stops.sum(1).tolist()), "expected size over the most": (shares.tolist(), expected.tolist())}
    caption = "Power and expected size (over the greatest), by the true effect as a share of the planned one. Dotted: the planned effect."
    return Curve(caption, "True effect over planned effect", "Share", lines, 1.0, shares=True)

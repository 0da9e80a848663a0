"""Secondary claims: further endpoints for which a gain was declared, adjusted for their number, behind the gate of the primary one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from equipoise.contract.errors import UserError
from equipoise.contract.tables import SCENARIO_ALL
from equipoise.stats.estimate import Estimate
from equipoise.stats.multiplicity import benjamini_hochberg, holm
from equipoise.trial.compare import number, one_sided, oriented
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.judged import Arm, Judged

ADJUSTMENTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"holm": holm, "benjamini_hochberg": benjamini_hochberg, "none": lambda p: p}


def secondary_endpoints(names: Sequence[str], endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """The endpoints with these names (without horizon: at each).

    Raises:
        UserError: a name is not reported, or has no better side, so that no gain can be claimed for it.
    """
    for name in names:
        found = [e for e in endpoints if e.name.partition("@")[0] == name]
        if not found or not all(e.sign for e in found):
            raise UserError(
                f"The protocol declares a secondary claim for {name!r}",
                expected="one of " + ", ".join(dict.fromkeys(e.name.partition("@")[0] for e in endpoints if e.sign)),
                found="an endpoint that is not reported" if not found else "an endpoint of which neither more nor less is better",
                mend="correct trial.secondary",
            )
    return [e for e in endpoints if e.name.partition("@")[0] in names]


def secondary_claims(judged: Judged, own: Arm, against: Sequence[str], gate_open: bool) -> dict[str, Any]:
    """Whether each declared secondary endpoint shows a gain over every required comparator.

    One endpoint's p is the largest over the comparators, one-sided (an intersection-union test); the endpoints' p are adjusted for their number
    (protocol: Holm keeps the chance of any false claim, Benjamini-Hochberg the share of false claims). A claim needs the primary endpoint's gain
    first (a gate), so the whole family keeps the rule's error.

    Args:
        judged: estimates.
        own: the model on trial.
        against: comparators over which the claim is made.
        gate_open: whether the verdict is a demonstrated gain.

    Returns:
        endpoint -> {"p", "p_adjusted", "shown", "against" (the comparator with the largest p), "sentence"}.

    Source: Berger (1982); Holm (1979); Benjamini and Hochberg (1995); Dmitrienko and D'Agostino (2013) for the gate.
    """
    protocol = judged.protocol
    asked = secondary_endpoints(protocol.secondary, judged.endpoints)
    present = [c for c in against if (c, SCENARIO_ALL) in judged.rows.forecasts]
    worst = {e.name: _largest_p({c: oriented(e, judged.difference(e, own, (c, SCENARIO_ALL))) for c in present}) for e in asked}
    p = np.array([value for _, value in worst.values()])
    adjusted = ADJUSTMENTS[protocol.multiplicity](p)
    made = {}
    for (name, (comparator, raw)), p_adjusted in zip(worst.items(), adjusted, strict=True):
        shown = bool(gate_open and p_adjusted <= (1 - protocol.level) / 2)
        made[name] = {
            "p": number(raw),
            "p_adjusted": number(float(p_adjusted)),
            "shown": shown,
            "against": comparator,
            "sentence": _said(shown, gate_open, raw),
        }
    return made


def _largest_p(gains: Mapping[str, Estimate]) -> tuple[str, float]:
    """The comparator against which a gain is least sure, and its one-sided p; NaN where one was not estimated."""
    p = {c: one_sided(g) for c, g in gains.items()}
    unknown = [c for c, value in p.items() if math.isnan(value)]
    if unknown or not p:
        return (unknown or [""])[0], math.nan
    worst = max(p, key=lambda c: p[c])
    return worst, p[worst]


def _said(shown: bool, gate_open: bool, p: float) -> str:
    if math.isnan(p):
        return "not estimated"
    if shown:
        return "gain shown"
    return "no gain shown" if gate_open else "no claim: no gain was demonstrated in the primary endpoint"

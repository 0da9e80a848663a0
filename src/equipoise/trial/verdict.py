"""The one verdict, by one rule fixed in advance.

With D_c the paired difference of the primary endpoint from required comparator c, turned so that positive is better, and its two-sided interval
at the protocol's level:

not evaluable         select rows, no rows, too few events, too many rows without a prediction, a required comparator or D_c is missing, or no
                      comparator is required
equivalent            the claim is equivalence, and the interval of D_c lies within -margin and margin for **every** c
demonstrated gain     otherwise, the lower bound of D_c is above worthwhile_gain (0 by default) for **every** c, and (binary outcome) the lower bound of
                      the difference in net benefit at the declared threshold is above -(net_benefit_margin_share x prevalence) for every c
non-inferior          otherwise, where a margin was declared: the lower bound of D_c is above -margin for every c
demonstrated loss     otherwise, the upper bound of D_c is below 0 for **at least one** c
no demonstrated ...   otherwise, of what was claimed (gain, non-inferiority, equivalence); with the smallest gain that would have been shown with a
                      power of 80 %

The labels are nested or exclude each other, so whichever is read first, a false one has the same probability: where D_c is not above 0 a gain is false, and
where it is beyond a margin, equivalence and non-inferiority are.

A worthwhile gain above 0 keeps differences from being claimed that are true of these fitted models and due to luck in fitting them: between two models that
say nearly the same, the interval of a tiny difference may exclude 0.

At level 0.95 a model that is truly no better than some required comparator is called a gain with probability at most 0.025 (an intersection of tests
needs no correction for their number). The loss is a union: with k comparators its error is at most 0.025 k, and the sentence names the comparator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtri

from equipoise.stats.estimate import Estimate
from equipoise.trial.protocol import Claim

Label = Literal[
    "demonstrated gain",
    "non-inferior",
    "equivalent",
    "no demonstrated gain",
    "no demonstrated non-inferiority",
    "no demonstrated equivalence",
    "demonstrated loss",
    "not evaluable",
]
UNSHOWN: dict[Claim, Label] = {
    "superiority": "no demonstrated gain",
    "non_inferiority": "no demonstrated non-inferiority",
    "equivalence": "no demonstrated equivalence",
}
POWER = 0.8


@dataclass(frozen=True)
class Verdict:
    """The verdict and the reasons for it, one sentence a comparator."""

    label: Label
    reasons: tuple[str, ...]
    smallest_gain: Mapping[str, float]
    net_benefit: Mapping[str, bool]


def decide(
    gains: Mapping[str, Estimate],
    net_benefits: Mapping[str, Estimate],
    *,
    obstacles: Sequence[str],
    primary: str,
    level: float,
    margin: float | None,
    net_benefit_margin: float,
    claim: Claim,
    worthwhile: float = 0.0,
) -> Verdict:
    """Applies the rule.

    Args:
        gains: by required comparator, the primary difference turned so that positive is better.
        net_benefits: by required comparator, the difference in net benefit; empty where it is no part of the rule.
        obstacles: why no verdict is possible; empty when it is.
        primary: the primary endpoint in words.
        level: two-sided, of the intervals.
        margin: of non-inferiority, in the primary endpoint's unit, or None.
        net_benefit_margin: see the rule; in true positives a row.
        claim: what was declared to be shown.
        worthwhile: the smallest gain worth a claim, >= 0.
    """
    smallest = {c: worthwhile + smallest_gain(g.se, level) for c, g in gains.items() if math.isfinite(g.se)}
    held = {c: bool(b.lo > -net_benefit_margin) for c, b in net_benefits.items()}
    reasons = [_reason(c, g, primary, margin, worthwhile) for c, g in gains.items()]
    reasons += [_benefit_reason(c, b, held[c], net_benefit_margin) for c, b in net_benefits.items()]
    lacking = [f"the difference in {primary} from {c} was not estimated" for c, g in gains.items() if not math.isfinite(g.lo)]
    obstacles = [*obstacles, *lacking, *([] if gains or obstacles else ["no comparator is required"])]
    if obstacles:
        return Verdict("not evaluable", (*obstacles, *reasons), smallest, held)
    if claim == "equivalence" and margin is not None and all(-margin < g.lo and g.hi < margin for g in gains.values()):
        label: Label = "equivalent"
    elif all(g.lo > worthwhile for g in gains.values()) and all(held.values()):
        label = "demonstrated gain"
    elif margin is not None and all(g.lo > -margin for g in gains.values()):
        label = "non-inferior"
    elif any(g.hi < 0 for g in gains.values()):
        label = "demonstrated loss"
    else:
        label = UNSHOWN[claim]
    return Verdict(label, tuple(reasons), smallest, held)


def smallest_gain(se: float, level: float) -> float:
    """The true gain whose lower bound is above 0 with a probability of 80 %: (z_{(1+level)/2} + z_0.8) se, 2.80 se at level 0.95.

    >>> round(smallest_gain(1.0, 0.95), 3)
    2.802
    """
    return float((ndtri((1 + level) / 2) + ndtri(POWER)) * se)


def sentence(
    verdict: Verdict,
    *,
    model: str,
    primary: str,
    gains: Mapping[str, Estimate],
    claim: str,
    opening: int | None,
    margin: float | None,
    worthwhile: float = 0.0,
) -> str:
    """The verdict in one plain sentence, and a second where the rows were opened before.

    Args:
        verdict: the verdict.
        model: its name.
        primary: the primary endpoint in words.
        gains: as in `decide`.
        claim: what the claim is about, in words.
        opening: which opening of these rows this is.
        margin: as in `decide`.
        worthwhile: likewise.
    """
    beyond = " by more than the declared worthwhile gain" if worthwhile > 0 else ""
    against = _and(list(gains))
    match verdict.label:
        case "demonstrated gain":
            text = f"Demonstrated gain: {model} has a better {primary} than {against}{beyond}"
            text += ", and its net benefit is not inferior" if verdict.net_benefit else ""
        case "non-inferior":
            worse = [c for c, g in gains.items() if g.hi < 0]
            text = f"Non-inferior: the {primary} of {model} is not worse than that of {against} by more than the declared margin"
            text += f" (it is worse than {_and(worse)}, by less than the margin)" if worse else ""
        case "equivalent":
            text = f"Equivalent: the {primary} of {model} differs from that of {against} by less than the declared margin"
        case "no demonstrated non-inferiority" | "no demonstrated equivalence":
            unshown = [c for c, g in gains.items() if not _within(verdict.label, g, margin)]
            text = f"{verdict.label.capitalize()}: the {primary} of {model} may differ from that of {_and(unshown)} by more than the declared margin"
            text = text.replace("may differ from", "may be worse than") if verdict.label.endswith("inferiority") else text
        case "demonstrated loss":
            text = f"Demonstrated loss: {model} has a worse {primary} than {_and([c for c, g in gains.items() if g.hi < 0])}"
        case "no demonstrated gain":
            unshown = [c for c, g in gains.items() if not g.lo > worthwhile]
            text = f"No demonstrated gain: the {primary} of {model} was not shown to be better than that of {_and(unshown)}{beyond}"
            if not unshown:
                failed = _and([c for c, held in verdict.net_benefit.items() if not held])
                text = f"No demonstrated gain: {model} has a better {primary}, but its net benefit may be inferior to that of {failed}"
        case _:
            text = f"Not evaluable: {verdict.reasons[0]}"
    text += f" ({claim})." if verdict.label != "not evaluable" else "."
    if opening is not None and opening > 1:
        text += f" Exploratory: this is opening {opening} of these rows, so the error rate of the rule no longer holds."
    return text


def _within(label: Label, gain: Estimate, margin: float | None) -> bool:
    return margin is not None and gain.lo > -margin and (label.endswith("inferiority") or gain.hi < margin)


def _reason(comparator: str, gain: Estimate, primary: str, margin: float | None, worthwhile: float) -> str:
    if not math.isfinite(gain.lo):
        return f"{comparator}: the difference in {primary} was not estimated"
    interval = f"{gain.value:+.4g} ({gain.lo:+.4g} to {gain.hi:+.4g}; positive favours the model)"
    text = "better" if gain.lo > 0 else "worse" if gain.hi < 0 else "not shown to differ"
    text = f"{comparator}: {primary} {text}, {interval}"
    if worthwhile > 0:
        text += f"; lower bound {'above' if gain.lo > worthwhile else 'not above'} the worthwhile gain of {worthwhile:g}"
    if margin is not None:
        text += f"; lower bound {'above' if gain.lo > -margin else 'not above'} the margin of -{margin:g}"
    return text


def _benefit_reason(comparator: str, benefit: Estimate, held: bool, margin: float) -> str:
    if not math.isfinite(benefit.lo):
        return f"{comparator}: the difference in net benefit was not estimated"
    word = "not inferior" if held else "not shown to be non-inferior"
    return f"{comparator}: net benefit {word}, {benefit.value:+.4g} ({benefit.lo:+.4g} to {benefit.hi:+.4g}; margin -{margin:g})"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "every comparator"

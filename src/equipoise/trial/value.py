"""What does each evidence add? Gains of content and of presence, apart, for three declared populations; and one verdict an evidence.

With S the score of an endpoint, turned so that more is better, on the same rows:

total gain     S(all) - S(refit)       the model beside one that was fitted without the evidence
content gain   S(all) - S(placebo)     beside models whose rows of this evidence were permuted among people of one site and ancestry
presence gain  S(placebo) - S(refit)   what is gained from who has the evidence, and from site and ancestry as far as the strata keep them

so that total = content + presence. Where a placebo was made several times S(placebo) is the mean of its fits.

The verdict of an evidence is "demonstrated gain" if, among the rows with it, the lower bound of the content gain in the primary endpoint is above 0
beside **each** placebo, with one-sided p values corrected by Holm over the evidences. Resampling rows knows nothing of the luck of fitting, which decides
between two fits when held-out rows are many; where the content says nothing, the model is the luckiest of K + 1 fits with probability 1 / (K + 1). In
simulations a false claim came in 4 % of samples with one placebo and 1 % with three (500 train and 500 held-out rows), in 19 % and 5 % with ten times as
many held-out rows; asking for a gain over the placebos' mean instead gave 8 % and 26 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from equipoise.contract.errors import UserError
from equipoise.contract.tables import SCENARIO_ALL
from equipoise.predict_table import hidden_in
from equipoise.stats.estimate import Estimate
from equipoise.stats.multiplicity import holm
from equipoise.stats.presence_weights import presence_probability, presence_weights
from equipoise.trial.compare import number, one_sided, oriented
from equipoise.trial.contribution import contribution_tables
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.judged import Judged
from equipoise.trial.rows import Rows
from equipoise.trial.value_absence import absence_tables
from equipoise.trial.value_gains import ArmsOf, arms_of, gain_line, gains, judged_on
from equipoise.trial.value_rows import RowFacts, row_facts
from equipoise.trial.value_within import within_tables

AMONG, POPULATION, EVERYONE = "among those with it", "population as it is", "everyone had it, reweighted"


def value_tables(judged: Judged, table: pl.DataFrame, model: str, primary: Endpoint, *, role: str, opening: int | None, words: str) -> dict[str, Any]:
    """The worth of every evidence that the protocol names.

    Args:
        judged: all rows.
        table: the validated table behind them.
        model: which model is on trial.
        primary: the endpoint that carries the verdicts.
        role: of the rows; select rows carry none.
        opening: which opening of held-out rows this is.
        words: the primary endpoint in words.

    Returns:
        {} where no worth is claimed; else "evidences" (by name: "share", "n_placebos", "estimands", "within", "absence", "verdict", "sentence"),
        "not_claimed" (the other evidences), "base", "strata", "subsets",
        and with all subsets "contribution" (see `trial.contribution`).
    """
    protocol, rows = judged.protocol, judged.rows
    if protocol.value_of and primary not in _usual(judged):
        raise UserError(
            f"The worth of evidences cannot be claimed by {primary.name}, whose differences are not resampled as they are",
            expected="one of " + ", ".join(e.name for e in _usual(judged)),
            mend="choose another trial.primary, or trial.value_of=[]",
        )
    if not protocol.value_of:
        return {}
    facts = row_facts(table, model)
    named = list(facts.present) if protocol.value_of == ("all",) else list(protocol.value_of)
    found = {e: arms_of(rows, model, e, tuple(facts.present)) for e in named if e in facts.present}
    found = {e: arms for e, arms in found.items() if arms.placebos}
    made: dict[str, Any] = {
        "base": {"kept": list(facts.base_names), "patterns": list(protocol.value_base)},
        "strata": {name: _known(facts, name) for name in protocol.placebo_strata},
        "evidences": {},
        "not_claimed": [e for e in facts.present if e not in found],
    }
    against: dict[str, list[Estimate]] = {}
    for evidence, arms in found.items():
        made["evidences"][evidence], against[evidence] = _of_evidence(judged, facts, arms, primary)
    _decide(made["evidences"], against, judged, words, role, opening)
    made["subsets"] = subset_tables(judged, model, primary)
    if protocol.subsets == "all":
        made["contribution"] = contribution_tables(judged, model, primary, list(facts.present))
    return made


def _known(facts: RowFacts, name: str) -> list[str]:
    """The levels of a stratum; none where the cohort does not have it."""
    values = facts.site if name == "site" else facts.strata.get(name, np.empty(0, object))
    return sorted({str(v) for v in values if v is not None})


def _of_evidence(judged: Judged, facts: RowFacts, arms: ArmsOf, primary: Endpoint) -> tuple[dict[str, Any], list[Estimate]]:
    present = facts.present[arms.evidence]
    usable = judged.rows.observed & np.logical_and.reduce([judged.rows.forecasts[a].given for a in arms.all])
    probability = presence_probability(present, facts.base)
    among = judged_on(judged, usable & present, arms.all, _usual(judged))
    populations = {AMONG: among, POPULATION: judged_on(judged, usable, arms.all, (primary,))}
    estimands = {name: {"n": _count(own.rows), "gains": gains(own, arms)} for name, own in populations.items()}
    estimands[EVERYONE] = _reweighted(judged, arms, primary, usable, present, probability, facts)
    against = [oriented(primary, among.contrast(primary, [arms.own], [p])) for p in arms.placebos]
    entry = {
        "share": float(present.mean()),
        "n_placebos": len(arms.placebos),
        "refit": bool(arms.refit),
        "estimands": estimands,
        "within": within_tables(judged, facts, arms, primary, usable & present),
        "absence": absence_tables(judged, arms, primary, usable, present, probability),
        "against_each": [gain_line(g) for g in against],
        "obstacle": _obstacle(among.rows, judged),
    }
    return entry, against


def _usual(judged: Judged) -> tuple[Endpoint, ...]:
    """Endpoints whose differences favour a side and are resampled as they are."""
    return tuple(e for e in judged.endpoints if e.sign and not e.smoothed and not e.no_interval and e.distance is None)


def _reweighted(
    judged: Judged, arms: ArmsOf, primary: Endpoint, usable: np.ndarray, present: np.ndarray, probability: np.ndarray, facts: RowFacts
) -> dict[str, Any]:
    if present.all():
        return {"note": "every row has it: as among those with it"}
    if not facts.base.shape[1]:
        return {"note": "not estimated: neither base columns nor sites tell who lacks it"}
    weights = presence_weights(usable & present, probability)
    own = judged_on(judged, usable & present, arms.all, (primary,), weights.weight)
    kept = {"effective_rows": round(weights.effective_rows, 1), "truncated": weights.truncated}
    return {"n": _count(own.rows), **kept, "by": list(dict.fromkeys([*facts.base_names, "site"])), "gains": gains(own, arms)}


def _count(rows: Rows) -> dict[str, int | None]:
    return {"rows": rows.size, "events": int(rows.outcome.sum()) if rows.kind == "binary" else None}


def _obstacle(rows: Rows, judged: Judged) -> str:
    least = judged.protocol.min_events
    if rows.kind == "binary":
        events = int(rows.outcome.sum())
        return f"{events} events and {rows.size - events} non-events have it" if min(events, rows.size - events) < least else ""
    return f"{rows.size} rows have it" if rows.size < least else ""


def _decide(entries: dict[str, Any], against: Mapping[str, list[Estimate]], judged: Judged, words: str, role: str, opening: int | None) -> None:
    """Fills in each evidence's verdict and its sentence."""
    level = judged.protocol.level
    # An intersection: the claim asks for a gain beside each placebo, so its p is the largest of theirs.
    p_of_each = np.array([np.max([one_sided(g) for g in own]) for own in against.values()])
    adjusted = holm(p_of_each)
    for (evidence, entry), p in zip(entries.items(), adjusted, strict=True):
        content = entry["estimands"][AMONG]["gains"]["content"][_first(entry)]
        why_not = "these are select rows" if role == "select" else entry["obstacle"] or ("" if np.isfinite(p) else "the content gain was not estimated")
        shown = not why_not and all(g.lo > 0 for g in against[evidence]) and p <= (1 - level) / 2
        entry["verdict"] = "not evaluable" if why_not else "demonstrated gain" if shown else "no demonstrated gain"
        entry["p_holm"] = number(float(p))
        entry["sentence"] = _sentence(evidence, entry, content, words, why_not, opening)


def _first(entry: Mapping[str, Any]) -> str:
    """The primary endpoint's name: the one that every population has."""
    return next(iter(entry["estimands"][POPULATION]["gains"]["content"]))


def _sentence(evidence: str, entry: Mapping[str, Any], content: Mapping[str, Any], words: str, why_not: str, opening: int | None) -> str:
    k = entry["n_placebos"]
    beside = "the model whose rows of it were permuted" if k == 1 else f"each of the {k} models whose rows of it were permuted"
    if why_not:
        text = f"The content of {evidence}: not evaluable ({why_not})."
    else:
        text = f"The content of {evidence}: {entry['verdict']} in {words} over {beside}, {AMONG}"
        text += f" ({content['gain']:+.4f}, {content['lo']:+.4f} to {content['hi']:+.4f} over their mean)." if content["lo"] is not None else "."
    if opening is not None and opening > 1 and not why_not:
        text += f" Exploratory: this is opening {opening} of these rows."
    return text


def subset_tables(judged: Judged, model: str, primary: Endpoint) -> dict[str, Any]:
    """Every subset of hidden evidences: scenario -> "hidden", "value", "change" of the primary endpoint from the model as it is; {} without subsets."""
    arms = [arm for arm in judged.rows.forecasts if arm[0] == model and len(hidden_in(arm[1])) > 0]
    if all(len(hidden_in(arm[1])) == 1 for arm in arms):
        return {}
    made = {}
    for arm in arms:
        both = judged.both(arm, (model, SCENARIO_ALL))
        own = judged_on(judged, both, [arm, (model, SCENARIO_ALL)], (primary,))
        change = oriented(primary, own.contrast(primary, [arm], [(model, SCENARIO_ALL)]))
        value = own.estimate(primary, arm)
        line = {"value": number(value.value), "lo": number(value.lo), "hi": number(value.hi)}
        made[arm[1]] = {"hidden": sorted(hidden_in(arm[1])), "n": int(both.sum()), **line, "change": gain_line(change)}
    return made

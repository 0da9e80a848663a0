"""Sites' summaries of one question -> what they say together: pooled tables, added-up curves, and the verdict where the rule can be applied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import ndtri

from equipoise.contract.tables import MODEL
from equipoise.stats.estimate import Estimate
from equipoise.trial.compare import number
from equipoise.trial.evaluate import in_words
from equipoise.trial.over_sites import FEW_SITES, Table, pooled_tables
from equipoise.trial.verdict import decide, sentence

FEWEST_GROUPS = 3
"""A site with fewer groups of risk is left out of the added-up curves, or the groups of all sites would be as coarse as its own."""

Questions = Mapping[str, Mapping[str, Any]]


def pooled_question(sites: Questions, protocol: Mapping[str, Any], n_more: int = 0) -> dict[str, Any]:
    """Pools one question.

    Args:
        sites: by site, one of "questions" of `site_summary.site_summary`, exported; at least two.
        protocol: of all of them, as it stands in the summaries.
        n_more: sites that sent nothing, because they have too few people.

    Returns:
        "n" (sums over sites), "prevalence", "primary", "required", "endpoints", "differences" (see `over_sites.pooled_tables`), "calibration",
        "decision" (by model, people added up over "sites"), "verdict", "verdict_detail", "warnings".
    """
    first = next(iter(sites.values()))
    level = float(protocol["level"])
    made: dict[str, Any] = {k: first[k] for k in ("kind", "target", "unit", "model", "role", "primary", "required")}
    made["n"] = {"sites": len(sites)} | {k: sum(s["n"][k] for s in sites.values()) for k in ("rows", "people", "events", "non_events") if k in first["n"]}
    made |= pooled_tables(sites, level)
    made |= {"calibration": {}, "decision": {}}
    for model in made["endpoints"]:
        cells = {site: s["cells"][model] for site, s in sites.items() if len(s["cells"].get(model, {}).get("rows", ())) >= FEWEST_GROUPS}
        if cells:
            made["calibration"][model] = added_cells(cells) | {"sites": list(cells)}
            made["decision"][model] = added_decision(cells, {site: sites[site]["decision"][model] for site in cells}, level) | {"sites": list(cells)}
    made["prevalence"] = _prevalence({site: s["cells"].get(first["model"]) for site, s in sites.items()})
    return made | _judgement(made, sites, protocol) | {"warnings": _warnings(len(sites), n_more)}


def added_cells(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, list[float]]:
    """The sites' groups added up, between the edges that all of them have: exactly the groups of all their people together.

    Args:
        cells: by site, from `trial.cells.cells`.

    Returns:
        The same keys; "risk" and "observed" are means over people, not over sites.

    >>> one = {"edges": [0, 0.5, 1], "rows": [3, 1], "events": [1, 1], "weight": [3, 1], "risk": [0.2, 0.8], "observed": [1 / 3, 1.0]}
    >>> other = {"edges": [0, 1], "rows": [4], "events": [2], "weight": [4], "risk": [0.5], "observed": [0.5]}
    >>> added = added_cells({"a": one, "b": other})
    >>> added["edges"], added["rows"], added["observed"]
    ([0, 1], [8], [0.5])
    """
    shared = sorted(set.intersection(*[set(c["edges"]) for c in cells.values()]))
    made: dict[str, list[float]] = {"edges": shared, "rows": [], "events": [], "weight": [], "risk": [], "observed": []}
    for low, high in pairwise(shared):
        inside = [(c, i) for c in cells.values() for i in range(len(c["rows"])) if low <= c["edges"][i] < high]
        weight = np.array([c["weight"][i] for c, i in inside])
        for key in ("rows", "events"):
            made[key].append(sum(c[key][i] for c, i in inside))
        made["weight"].append(float(weight.sum()))
        for key in ("risk", "observed"):
            made[key].append(float(np.average([c[key][i] for c, i in inside], weights=weight)))
    return made


def added_decision(cells: Mapping[str, Mapping[str, Any]], decisions: Mapping[str, Mapping[str, Any]], level: float) -> dict[str, list[float]]:
    """Net benefit of all people together at the thresholds that all sites give: sum W_s NB_s / sum W_s, its error from independent sites.

    Args:
        cells: by site; their weights are W_s.
        decisions: by site, from `trial.cells.decision`.
        level: in (0, 1), of a normal interval for these sites' people, not for a further site.
    """
    share = np.array([sum(c["weight"]) for c in cells.values()])
    share = share / share.sum()
    shared = sorted(set.intersection(*[set(d["threshold"]) for d in decisions.values()]))
    found = {key: np.array([[d[key][d["threshold"].index(t)] for t in shared] for d in decisions.values()]) for key in ("net_benefit", "se", "treat_all")}
    value, se = share @ found["net_benefit"], np.sqrt(share**2 @ found["se"] ** 2)
    half = float(ndtri((1 + level) / 2)) * se
    curve = {"threshold": np.array(shared), "net_benefit": value, "se": se, "lo": value - half, "hi": value + half, "treat_all": share @ found["treat_all"]}
    return {key: x.tolist() for key, x in curve.items()}


def _prevalence(cells: Mapping[str, Mapping[str, Any] | None]) -> float | None:
    given = {site: c for site, c in cells.items() if c}
    if len(given) < len(cells):
        return None
    added = added_cells(given)
    return float(np.average(added["observed"], weights=added["weight"]))


def _warnings(n_sites: int, n_more: int) -> list[str]:
    said = []
    if n_sites < FEW_SITES:
        interval = "there is no prediction interval" if n_sites < 3 else "a prediction interval is unreliable"
        said.append(f"{n_sites} sites are few: what varies between sites is badly known, and {interval}")
    if n_more:
        said.append(f"{n_more} {'site' if n_more == 1 else 'sites'} with too few people sent no number and are no part of this")
    return said


def _judgement(made: Mapping[str, Any], sites: Questions, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol's rule (`trial.verdict`) on the pooled differences.

    The bounds are the wider ones of the random-effects interval and the t interval over sites, because the first alone errs too often where one site
    is much larger than the others, and the second never does.
    """
    primary, required, words = made["primary"], made["required"], in_words(made["primary"])
    differences: Mapping[str, Table] = made["differences"]
    gains = {c: _gain(differences[c][primary]) for c in required if primary in differences.get(c, {})}
    rule_of_benefit = made["kind"] == "binary"
    benefits = {c: _gain(differences[c]["net_benefit"]) for c in required if rule_of_benefit and "net_benefit" in differences.get(c, {})}
    parts = [primary, *(["net_benefit"] if rule_of_benefit else [])]
    worthwhile = float(protocol.get("worthwhile_gain") or 0.0)
    openings = [s["opening"] for s in sites.values() if s["opening"] is not None]
    verdict = decide(
        gains,
        benefits,
        obstacles=_obstacles(made, sites, protocol, parts),
        primary=words,
        level=float(protocol["level"]),
        margin=protocol["margin"],
        net_benefit_margin=float(protocol["net_benefit_margin_share"]) * (made["prevalence"] or 0.0),
        claim=protocol["claim"],
        worthwhile=worthwhile,
    )
    name = "Equipoise" if made["model"] == MODEL else made["model"]
    claim = f"pooled over {len(sites)} sites, about their mean"
    said = sentence(
        verdict,
        model=name,
        primary=words,
        gains=gains,
        claim=claim,
        opening=max(openings, default=None),
        margin=protocol["margin"],
        worthwhile=worthwhile,
    )
    detail = {
        "sentence": said,
        "reasons": list(verdict.reasons),
        "claim": claim,
        "exploratory": max(openings, default=0) > 1,
        "bounds": {c: {"value": number(g.value), "lo": number(g.lo), "hi": number(g.hi)} for c, g in gains.items()},
    }
    return {"verdict": verdict.label, "verdict_detail": detail}


def _gain(pooled: Mapping[str, Any]) -> Estimate:
    """A pooled difference as a gain, with the wider bounds."""
    if pooled["value"] is None:
        return Estimate(math.nan, math.nan, math.nan, math.nan, "")
    lo, hi = min(pooled["lo"], pooled["unweighted"]["lo"]), max(pooled["hi"], pooled["unweighted"]["hi"])
    value = pooled["value"]
    if pooled["better"] == "lower":
        value, lo, hi = -value, -hi, -lo
    return Estimate(value, pooled["se"], lo, hi, pooled["method"])


def _obstacles(made: Mapping[str, Any], sites: Questions, protocol: Mapping[str, Any], parts: list[str]) -> list[str]:
    """Why the rule cannot be applied to these sites, one sentence each."""
    found = []
    if len({tuple(sorted(s["required"])) for s in sites.values()}) > 1:
        found.append("the sites do not require the same comparators")
    for site, s in sites.items():
        found += [f"{name} gives no prediction for too many rows at {site}" for name in s["lacking"]]
    counted = [made["n"][k] for k in ("events", "non_events") if k in made["n"]] or [made["n"]["rows"]]
    if min(counted) < protocol["min_events"]:
        found.append(f"all sites together have fewer than the {protocol['min_events']} events and non-events that the protocol asks for")
    for c in made["required"]:
        for name in parts:
            entry = made["differences"].get(c, {}).get(name)
            lacking = list(sites) if entry is None else entry["left_out"]
            if lacking:
                found.append(f"the difference in {in_words(name)} from {c} is not given by {', '.join(lacking)}")
    return found

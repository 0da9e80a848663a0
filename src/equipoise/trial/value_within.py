"""Where a gain comes from: within each ancestry, at sites that taught nothing, and between relatives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from equipoise.stats.bootstrap import ClusterBootstrap, percentile_interval
from equipoise.stats.means import mean_interval
from equipoise.stats.weighting import ratio
from equipoise.stats.within_family import within_concordance, within_correlation, within_products, within_slope
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.judged import Judged
from equipoise.trial.value_gains import ArmsOf, gain_line, gains, judged_on
from equipoise.trial.value_rows import RowFacts

FEWEST_SITES = 3
FEWEST_FAMILIES = 20


def within_tables(judged: Judged, facts: RowFacts, arms: ArmsOf, primary: Endpoint, where: np.ndarray) -> dict[str, Any]:
    """{"ancestry", "sites", "families"}, each with a "note" where it was not estimated.

    Args:
        judged: all rows.
        facts: of them.
        arms: of the evidence.
        primary: the endpoint of the gains.
        where: bool (n,), rows with the evidence on which every arm has a prediction.
    """
    return {
        "ancestry": _ancestry(judged, facts, arms, primary, where),
        "sites": _sites(judged, facts, arms, primary, where),
        "families": _families(judged, facts, arms, where),
    }


def _ancestry(judged: Judged, facts: RowFacts, arms: ArmsOf, primary: Endpoint, where: np.ndarray) -> dict[str, Any]:
    group = facts.strata.get("ancestry")
    if group is None:
        return {"note": "no such column, and no genotypes"}
    made: dict[str, Any] = {}
    for name in sorted({str(g) for g in group[where] if g is not None}):
        here = where & (group == name)
        if _enough(judged, here):
            made[name] = {"rows": int(here.sum()), "gains": gains(judged_on(judged, here, arms.all, (primary,)), arms)}
        else:
            made[name] = {"rows": int(here.sum()) if here.sum() >= judged.protocol.min_cell else None, "note": "too few rows or events"}
    return {"groups": made} if made else {"note": "not known of any row with this evidence"}


def _sites(judged: Judged, facts: RowFacts, arms: ArmsOf, primary: Endpoint, where: np.ndarray) -> dict[str, Any]:
    """The mean over left-out sites of each site's gain, with Student's interval over sites: the site is what is sampled."""
    where = where & facts.unseen
    if not where.any():
        return {"note": "the division leaves no site out"}
    sites = [s for s in sorted({str(s) for s in facts.site[where]}) if _enough(judged, where & (facts.site == s))]
    if len(sites) < FEWEST_SITES:
        return {"note": f"{len(sites)} left-out sites have enough rows, at least {FEWEST_SITES} are needed"}
    by_site: dict[str, list[float]] = {"total": [], "content": []}
    for site in sites:
        own = judged_on(judged, where & (facts.site == site), arms.all, (primary,))
        value = {arm: float(primary.value(own.sample(arm, own.usable(arm)))) for arm in arms.all}
        minus = {"total": arms.refit, "content": arms.placebos}
        for name, others in minus.items():
            if others:
                by_site[name].append(primary.sign * (value[arms.own] - float(np.mean([value[o] for o in others]))))
    pooled = {
        name: gain_line(replace(mean_interval(np.array(v), judged.protocol.level), method="Student's t over left-out sites"))
        for name, v in by_site.items()
        if v
    }
    return {"sites": len(sites), "gains": pooled, "better_at": {k: int((np.array(v) > 0).sum()) for k, v in by_site.items() if v}}


def _enough(judged: Judged, where: np.ndarray) -> bool:
    least = judged.protocol.min_events
    if judged.rows.kind != "binary":
        return int(where.sum()) >= max(least, judged.protocol.min_cell)
    events = int(judged.rows.outcome[where].sum())
    return min(events, int(where.sum()) - events) >= least


def _families(judged: Judged, facts: RowFacts, arms: ArmsOf, where: np.ndarray) -> dict[str, Any]:
    """What tells relatives apart, by clusters with several subjects: nothing that a family shares can stand behind it."""
    rows = judged.rows
    if rows.kind not in ("binary", "continuous"):
        return {"note": f"not estimated for a {rows.kind.replace('_', ' ')} outcome"}
    if (rows.weight[where] != 1).any():
        return {"note": "not estimated with analysis weights"}
    if np.unique(rows.repeat).size > 1:
        where = where & (rows.repeat == rows.repeat.min())
    where = where & _with_relatives(rows.cluster, facts.subject, where)
    family = np.unique(rows.cluster[where], return_inverse=True)[1].reshape(-1)
    n = int(family.max(initial=-1)) + 1
    if n < FEWEST_FAMILIES:
        return {"note": f"{n} families have several people with this evidence, at least {FEWEST_FAMILIES} are needed"}
    statistic = _concordance if rows.kind == "binary" else _correlation
    weights = np.concatenate(list(ClusterBootstrap(np.arange(n), judged.protocol.n_bootstrap, judged.protocol.seed).blocks()))
    found = {arm: statistic(rows.forecasts[arm].risk[where, 0], rows.outcome[where, 0], family, n, weights) for arm in arms.all}
    own, draws = found[arms.own]
    made: dict[str, Any] = {
        "families": n,
        "people": int(where.sum()),
        "measure": "AUROC among relatives" if rows.kind == "binary" else "correlation of relatives' differences",
        "value": gain_line(percentile_interval(own, draws, judged.protocol.level, n)),
        "gains": {},
    }
    if rows.kind == "continuous":
        products = within_products(rows.forecasts[arms.own].risk[where, 0], rows.outcome[where, 0], family, n)
        slope = percentile_interval(float(within_slope(products)), within_slope(products, weights), judged.protocol.level, n)
        made["slope"] = gain_line(slope)
    for name, others in (("total", arms.refit), ("content", arms.placebos)):
        if others:
            value, drawn = float(np.mean([found[o][0] for o in others])), np.mean([found[o][1] for o in others], axis=0)
            made["gains"][name] = gain_line(percentile_interval(own - value, draws - drawn, judged.protocol.level, n))
    return made


def _with_relatives(cluster: np.ndarray, subject: np.ndarray, where: np.ndarray) -> np.ndarray:
    """bool (n,): rows whose cluster has several subjects among ``where``."""
    number = np.unique(subject, return_inverse=True)[1].reshape(-1)
    pairs = np.unique(np.stack([cluster[where], number[where]]), axis=1)
    people = np.bincount(pairs[0], minlength=int(cluster.max(initial=0)) + 1)
    return np.asarray(people[cluster] > 1)


def _concordance(score: np.ndarray, outcome: np.ndarray, family: np.ndarray, n: int, weight: np.ndarray) -> tuple[float, np.ndarray]:
    pairs, won = within_concordance(score, outcome, family, n)
    return float(ratio(won.sum(), pairs.sum())), ratio(weight @ won, weight @ pairs)


def _correlation(score: np.ndarray, outcome: np.ndarray, family: np.ndarray, n: int, weight: np.ndarray) -> tuple[float, np.ndarray]:
    products = within_products(score, outcome, family, n)
    return float(within_correlation(products)), within_correlation(products, weight)

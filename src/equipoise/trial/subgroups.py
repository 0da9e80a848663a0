"""Endpoints by subgroup: each group with its intervals, the worst one, whether the gain differs between groups, and decisions by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from equipoise.contract.tables import SCENARIO_ALL
from equipoise.stats.bootstrap import percentile_interval
from equipoise.stats.heterogeneity import NOTHING, Heterogeneity, heterogeneity
from equipoise.stats.multiplicity import holm
from equipoise.stats.simultaneous import simultaneous_intervals, spread
from equipoise.trial.compare import endpoint_table, number
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.fairness import CANNOT_ALL_BE_EQUAL, FAIRNESS
from equipoise.trial.judged import Arm, Judged
from equipoise.trial.obstacles import counts_of
from equipoise.trial.small_cells import BESIDE, hidden_groups, in_order

BY_GROUP = {
    "binary": ("auroc", "calibration_slope", "calibration_in_the_large", "net_benefit"),
    "multiclass": ("accuracy", "auroc"),
    "continuous": ("pearson_r", "calibration_slope", "calibration_in_the_large"),
    "time_to_event": ("td_auc", "uno_c", "observed_expected", "calibration_slope", "net_benefit"),
    "treatment_effect": ("average_effect", "effect_slope"),
}
"""Beside the primary endpoint, where they are reported."""

IDEAL = {"zero": 0.0, "one": 1.0}


@dataclass(frozen=True)
class Group:
    """One group: its estimates and whether they may be shown.

    Args:
        name: of the group.
        judged: all rows, those of other groups without an outcome: resamples are shared over groups.
        counts: what must not be small: rows, then events and non-events, or both arms.
        hidden: see `small_cells.hidden_groups`.
    """

    name: str
    judged: Judged
    counts: tuple[int, ...]
    hidden: int = 0


def subgroup_tables(judged: Judged, own: Arm, against: Sequence[str], primary: Endpoint, horizon_days: float | None) -> dict[str, Any]:
    """column -> {"groups", "worst", "interaction", "largest", "note"} for each subgroup that the protocol names.

    A group shows n, endpoints, the paired primary difference from each required comparator and, for a binary outcome, decisions at the threshold with
    their differences from the largest group; one with a count below ``min_cell`` shows nothing but that. "worst" is by endpoint the group with the
    least good value and an interval that holds for all groups at once. "interaction" tests by comparator whether the primary difference is the
    same in all groups (for a treatment effect also whether the average effect is), adjusted by Holm over all columns and comparators.

    Args:
        judged: of all rows; ``rows.groups`` has the columns.
        own: the model.
        against: required comparators.
        primary: the primary endpoint.
        horizon_days: of a time to event.
    """
    others = [(c, SCENARIO_ALL) for c in against if (c, SCENARIO_ALL) in judged.rows.forecasts]
    endpoints = _chosen(judged, primary)
    made: dict[str, Any] = {}
    for column in judged.protocol.subgroups:
        groups = _groups(judged, column, own, endpoints, horizon_days)
        for group in groups:
            if not group.hidden:
                _resample(group, own, others)
        made[column] = _column(groups, own, others, primary)
    _adjust(made)
    return made


def _chosen(judged: Judged, primary: Endpoint) -> tuple[Endpoint, ...]:
    wanted, place = BY_GROUP[judged.rows.kind], primary.name.partition("@")[2]
    kept = [e for e in judged.endpoints if e.name.partition("@")[0] in wanted and e.name.partition("@")[2] == place]
    fair = FAIRNESS if judged.rows.kind == "binary" else ()
    return (primary, *(e for e in kept if e.name != primary.name), *fair)


def _groups(judged: Judged, column: str, own: Arm, endpoints: tuple[Endpoint, ...], horizon_days: float | None) -> list[Group]:
    rows, labels = judged.rows, judged.rows.groups[column]
    groups = []
    for name in in_order(labels[judged.usable(own)]):
        within = replace(rows, observed=rows.observed & (labels == name))
        one = Judged(within, judged.protocol, endpoints, judged.propensity, judged.score)
        groups.append(Group(name, one, _counts(one, own, horizon_days)))
    if not groups:
        return []
    hidden = hidden_groups(np.array([g.counts for g in groups]), judged.protocol.min_cell)
    return [replace(g, hidden=int(h)) for g, h in zip(groups, hidden, strict=True)]


def _counts(judged: Judged, own: Arm, horizon_days: float | None) -> tuple[int, ...]:
    counts = counts_of(judged, own, horizon_days)
    if counts.events is not None and counts.non_events is not None:
        return counts.rows, counts.events, counts.non_events
    if judged.rows.kind == "treatment_effect":
        arm = judged.rows.treatment[judged.usable(own)]
        return counts.rows, int((arm == 1).sum()), int((arm == 0).sum())
    return (counts.rows,)


def _resample(group: Group, own: Arm, others: Sequence[Arm]) -> None:
    group.judged.resample([(own, other) for other in others], [own])


def _column(groups: list[Group], own: Arm, others: Sequence[Arm], primary: Endpoint) -> dict[str, Any]:
    shown = [g for g in groups if not g.hidden]
    if not groups:
        return {"groups": {}, "worst": {}, "interaction": {}, "largest": None, "note": "no row can be judged"}
    cell = groups[0].judged.protocol.min_cell
    largest = max(shown, key=lambda g: g.counts[0]) if shown else None
    lines: dict[str, dict[str, Any]] = {
        g.name: {"suppressed": BESIDE if g.hidden == 2 else f"fewer than {cell}"} if g.hidden else _group(g, own, others, primary) for g in groups
    }
    if largest is not None and largest.judged.rows.kind == "binary":
        for g in shown:
            lines[g.name]["fairness"] = {e.name: _decision(e, g, largest, own) for e in FAIRNESS}
    tested = {c[0]: _line(*_interaction(shown, primary, own, c)) for c in others}
    if groups[0].judged.rows.kind == "treatment_effect":
        average = next((e for e in groups[0].judged.endpoints if e.name == "average_effect"), None)
        tested |= {"average_effect": _line(*_interaction(shown, average, own, None))} if average else {}
    return {
        "groups": lines,
        "worst": {e.name: worst for e in groups[0].judged.endpoints if e.better and (worst := _worst(shown, e, own))},
        "interaction": tested,
        "largest": largest.name if largest else None,
        "note": CANNOT_ALL_BE_EQUAL if groups[0].judged.rows.kind == "binary" else "",
    }


def _group(group: Group, own: Arm, others: Sequence[Arm], primary: Endpoint) -> dict[str, Any]:
    judged = group.judged
    sample = judged.sample(own, judged.usable(own))
    n: dict[str, Any] = {"rows": group.counts[0], "clusters": sample.n_clusters}
    if len(group.counts) == 3:
        names = ("treated", "untreated") if judged.rows.kind == "treatment_effect" else ("events", "non_events")
        n |= dict(zip(names, group.counts[1:], strict=True))
    table = endpoint_table(judged, own)
    fair = {e.name for e in FAIRNESS}
    differences = {}
    for other in others:
        found = judged.difference(primary, own, other)
        paired = int(judged.both(own, other).sum())
        enough = paired >= judged.protocol.min_cell
        bounds = {"difference": number(found.value), "lo": number(found.lo), "hi": number(found.hi), "p": number(found.p), "method": found.method}
        empty = {"difference": None, "lo": None, "hi": None, "p": None, "method": "", "note": f"fewer than {judged.protocol.min_cell} rows in common"}
        differences[other[0]] = {primary.name: (bounds if enough else empty) | {"better": primary.better}}
    return {"n": n, "endpoints": {k: v for k, v in table.items() if k not in fair}, "differences": differences}


def _joint(groups: Sequence[Group], endpoint: Endpoint, own: Arm, other: Arm | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (k,), joint resamples (R, k) and clusters (k,) of an endpoint, or of its difference from another arm's."""
    values, draws, clusters = [], [], []
    for g in groups:
        where = g.judged.usable(own) if other is None else g.judged.both(own, other)
        sample = g.judged.sample(own, where)
        value, drawn = endpoint.value(sample), g.judged.draws(endpoint, own, where)
        if other is not None:
            value = value - endpoint.value(g.judged.sample(other, where))
            drawn = drawn - g.judged.draws(endpoint, other, where)
        values.append(float(value))
        draws.append(drawn)
        clusters.append(sample.n_clusters)
    return np.array(values), np.stack(draws, axis=1), np.array(clusters)


def _resampled(groups: Sequence[Group], endpoint: Endpoint, own: Arm) -> bool:
    """Whether resamples give the endpoint's own values in every group."""
    return endpoint.distance is None and all(endpoint.resampled(g.judged.sample(own, g.judged.usable(own))) for g in groups)


def _interaction(groups: Sequence[Group], endpoint: Endpoint, own: Arm, other: Arm | None) -> tuple[Heterogeneity, str]:
    if len(groups) < 2:
        return NOTHING, "fewer than two groups are shown"
    if not _resampled(groups, endpoint, own):
        return NOTHING, "this endpoint has no resamples to test with"
    if other is not None and min(int(g.judged.both(own, other).sum()) for g in groups) < groups[0].judged.protocol.min_cell:
        return NOTHING, "too few rows in common with the comparator in some group"
    values, draws, clusters = _joint(groups, endpoint, own, other)
    return heterogeneity(values, spread(draws, clusters), clusters), ""


def _line(found: Heterogeneity, note: str) -> dict[str, Any]:
    note = note or ("" if np.isfinite(found.p) else "not estimable: too few clusters, or no variance, in some group")
    line: dict[str, Any] = {"q": number(found.q), "df": found.df or None, "p": number(found.p), "p_adjusted": None}
    return line | ({"note": note} if note else {})


def _adjust(columns: dict[str, Any]) -> None:
    """Holm over everything that was tested, in place."""
    lines = [line for column in columns.values() for line in column["interaction"].values()]
    adjusted = holm(np.array([np.nan if line["p"] is None else line["p"] for line in lines]))
    for line, p in zip(lines, adjusted, strict=True):
        line["p_adjusted"] = number(float(p))


def _worst(groups: Sequence[Group], endpoint: Endpoint, own: Arm) -> dict[str, Any]:
    """The group with the least good value, with an interval that holds for all groups at once."""
    if len(groups) < 2:
        return {}
    values = np.array([float(endpoint.value(g.judged.sample(own, g.judged.usable(own)))) for g in groups])
    if not np.isfinite(values).any():
        return {}
    badness = -endpoint.sign * values if endpoint.sign else np.abs(values - IDEAL[endpoint.better])
    at = int(np.nanargmax(badness))
    lo, hi, n_resamples = np.full(len(groups), np.nan), np.full(len(groups), np.nan), 0
    if _resampled(groups, endpoint, own):
        values, draws, clusters = _joint(groups, endpoint, own, None)
        lo, hi, _ = simultaneous_intervals(values, draws, groups[0].judged.protocol.level, clusters)
        n_resamples = draws.shape[0]
    low, high = np.clip([lo[at], hi[at]], endpoint.floor, endpoint.ceiling)
    method = f"simultaneous over {len(groups)} groups (max-t, cluster bootstrap, {n_resamples} resamples)" if np.isfinite(low) else ""
    return {"group": groups[at].name, "value": number(values[at]), "lo": number(low), "hi": number(high), "better": endpoint.better, "method": method}


def _decision(endpoint: Endpoint, group: Group, largest: Group, own: Arm) -> dict[str, Any]:
    found = group.judged.estimate(endpoint, own)
    line = {"value": number(found.value), "lo": number(found.lo), "hi": number(found.hi), "method": found.method, "better": endpoint.better}
    if group is largest:
        return line
    values, draws, clusters = _joint([group, largest], endpoint, own, None)
    if not all(np.isfinite(g.judged.estimate(endpoint, own).lo) for g in (group, largest)):
        draws = np.full_like(draws, np.nan)  # a share that is at its limit in every resample: the difference's interval would be too narrow too
    apart = percentile_interval(float(values[0] - values[1]), draws[:, 0] - draws[:, 1], group.judged.protocol.level, int(clusters.min()))
    return line | {"difference": number(apart.value), "difference_lo": number(apart.lo), "difference_hi": number(apart.hi)}

"""What a site may show of its risks: groups of fixed bins, each with enough people with and without the event, and nothing finer.

Bins are fixed, so that sites can be added up, and small ones are not blanked but joined with their neighbours. A blank can be filled in again from a total;
a joined group has no finer number anywhere: counts, net benefit and its thresholds all stop at the groups' edges, because net benefit at two thresholds
says how many events lie between them. Nothing is lost by joining: the groups of a site always add up to all of its people.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from equipoise.stats.net_benefit import net_benefit_of_rows
from equipoise.stats.weighting import weighted_mean

BINS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Edges of the bins, closer where most risks lie; the protocol's threshold is one more."""


@dataclass(frozen=True)
class Judgeable:
    """Rows with a risk and a known status; all arrays (n,).

    Args:
        risk: f64, in [0, 1].
        status: 0 or 1.
        weight: f64, > 0.
        person: i64, whose row it is: people are counted, not rows.
        cluster: i64, of the standard error.
    """

    risk: np.ndarray
    status: np.ndarray
    weight: np.ndarray
    person: np.ndarray
    cluster: np.ndarray

    def fewest(self, where: np.ndarray) -> int:
        """People with the event or people without it in these rows (bool (n,)), whichever are fewer."""
        return min(int(np.unique(self.person[where & (self.status == outcome)]).size) for outcome in (0, 1))


def edges_of(rows: Judgeable, threshold: float, fewest: int) -> np.ndarray:
    """The edges of the groups, from 0 to 1, f64 (g + 1,).

    From the left, bins are joined until a group holds enough; what is left at the right end joins the last group. The threshold stays an edge
    wherever both of its sides hold enough.

    Args:
        rows: with enough people in all.
        threshold: of the decision, in (0, 1).
        fewest: people with, and people without the event, that a group needs.

    Source: ours.
    """
    bins = np.union1d(BINS, [threshold])
    above = rows.risk >= threshold
    if min(rows.fewest(above), rows.fewest(~above)) < fewest:
        return _joined(rows, bins, fewest)
    below = _joined(rows, bins[bins <= threshold], fewest)
    return np.concatenate([below[:-1], _joined(rows, bins[bins >= threshold], fewest)])


def _joined(rows: Judgeable, bins: np.ndarray, fewest: int) -> np.ndarray:
    edges = [bins[0]]
    for edge in bins[1:]:
        if rows.fewest(_between(rows.risk, edges[-1], edge)) >= fewest:
            edges.append(edge)
    if edges[-1] < bins[-1]:  # what lies right of the last edge does not suffice alone
        edges = [*edges[: max(len(edges) - 1, 1)], bins[-1]]
    return np.array(edges)


def _between(risk: np.ndarray, low: float, high: float) -> np.ndarray:
    """low <= risk < high; a risk of 1 lies in the last bin. As in net benefit, a risk at the threshold is above it."""
    return (risk >= low) & ((risk < high) | (high >= 1))


def told(rows: Judgeable, edges: np.ndarray, threshold: float, fewest: int) -> bool:
    """Whether net benefit at the threshold would tell, beside the groups, a count of few people on one side of it.

    Net benefit is (events - odds x non-events treated) / n. Where the threshold is no edge, it lies in a group of E events and N non-events, e and m of
    them below it, and all whole numbers with the same ``odds x m - e`` fit: at a threshold of 0.1 one event more goes with nine non-events more. On
    the side of the threshold that is known to be small (else there were an edge) a small count is told where less than half of the values below
    ``fewest`` fit; in the rest of the group where all that fit lie closer than ``fewest``. Weights, and several rows a person, count as told.

    Args:
        rows: that were judged.
        edges: f64 (g + 1,), from `edges_of`.
        threshold: of the decision, in (0, 1).
        fewest: see `edges_of`.

    Source: ours; the width of what remains possible is the measure of Hundepool et al. (2012), section 4.3.
    """
    if threshold in edges:
        return False
    if (rows.weight != 1).any() or np.unique(rows.person).size < rows.person.size:
        return True
    place = int(np.searchsorted(edges, threshold))
    inside = _between(rows.risk, edges[place - 1], edges[place])
    below = inside & (rows.risk < threshold)
    events, others = (int((inside & (rows.status == outcome)).sum()) for outcome in (1, 0))
    e, m = (int((below & (rows.status == outcome)).sum()) for outcome in (1, 0))
    possible = np.arange(events + 1)
    beside = m + (possible - e) * (1 - threshold) / threshold
    fits = (np.abs(beside - np.rint(beside)) < 1e-6) & (beside > -0.5) & (beside < others + 0.5)
    possible, beside = possible[fits], np.rint(beside[fits])
    left, right = ((e, possible), (m, beside)), ((events - e, events - possible), (others - m, others - beside))
    for side, parts in ((rows.risk < threshold, left), (rows.risk >= threshold, right)):
        known_small = rows.fewest(side) < fewest
        for count, values in parts:
            few = np.unique(values[values < fewest]).size
            if count < fewest and (2 * few < fewest if known_small else np.ptp(values) < fewest):
                return True
    return False


def cells(rows: Judgeable, edges: np.ndarray) -> dict[str, list[float]]:
    """Each group's rows, events, sum of weights, mean risk and share of events.

    Args:
        rows: to be counted.
        edges: f64 (g + 1,), from `edges_of`.

    Returns:
        "edges" (g + 1,); "rows", "events", "weight", "risk", "observed" (g,).
    """
    made: dict[str, list[float]] = {"edges": edges.tolist(), "rows": [], "events": [], "weight": [], "risk": [], "observed": []}
    for low, high in pairwise(edges):
        at = _between(rows.risk, low, high)
        made["rows"].append(int(at.sum()))
        made["events"].append(int((rows.status[at] == 1).sum()))
        made["weight"].append(float(rows.weight[at].sum()))
        made["risk"].append(float(np.average(rows.risk[at], weights=rows.weight[at])))
        made["observed"].append(float(np.average(rows.status[at], weights=rows.weight[at])))
    return made


def decision(rows: Judgeable, edges: np.ndarray) -> dict[str, list[float]]:
    """Net benefit at the inner edges of the groups with its standard error, summed within clusters; weights are taken as known.

    Args:
        rows: to be judged.
        edges: f64 (g + 1,), from `edges_of`.

    Returns:
        "threshold", "net_benefit", "se", "treat_all" (g - 1,).

    Source: Vickers and Elkin (2006), eq. 1; the error of a weighted mean from its influence function.
    """
    thresholds = edges[1:-1]
    gain = net_benefit_of_rows(rows.risk, rows.status, thresholds)
    every = net_benefit_of_rows(np.ones(rows.risk.size), rows.status, thresholds)
    value = weighted_mean(gain, rows.weight)
    code = np.unique(rows.cluster, return_inverse=True)[1]
    n = int(code.max()) + 1
    influence = np.zeros((n, thresholds.size))
    np.add.at(influence, code, rows.weight[:, None] * (gain - value) / rows.weight.sum())
    se = np.sqrt(n / max(n - 1, 1) * (influence**2).sum(0))
    return {"threshold": thresholds.tolist(), "net_benefit": value.tolist(), "se": se.tolist(), "treat_all": weighted_mean(every, rows.weight).tolist()}

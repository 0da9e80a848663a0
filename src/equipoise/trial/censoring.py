"""How censored and late rows of a time to event are stood for: the protocol's model of censoring, and what has to be said of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.ipcw import Known
from equipoise.stats.observation import inverse_observation, status_at
from equipoise.stats.survival import censoring_survival
from equipoise.trial.sample import Sample


def judged_at_horizon(s: Sample, w: np.ndarray) -> tuple[Sample, np.ndarray]:
    """The rows that endpoints at a horizon read, and their weights: all, or without those that entered late (`Protocol.late_entry`)."""
    whole = s.entry <= 0
    if s.protocol.late_entry == "weight" or whole.all():
        return s, w
    at = np.flatnonzero(whole)
    return s.take(at), w[..., at]


def status_of(s: Sample, w: np.ndarray, horizon: float) -> Known:
    """Status of these rows at a horizon under weights f64 (..., n), as the protocol models censoring."""
    largest = s.protocol.censoring_truncation
    return status_at(s.time, s.event, horizon, largest_weight=largest, entry=s.entry, weight=w, stratum=stratum_of(s))


def known_of(s: Sample, horizon: float) -> tuple[Sample, Known]:
    """The rows that endpoints at a horizon read and their status there, under the analysis weights."""
    s, w = judged_at_horizon(s, s.weight)
    return s, status_of(s, w, horizon)


def stratum_of(s: Sample) -> np.ndarray | None:
    """Within what censoring is modelled, i64 (n,); None: all rows together."""
    return s.site_number if s.protocol.censoring == "by_site" else None


@dataclass(frozen=True)
class Followed:
    """How well the rows are followed to a horizon.

    Args:
        cut: how many rows' weights were cut to the largest allowed.
        smallest: the smallest P(not censored before the horizon) of any stratum.
        short: share of rows in strata where it is below the protocol's minimum.
    """

    cut: int
    smallest: float
    short: float


def followed_to(s: Sample, horizon: float) -> Followed:
    """How well the judged rows of a sample are followed to a horizon."""
    s, w = judged_at_horizon(s, s.weight)
    if not s.size or not w.sum() > 0:
        return Followed(0, 0.0, 1.0)
    known = ((s.event != 0) & (s.time <= horizon)) | (s.time >= horizon)
    inverse = inverse_observation(s.time, s.event, np.minimum(s.time, horizon), entry=s.entry, weight=w, stratum=stratum_of(s))
    cut = int((known & (inverse > s.protocol.censoring_truncation)).sum())
    codes = s.site_number if s.protocol.censoring == "by_site" else np.zeros(s.size, dtype=np.int64)
    kept = np.empty(s.size)
    for stratum in np.unique(codes):
        own = codes == stratum
        kept[own] = censoring_survival(s.time[own], s.event[own], s.entry[own], w[own]).before(np.array([horizon]))[0]
    return Followed(cut, float(kept.min()), float(np.average(kept < s.protocol.minimum_censoring_survival, weights=w)))


def competing_note(s: Sample) -> str:
    """Said beside every number of a time to event: that competing events were declared censored."""
    declared = "trial.competing=censor: competing events count as censored, as if nobody died of anything else"
    return declared if s.protocol.competing == "censor" else ""


def late_note(s: Sample) -> str:
    """What became of rows with a late entry."""
    late = int((s.entry > 0).sum())
    if not late:
        return ""
    if s.protocol.late_entry == "exclude":
        return f"{late} rows with a late entry were left out"
    return f"{late} rows with a late entry: weighted by one over P(under observation), which takes entry to be independent of risk and event"


def weight_note(s: Sample, horizon: float) -> str:
    """The model of censoring, the smallest G at the horizon and how many weights were cut."""
    if not s.size or not (s.event == 0).any():
        return ""
    found = followed_to(s, horizon)
    within = " within sites" if s.protocol.censoring == "by_site" else ""
    text = f"censoring by Kaplan-Meier{within}, smallest G at the horizon {found.smallest:.2f}"
    return f"{text}, {found.cut} weights cut to {s.protocol.censoring_truncation:g}" if found.cut else text


def joined(*notes: str) -> str:
    """Notes in one line, empty ones left out."""
    return "; ".join(n for n in notes if n)

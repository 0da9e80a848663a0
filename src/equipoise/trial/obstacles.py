"""Counts of the evaluated rows, and what stands in the way of a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from equipoise.contract.tables import SCENARIO_ALL
from equipoise.trial.censoring import followed_to, known_of
from equipoise.trial.compare import number
from equipoise.trial.effect_at_horizon import unfollowed
from equipoise.trial.endpoints import primary_horizon
from equipoise.trial.judged import Arm, Judged


@dataclass(frozen=True)
class Counts:
    """How many.

    Args:
        rows: judged rows, each subject and time once.
        clusters: of them.
        events: with the event (by the horizon); None for an outcome without one.
        non_events: known to be without it; None likewise.
        prevalence: weighted share of events; None likewise.
        abstained: rows with an outcome for which the model gave no prediction.
        outcome_missing: rows without an observed outcome.
        folds: of one repeat.
        repeats: of the cross-validation.
    """

    rows: int
    clusters: int
    events: int | None
    non_events: int | None
    prevalence: float | None
    abstained: int
    outcome_missing: int
    folds: int
    repeats: int

    def as_dict(self) -> dict[str, Any]:
        kept = ("rows", "clusters", "events", "abstained", "outcome_missing", "folds", "repeats")
        return {k: getattr(self, k) for k in kept}


def counts_of(judged: Judged, own: Arm, horizon_days: float | None) -> Counts:
    """Counts of the model's rows; those of a cross-validation are of the first repeat, where every row stands once."""
    rows = judged.rows
    first = rows.repeat == rows.repeat.min(initial=0) if rows.size else np.zeros(0, dtype=bool)
    sample = judged.sample(own, judged.usable(own))
    once = np.unique(sample.subject, return_index=True)[1]
    alone = sample.take(once)
    events = non_events = prevalence = None
    if rows.kind == "binary":
        events, non_events = int((alone.y == 1).sum()), int((alone.y == 0).sum())
        prevalence = number(float(np.average(alone.y, weights=alone.weight))) if alone.weight.sum() > 0 else None
    elif rows.kind == "time_to_event" and horizon_days is not None:
        if alone.size:
            _, known = known_of(alone, horizon_days)
            seen = known.weight > 0
            events, non_events = int(((known.status == 1) & seen).sum()), int(((known.status == 0) & seen).sum())
            prevalence = number(float(np.average(known.status, weights=known.weight))) if known.weight.sum() > 0 else None
        else:
            events, non_events = 0, 0
    silent = ~rows.forecasts[own].given
    filled = judged.protocol.abstain == "base_rate"
    abstained = rows.forecasts[own].n_abstained if filled else int((silent & rows.observed & first).sum())
    return Counts(
        rows=alone.size,
        clusters=int(np.unique(alone.cluster).size),
        events=events,
        non_events=non_events,
        prevalence=prevalence,
        abstained=abstained,
        outcome_missing=int((rows.missing & first).sum()),
        folds=int(np.unique(sample.fold[sample.repeat == sample.repeat.min()]).size) if sample.size else 0,
        repeats=int(np.unique(sample.repeat).size),
    )


def _unfollowed(judged: Judged, own: Arm) -> list[str]:
    """Whether too few rows are followed to the horizon of a time to event for weights to stand for the rest."""
    protocol, rows = judged.protocol, judged.rows
    if rows.kind == "treatment_effect":
        return unfollowed(rows, protocol)
    if rows.kind != "time_to_event":
        return []
    horizon = primary_horizon(protocol, rows.horizons_days)
    followed = followed_to(judged.sample(own, judged.usable(own)), horizon)
    if followed.short <= protocol.max_missing:
        return []
    fewest = f"{followed.smallest:.3g} would still be followed, the protocol asks for at least {protocol.minimum_censoring_survival:g}"
    where = f"for {followed.short:.0%} of the rows, by site" if protocol.censoring == "by_site" else "of the rows"
    return [f"at {horizon:g} days the censoring leaves too few: a share of {fewest} ({where})"]


def obstacles_to(judged: Judged, own: Arm, required: Sequence[str], counts: Counts, role: str, refused: Mapping[str, str]) -> list[str]:
    """Why there can be no verdict, one sentence each; empty when there can be. ``refused``: comparator -> why it was not run though it could answer."""
    protocol, rows = judged.protocol, judged.rows
    found = []
    if role == "select":
        found.append("these are select rows: tuning metrics, no verdict")
    if not counts.rows:
        return [*found, "no row has both an outcome and a prediction"]
    fewest = [n for n in (counts.events, counts.non_events) if n is not None] or [counts.rows]
    if min(fewest) < protocol.min_events:
        what = f"{counts.events} events and {counts.non_events} non-events" if counts.events is not None else f"{counts.rows} rows"
        found.append(f"there are {what}, the protocol asks for at least {protocol.min_events}" + (" of each" if counts.events is not None else ""))
    if rows.kind == "multiclass" and (judged.sample(own, judged.usable(own)).outcome.sum(0) > 0).sum() < 2:
        found.append("one class only occurs in the evaluated rows")
    if rows.kind == "treatment_effect" and np.unique(judged.sample(own, judged.usable(own)).treatment).size < 2:
        found.append("one arm of the treatment only occurs in the evaluated rows")
    found += _unfollowed(judged, own)
    there = {arm[0] for arm in rows.forecasts if arm[1] == SCENARIO_ALL}
    for c in required:
        if c not in there:
            found.append(f"the required comparator {c} {f'was refused: {refused[c]}' if c in refused else 'is not among the predictions'}")
    if protocol.abstain == "exclude":
        for name in (own[0], *(c for c in required if c in there)):
            given = rows.forecasts[(name, SCENARIO_ALL)].given[rows.observed]
            missing = 1 - given.mean()
            if missing > protocol.max_missing:
                found.append(f"{name} gives no prediction for {missing:.1%} of the rows, the protocol allows {protocol.max_missing:.1%}")
    return found

"""Would it help to refer the least certain rows? Loss of the rows that are kept, and net benefit when somebody else decides the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from equipoise.contract.tables import SCENARIO_ALL
from equipoise.stats.bootstrap import percentile_interval, pointwise_band
from equipoise.stats.estimate import Estimate
from equipoise.stats.net_benefit import net_benefit, net_benefit_of_rows
from equipoise.stats.referral import area_under, net_benefit_with_referral, risk_coverage
from equipoise.stats.scores import crps_normal, log_score, multiclass_log_score
from equipoise.trial.compare import number, numbers
from equipoise.trial.judged import Arm, Judged
from equipoise.trial.sample import Sample

SHARES = np.linspace(0.0, 0.9, 19)
TREAT_ALL = "treat all"
OF_CHOICE = "the comparator with the highest net benefit on these rows: the interval does not know that it was chosen"

FEWEST, CELLS = 100, 2_000_000
"""Rows are sorted anew in each resample, so a table of more than 2,000 rows gets fewer of them: rows times resamples stay at this, but for so many."""

Of = Callable[[np.ndarray], np.ndarray]
"""A curve f64 (b, k) from multiplicities f64 (b, n) of all rows."""


@dataclass(frozen=True)
class Way:
    """Who decides a referred row.

    Args:
        to: their name.
        cost: of one referral, in true positives.
        note: what must be said beside it.
        where: bool (n,), rows on which both decide.
        instead: f64 (rows there,), what their decision adds to net benefit.
    """

    to: str
    cost: float
    note: str
    where: np.ndarray
    instead: np.ndarray

    def benefit(self, judged: Judged, own: Arm, uncertainty: np.ndarray, shares: np.ndarray) -> Of:
        """Net benefit at each share referred."""
        sample, at = judged.sample(own, self.where), np.flatnonzero(self.where)
        mine = net_benefit_of_rows(sample.p, sample.y, judged.protocol.threshold)
        return lambda w: net_benefit_with_referral(mine, self.instead, uncertainty[at], shares, self.cost, w[:, at] * sample.weight)


def referral_of(judged: Judged, own: Arm, against: Sequence[str]) -> dict[str, Any]:
    """{"loss", "curves", "net_benefit"}: by measure of uncertainty (epistemic, total, width) the risk-coverage curve and, for a binary outcome, net benefit.

    The loss is the log score of an event or class, the CRPS of a continuous outcome (its squared error where no variance is stated). The referred rows
    are those with the largest uncertainty; at most so many that ``min_cell`` rows are kept. Bands are pointwise, from the first of the shared
    resamples, 1,000 for 2,000 rows and at least 100; rows are ranked anew in each.

    Net benefit (binary outcome) is at the protocol's threshold; a referred row is decided by the best required comparator, or, where ``referral_cost``
    is declared, treated at this cost.

    Args:
        judged: estimates.
        own: the model.
        against: required comparators.

    Returns:
        {} where no uncertainty was stated, or no loss belongs to a single row (time to event, treatment effect).
    """
    where = judged.usable(own)
    sample = judged.sample(own, where)
    found = _loss(sample) if sample.size >= 2 * judged.protocol.min_cell else None
    measures = _measures(judged, own, where)
    if found is None or not measures:
        return {}
    name, loss = found
    shares = SHARES[(1 - SHARES) * sample.size >= judged.protocol.min_cell]
    at, ways = np.flatnonzero(where), _ways(judged, own, against) if sample.kind == "binary" else []
    asked: dict[tuple[str, str], Of] = {}
    for measure, uncertainty in measures.items():
        asked[measure, ""] = partial(_loss_at, loss, uncertainty[at], shares, at, sample.weight)
        asked |= {(measure, way.to): way.benefit(judged, own, uncertainty, shares) for way in ways}
    drawn = _one_pass(judged, asked)
    made: dict[str, Any] = {"loss": name, "curves": {m: _loss_curve(judged, *drawn[m, ""], shares, sample) for m in measures}}
    if ways:
        told = {way.to: {"to": way.to, "cost": way.cost, "note": way.note} for way in ways}
        made["net_benefit"] = {m: [told[way.to] | _benefit_curve(judged, *drawn[m, way.to], shares) for way in ways] for m in measures}
    return made


def _loss_at(loss: np.ndarray, uncertainty: np.ndarray, shares: np.ndarray, at: np.ndarray, own: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The risk-coverage curve under weights f64 (..., n) of all rows."""
    return risk_coverage(loss, uncertainty, shares, weight[:, at] * own)


def _loss(s: Sample) -> tuple[str, np.ndarray] | None:
    match s.kind:
        case "binary":
            return "log_score", log_score(s.p, s.y)
        case "multiclass":
            return "log_score", multiclass_log_score(s.risk, s.outcome)
        case "continuous":
            stated = bool(np.isfinite(s.total).all())
            return ("crps", crps_normal(s.p, s.sd, s.y)) if stated else ("squared_error", (s.y - s.p) ** 2)
        case _:
            return None


def _measures(judged: Judged, own: Arm, where: np.ndarray) -> dict[str, np.ndarray]:
    """By name, f64 (n,) of all rows, those that are stated for every row and differ; means over the labels of a multiclass outcome."""
    f = judged.rows.forecasts[own]
    every = {"epistemic": f.epistemic, "total": f.total, "width": f.hi - f.lo}
    means = {name: value.mean(axis=1) for name, value in every.items()}
    return {name: u for name, u in means.items() if where.any() and np.isfinite(u[where]).all() and np.ptp(u[where]) > 0}


def _ways(judged: Judged, own: Arm, against: Sequence[str]) -> list[Way]:
    """By whom a referred row may be decided."""
    protocol, made = judged.protocol, []
    present = [(c, SCENARIO_ALL) for c in against if (c, SCENARIO_ALL) in judged.rows.forecasts]
    if present:
        best = max(present, key=lambda c: _benefit(judged.sample(c, judged.both(own, c)), protocol.threshold))
        where = judged.both(own, best)
        other = judged.sample(best, where)
        if other.size >= 2 * protocol.min_cell:
            made.append(Way(best[0], 0.0, OF_CHOICE if len(present) > 1 else "", where, net_benefit_of_rows(other.p, other.y, protocol.threshold)))
    if protocol.referral_cost is not None:
        where = judged.usable(own)
        y = judged.sample(own, where).y
        made.append(Way(TREAT_ALL, protocol.referral_cost, "", where, net_benefit_of_rows(np.ones(y.size), y, protocol.threshold)))
    return made


def _benefit(s: Sample, threshold: float) -> float:
    return float(net_benefit(s.p, s.y, threshold, s.weight)) if s.size else -np.inf


def _one_pass(judged: Judged, asked: Mapping[tuple[str, str], Of]) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Each curve f64 (k,) on the rows themselves, and in each resample f64 (R, k); large tables get fewer resamples, and the methods say how many."""
    n = judged.rows.size
    most, collected = max(FEWEST, CELLS // n), {key: [of(np.ones((1, n)))] for key, of in asked.items()}
    done = 0
    for block in judged.bootstrap().blocks():
        for key, of in asked.items():
            collected[key].append(of(block[: most - done]))
        done += block.shape[0]
        if done >= most:
            break
    return {key: (parts[0][0], np.concatenate(parts[1:])) for key, parts in collected.items()}


def _loss_curve(judged: Judged, curve: np.ndarray, draws: np.ndarray, shares: np.ndarray, sample: Sample) -> dict[str, Any]:
    lo, hi = pointwise_band(draws, judged.protocol.level)
    area = _estimate(judged, area_under(curve, shares), area_under(draws, shares), sample)
    excess = _estimate(judged, area_under(curve, shares) - curve[0], area_under(draws, shares) - draws[:, 0], sample)
    return {"referred": shares.tolist(), "loss": numbers(curve), "lo": numbers(lo), "hi": numbers(hi), "area": area, "excess": excess}


def _benefit_curve(judged: Judged, curve: np.ndarray, draws: np.ndarray, shares: np.ndarray) -> dict[str, Any]:
    """Net benefit at each share referred, and its difference from referring nobody, with pointwise bands."""
    (lo, hi), (low, high) = pointwise_band(draws, judged.protocol.level), pointwise_band(draws - draws[:, :1], judged.protocol.level)
    bands = {"net_benefit": curve, "lo": lo, "hi": hi, "gain": curve - curve[0], "gain_lo": low, "gain_hi": high}
    # Where the referred rows' decisions are the same, a difference is rounding alone.
    return {"referred": shares.tolist(), **{k: numbers(np.where(np.abs(v) < 1e-12, 0.0, v)) for k, v in bands.items()}}


def _estimate(judged: Judged, value: np.ndarray, draws: np.ndarray, sample: Sample) -> dict[str, Any]:
    found: Estimate = percentile_interval(float(value), draws, judged.protocol.level, sample.n_clusters)
    return {"value": number(found.value), "lo": number(found.lo), "hi": number(found.hi), "method": found.method}

"""Decisions at the threshold, as endpoints: how often an event is caught, a non-event spared, an alert right, and how many are alerted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from equipoise.stats.estimate import Estimate
from equipoise.stats.proportion import wilson_interval
from equipoise.stats.weighting import weighted_mean
from equipoise.trial.endpoint import Better, Endpoint
from equipoise.trial.sample import Sample

CANNOT_ALL_BE_EQUAL = (
    "Where groups differ in how common the outcome is, and the model is not perfect, sensitivity, specificity and positive predictive value cannot all be "
    "equal between them (Kleinberg, Mullainathan and Raghavan 2016; Chouldechova 2017): which of them matters is a choice, not a finding."
)

Part = Callable[[Sample], tuple[np.ndarray, np.ndarray]]
"""Whether each row counts, and whether it belongs to the denominator; both f64 (n,)."""


def alerted(s: Sample) -> np.ndarray:
    """1 where the risk reaches the protocol's threshold, f64 (n,)."""
    return (s.p >= s.protocol.threshold).astype(np.float64)


def proportion_endpoint(name: str, better: Better, part: Part) -> Endpoint:
    """A share of some rows among others, with Wilson's interval where rows are independent and unweighted."""

    def of(s: Sample, w: np.ndarray) -> np.ndarray:
        counts, among = part(s)
        return weighted_mean(counts, w * among)

    def interval(s: Sample, level: float) -> Estimate | None:
        if s.clustered:
            return None
        counts, among = part(s)
        n, k = float(among.sum()), float((counts * among).sum())
        lo, hi = wilson_interval(np.array([k]), np.array([n]), level)
        return Estimate(k / n, float(np.sqrt(k * (n - k) / n**3)), float(lo[0]), float(hi[0]), "Wilson")

    return Endpoint(name, better, of, interval=interval, floor=0.0, ceiling=1.0)


FAIRNESS = (
    proportion_endpoint("sensitivity", "higher", lambda s: (alerted(s), s.y)),
    proportion_endpoint("specificity", "higher", lambda s: (1 - alerted(s), 1 - s.y)),
    proportion_endpoint("ppv", "higher", lambda s: (s.y, alerted(s))),
    proportion_endpoint("selection_rate", "", lambda s: (alerted(s), np.ones(s.size))),
)

"""The calibration curve at a horizon: what is smoothed, and the Aalen-Johansen incidence in groups of risk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import local

import numpy as np

from equipoise.stats.calibration_curve import Bins, calibration_error, curve_distance, smooth
from equipoise.stats.incidence_groups import incidence_groups
from equipoise.stats.pseudo_values import pseudo_values
from equipoise.stats.weighting import ratio
from equipoise.trial.censoring import judged_at_horizon, status_of, stratum_of
from equipoise.trial.sample import Sample


@dataclass(frozen=True)
class Observed:
    """What the smoothed curve reads.

    Args:
        sample: the rows.
        outcome: f64 (n,), pseudo-values, or the status.
        weight: f64 (n,), of the rows: the analysis weight, times that for censoring and late entry where the status is smoothed.
        method: in words.
    """

    sample: Sample
    outcome: np.ndarray
    weight: np.ndarray
    method: str

    def under(self, weight: np.ndarray) -> np.ndarray:
        """Weights f64 (..., n) for the analysis weights times multiplicities of `judged_at_horizon`."""
        return np.nan_to_num(ratio(weight, self.sample.weight)) * self.weight if self.sample.weighted else weight * self.weight


def observed_at(s: Sample, horizon: float) -> Observed:
    """Pseudo-values of the Aalen-Johansen incidence; with late entries in use, for which these are biased, the weighted status."""
    s, w = judged_at_horizon(s, s.weight)
    if (s.entry > 0).any():
        known = status_of(s, w, horizon)
        return Observed(s, known.status, known.weight, "of the status, weighted for censoring and late entry")
    pseudo = pseudo_values(s.time, s.event, horizon, w, stratum_of(s))
    return Observed(s, pseudo, w, "of Aalen-Johansen pseudo-values")


def groups_at(s: Sample, horizon: float, i: int) -> Bins:
    """Tenths of predicted risk with their Aalen-Johansen incidence, late entries counted from their entry on."""
    risk, cell = s.risk[:, i], s.protocol.min_cell
    return incidence_groups(risk, s.time, s.event, horizon, s.protocol.level, entry=s.entry, cluster=s.cluster, weight=s.weight, fewest=cell)


def calibration_errors(horizon: float, i: int) -> tuple[Callable[[Sample, np.ndarray, str], np.ndarray], Callable[[Sample, np.ndarray], np.ndarray]]:
    """The functions behind ICI, E50 and E90 at a horizon: (sample, weights f64 (..., n), part) -> f64 (...,), and the distance of resampled curves."""
    last = local()

    def seen(s: Sample) -> tuple[Observed, np.ndarray]:
        """Pseudo-values and the sample's own curve depend on no resample: each thread keeps those of its last sample."""
        if getattr(last, "sample", None) is not s:
            o = observed_at(s, horizon)
            p = o.sample.risk[:, i]
            own = smooth(p, o.outcome, p, o.weight).observed if o.sample.size else np.empty(0)
            last.sample, last.observed, last.own = s, o, own
        return last.observed, last.own

    def weights(s: Sample, w: np.ndarray, o: Observed) -> np.ndarray:
        return o.under(judged_at_horizon(s, w)[1])

    def error(s: Sample, w: np.ndarray, part: str) -> np.ndarray:
        o, _ = seen(s)
        p = o.sample.risk[:, i]
        return _each(weights(s, w, o), lambda weight: float(getattr(calibration_error(p, o.outcome, weight), part)))

    def distance(s: Sample, w: np.ndarray) -> np.ndarray:
        o, own = seen(s)
        return _each(weights(s, w, o), lambda weight: curve_distance(o.sample.risk[:, i], o.outcome, weight, own))

    return error, distance


def _each(weight: np.ndarray, f: Callable[[np.ndarray], float]) -> np.ndarray:
    flat = weight.reshape(-1, weight.shape[-1])
    return np.array([f(row) if row.any() else np.nan for row in flat]).reshape(weight.shape[:-1])

"""Endpoints of a time to event: the risk of cause 1 by each horizon, other causes competing, weighted for censoring."""

from __future__ import annotations

from collections.abc import Callable
from threading import local

import numpy as np

from equipoise.stats.concordance import harrell_c, uno_c
from equipoise.stats.ipcw import Known, brier_of_known, known_at
from equipoise.stats.net_benefit import net_benefit
from equipoise.stats.recalibration import calibration_slope
from equipoise.stats.roc import auroc
from equipoise.stats.survival import aalen_johansen
from equipoise.stats.weighting import ratio, weighted_mean
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.sample import Sample


def at_horizons(horizons_days: tuple[float, ...]) -> tuple[Endpoint, ...]:
    """Endpoints ``<name>@h=<days>`` for each horizon, and Harrell's C of the risk by the longest, which knows no horizon."""
    every = [e for i, h in enumerate(horizons_days) for e in _at(h, i)]
    longest = len(horizons_days) - 1
    harrell = Endpoint(
        "harrell_c",
        "higher",
        lambda s, w: harrell_c(s.risk[:, longest], s.time, s.event, s.entry, w),
        "within_fold",
        floor=0.0,
        ceiling=1.0,
        note=lambda s: "of the risk by the longest horizon; its value depends on the censoring",
    )
    return (*every, harrell)


def _at(horizon: float, i: int) -> list[Endpoint]:
    last = local()

    def known_for(s: Sample, w: np.ndarray) -> tuple[Sample, Known]:
        """Several endpoints and arms ask one after the other for the same rows and weights: each thread keeps its last answer."""
        if getattr(last, "weight", None) is not w or not all(np.array_equal(getattr(last.rows, x), getattr(s, x)) for x in ("time", "event", "entry")):
            whole, weight = from_start(s, w)
            last.rows, last.weight, last.known = s, w, known_at(whole.time, whole.event, horizon, weight)
        return from_start(s, w)[0], last.known

    def on_known(f: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Sample, np.ndarray], np.ndarray]:
        """An endpoint of a binary outcome, of the status at the horizon, weighted for censoring."""

        def of(s: Sample, w: np.ndarray) -> np.ndarray:
            s, known = known_for(s, w)
            return f(s.risk[:, i], known.status, known.weight)

        return of

    def brier(s: Sample, w: np.ndarray) -> np.ndarray:
        whole, known = known_for(s, w)
        return brier_of_known(whole.risk[:, i], known, from_start(s, w)[1])

    def uno(s: Sample, w: np.ndarray) -> np.ndarray:
        s, w = from_start(s, w)
        return uno_c(s.risk[:, i], s.time, s.event, horizon, w)

    def observed_expected(s: Sample, w: np.ndarray) -> np.ndarray:
        observed = aalen_johansen(s.time, s.event, 1, s.entry, w).at(np.array([horizon]))[..., 0]
        return ratio(observed, weighted_mean(s.risk[:, i], w))

    def benefit(s: Sample, w: np.ndarray) -> np.ndarray:
        return on_known(lambda p, y, weight: net_benefit(p, y, s.protocol.threshold, weight))(s, w)

    at = f"@h={horizon:g}"
    return [
        Endpoint(f"ipcw_brier{at}", "lower", brier, note=_late),
        Endpoint(f"auroc{at}", "higher", on_known(auroc), "within_fold", floor=0.0, ceiling=1.0, note=_controls),
        Endpoint(f"uno_c{at}", "higher", uno, "within_fold", floor=0.0, ceiling=1.0, note=_late),
        Endpoint(f"observed_expected{at}", "one", observed_expected),
        Endpoint(f"calibration_slope{at}", "one", on_known(calibration_slope), note=_late),
        Endpoint(f"net_benefit{at}", "higher", benefit, note=_late),
    ]


def from_start(s: Sample, w: np.ndarray) -> tuple[Sample, np.ndarray]:
    """The rows followed from time zero: who entered late had survived until then, and weights for censoring do not undo that."""
    whole = s.entry <= 0
    if whole.all():
        return s, w
    at = np.flatnonzero(whole)
    return s.take(at), w[..., at]


def known_of(s: Sample, horizon: float) -> tuple[Sample, Known]:
    """The rows followed from time zero and their status at a horizon, under the analysis weights."""
    s, w = from_start(s, s.weight)
    return s, known_at(s.time, s.event, horizon, w)


def _late(s: Sample) -> str:
    late = int((s.entry > 0).sum())
    return f"{late} rows with a late entry were left out" if late else ""


def _controls(s: Sample) -> str:
    text = "cumulative/dynamic: cases had the event by the horizon, controls had not"
    text += " (a competing event makes a control)" if (s.event > 1).any() else ""
    return f"{text}; {_late(s)}" if _late(s) else text

"""Endpoints of a time to event: the risk of cause 1 by each horizon, other causes competing, weighted for censoring."""

from __future__ import annotations

from collections.abc import Callable
from threading import local

import numpy as np

from equipoise.stats.antolini import antolini_c
from equipoise.stats.concordance import harrell_c, uno_c
from equipoise.stats.integrated_brier import integrated, marginal_brier, scaled
from equipoise.stats.ipcw import Known, brier_of_known
from equipoise.stats.net_benefit import net_benefit
from equipoise.stats.observation import incidence
from equipoise.stats.recalibration import calibration_slope
from equipoise.stats.roc import auroc
from equipoise.stats.weighting import ratio, weighted_mean
from equipoise.trial.calibration_at_horizon import calibration_errors
from equipoise.trial.censoring import competing_note, joined, judged_at_horizon, late_note, status_of, stratum_of, weight_note
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.sample import Sample

_INFLATED = "no interval: noise alone makes it large, and resampling adds that noise a second time"
CENSORED = "its value depends on the censoring"


def at_horizons(horizons_days: tuple[float, ...]) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
    """Endpoints ``<name>@h=<days>`` for each horizon, then those over all horizons; and further ones that are not reported by default."""
    each = [_AtHorizon(h, i) for i, h in enumerate(horizons_days)]
    usual = [endpoint for one in each for endpoint in one.usual()]
    extra = [endpoint for one in each for endpoint in one.extra()]
    return (*usual, _harrell(len(horizons_days) - 1), *(_over(each) if len(each) > 1 else ())), tuple(extra)


class _AtHorizon:
    """Endpoints of the risk by one horizon."""

    def __init__(self, horizon: float, i: int) -> None:
        self.horizon, self.i = horizon, i
        self._last = local()

    def usual(self) -> list[Endpoint]:
        at = f"@h={self.horizon:g}"
        error, distance = calibration_errors(self.horizon, self.i)
        return [
            Endpoint(f"ipcw_brier{at}", "lower", self.brier, note=self._weighted),
            Endpoint(f"scaled_brier{at}", "higher", lambda s, w: scaled(self.brier(s, w), self.marginal(s, w)), note=self._scaled_note),
            Endpoint(f"td_auc{at}", "higher", self._on_known(auroc), "within_fold", floor=0.0, ceiling=1.0, note=self._controls),
            Endpoint(f"uno_c{at}", "higher", self._uno, "within_fold", floor=0.0, ceiling=1.0, note=_uno_note),
            Endpoint(f"observed_expected{at}", "one", self._observed_expected, note=self._expected_note),
            Endpoint(f"calibration_slope{at}", "one", self._on_known(calibration_slope), note=self._weighted),
            Endpoint(f"ici{at}", "lower", lambda s, w: error(s, w, "ici"), smoothed=True, floor=0.0, distance=distance, note=_curve_note),
            Endpoint(f"net_benefit{at}", "higher", self._benefit, note=self._weighted),
        ]

    def extra(self) -> list[Endpoint]:
        at = f"@h={self.horizon:g}"
        error, _ = calibration_errors(self.horizon, self.i)
        return [
            Endpoint(f"td_auc_event_free{at}", "higher", self._event_free, "within_fold", floor=0.0, ceiling=1.0, note=self._free_note),
            Endpoint(f"e50{at}", "lower", lambda s, w: error(s, w, "e50"), floor=0.0, no_interval=_INFLATED, note=_curve_note),
            Endpoint(f"e90{at}", "lower", lambda s, w: error(s, w, "e90"), floor=0.0, no_interval=_INFLATED, note=_curve_note),
        ]

    def known(self, s: Sample, w: np.ndarray) -> tuple[Sample, np.ndarray, Known]:
        """Several endpoints and arms ask one after the other for the same rows and weights: each thread keeps its last answer."""
        last, judged = self._last, judged_at_horizon(s, w)
        if getattr(last, "asked", None) is not w or not all(np.array_equal(getattr(last.rows, x), getattr(s, x)) for x in ("time", "event", "entry", "site")):
            last.rows, last.asked, last.weight = s, w, judged[1]
            last.known, last.share = status_of(judged[0], judged[1], self.horizon), None
        return judged[0], last.weight, last.known

    def brier(self, s: Sample, w: np.ndarray) -> np.ndarray:
        judged, weight, known = self.known(s, w)
        return brier_of_known(judged.risk[:, self.i], known, weight)

    def marginal(self, s: Sample, w: np.ndarray) -> np.ndarray:
        """The score of giving everybody the incidence of these rows."""
        judged, weight, known = self.known(s, w)
        return marginal_brier(known, self._incidence(judged, weight), weight)

    def _incidence(self, judged: Sample, weight: np.ndarray) -> np.ndarray:
        """Of the rows that `known` was asked for last."""
        if self._last.share is None:
            self._last.share = incidence(judged.time, judged.event, self.horizon, entry=judged.entry, weight=weight, stratum=stratum_of(judged))
        return np.asarray(self._last.share)

    def _on_known(self, f: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Sample, np.ndarray], np.ndarray]:
        """An endpoint of a binary outcome, of the status at the horizon, weighted for censoring."""

        def of(s: Sample, w: np.ndarray) -> np.ndarray:
            judged, _, known = self.known(s, w)
            return f(judged.risk[:, self.i], known.status, known.weight)

        return of

    def _event_free(self, s: Sample, w: np.ndarray) -> np.ndarray:
        judged, _, known = self.known(s, w)
        free = ~((judged.event > 1) & (judged.time <= self.horizon))
        return auroc(judged.risk[:, self.i], known.status, known.weight * free)

    def _uno(self, s: Sample, w: np.ndarray) -> np.ndarray:
        start = np.flatnonzero(s.entry <= 0)
        return uno_c(s.risk[start, self.i], s.time[start], s.event[start], self.horizon, w[..., start])

    def _observed_expected(self, s: Sample, w: np.ndarray) -> np.ndarray:
        judged, weight, known = self.known(s, w)
        # Late entries are survivors: the mean risk of the rows is not that of the people at time zero, unless weighted as the incidence is.
        expected = weighted_mean(judged.risk[:, self.i], known.weight if (judged.entry > 0).any() else weight)
        return ratio(self._incidence(judged, weight), expected)

    def _benefit(self, s: Sample, w: np.ndarray) -> np.ndarray:
        return self._on_known(lambda p, y, weight: net_benefit(p, y, s.protocol.threshold, weight))(s, w)

    def _weighted(self, s: Sample) -> str:
        return joined(weight_note(s, self.horizon), late_note(s), competing_note(s))

    def _scaled_note(self, s: Sample) -> str:
        return joined("index of prediction accuracy, against the Aalen-Johansen incidence of these rows", self._weighted(s))

    def _controls(self, s: Sample) -> str:
        text = "cumulative/dynamic: cases had the event by the horizon, controls had not"
        text += " (a competing event by the horizon makes a control)" if (s.event > 1).any() else ""
        return joined(text, self._weighted(s))

    def _free_note(self, s: Sample) -> str:
        text = "cumulative/dynamic: cases had the event by the horizon, controls were free of any event then (a competing event makes neither)"
        return joined(text, self._weighted(s))

    def _expected_note(self, s: Sample) -> str:
        return joined("Aalen-Johansen incidence over mean risk", late_note(s), competing_note(s))


def _harrell(longest: int) -> Endpoint:
    return Endpoint(
        "harrell_c",
        "higher",
        lambda s, w: harrell_c(s.risk[:, longest], s.time, s.event, s.entry, w),
        "within_fold",
        floor=0.0,
        ceiling=1.0,
        note=lambda s: joined(f"of the risk by the longest horizon; {CENSORED}", competing_note(s)),
    )


def _over(each: list[_AtHorizon]) -> tuple[Endpoint, ...]:
    """Endpoints over all horizons, of which there are at least two; with one, Antolini's C is Harrell's of events by it, and there is no integral."""
    horizons = np.array([one.horizon for one in each])
    words = ", ".join(f"{h:g}" for h in horizons)

    def score(s: Sample, w: np.ndarray) -> np.ndarray:
        return integrated(np.stack([one.brier(s, w) for one in each], axis=-1), horizons)

    def marginal(s: Sample, w: np.ndarray) -> np.ndarray:
        return integrated(np.stack([one.marginal(s, w) for one in each], axis=-1), horizons)

    def integral_note(s: Sample) -> str:
        return joined(f"by trapezoids over {words} days, divided by their span", late_note(s), competing_note(s))

    def scaled_note(s: Sample) -> str:
        return joined("1 - integral / that of the Aalen-Johansen incidence of these rows", integral_note(s))

    def antolini_note(s: Sample) -> str:
        step = f"risks compared at the time of each event, read as a step: the risk by the first of {words} days at or after it; later events are no cases"
        return joined(step, CENSORED, competing_note(s))

    def antolini(s: Sample, w: np.ndarray) -> np.ndarray:
        return antolini_c(s.risk, horizons, s.time, s.event, s.entry, w)

    return (
        Endpoint("antolini_c", "higher", antolini, "within_fold", floor=0.0, ceiling=1.0, note=antolini_note),
        Endpoint("integrated_brier", "lower", score, note=integral_note),
        Endpoint("integrated_scaled_brier", "higher", lambda s, w: scaled(score(s, w), marginal(s, w)), note=scaled_note),
    )


def _uno_note(s: Sample) -> str:
    late = int((s.entry > 0).sum())
    out = f"{late} rows with a late entry were left out" if late else ""
    return joined("weighted by one Kaplan-Meier of the censoring for all sites" if s.protocol.censoring == "by_site" else "", out, competing_note(s))


def _curve_note(s: Sample) -> str:
    late = s.protocol.late_entry == "weight" and (s.entry > 0).any()
    what = "from a loess curve of the status, weighted for censoring and late entry" if late else "from a loess curve of Aalen-Johansen pseudo-values"
    return joined(what, late_note(s), competing_note(s))

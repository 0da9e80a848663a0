"""A time that the event comes after with a stated probability, from risks at horizons and right-censored times."""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np

from equipoise.conformal import Held, Stated
from equipoise.conformal.by_group import ByGroup
from equipoise.conformal.threshold import share_of_cluster
from equipoise.contract.question import Question
from equipoise.stats.survival import censoring_before


@final
class LowerTimeBound(ByGroup):
    """L(x) = the time at which the predicted risk of cause 1 reaches a risk u, with the largest u that keeps P(event before L) <= 1 - level.

    The share of events before L is estimated by weights 1/G(T-) on those that were seen, G the Kaplan-Meier survival of the censoring in the same
    group: **that takes censoring to be independent of the event, of the risk and of all else within the group**. The rule is conformal risk
    control: sum_j 1/(K + 1) mean_i w_ij 1{event before L} + B/(K + 1) <= 1 - level, B the largest weight. A competing event means that the event
    never comes. Rows that entered late are left out. Risks rise in a straight line from 0 at time 0 through the horizons; no bound lies beyond the
    last one.

    Args:
        level: in (0, 1).
        by: groups with a bound of their own; see `Conformal`.

    Source: Angelopoulos et al. (2024), theorem 1; Robins and Finkelstein (2000) for the weights. Candes, Lei and Ren (2023) for the question.
    """

    kinds = ("time_to_event",)

    def __init__(self, *, level: float, by: str | None) -> None:
        super().__init__(level=level, by=by)
        self._horizons: tuple[float, ...] = ()

    def number(self, question: Question, stated: Stated, outcome: np.ndarray, cluster: np.ndarray) -> float:
        self._horizons = question.horizons_days
        used = np.isfinite(stated.risk).all(axis=1) & (outcome[:, 2] <= 0)
        time, event, cluster = outcome[used, 0], outcome[used, 1].astype(np.int64), cluster[used]
        if not time.size:
            return math.inf
        seen = (event == 1) & (time <= self._horizons[-1])
        weight = np.zeros(time.size)
        weight[seen] = 1 / censoring_before(time, event, time[seen])
        share = share_of_cluster(cluster)
        allowed = 1 - self.level - weight.max(initial=1.0) / (np.unique(cluster).size + 1)
        if allowed < 0:
            return math.inf
        at_event = _risk_at(stated.risk[used][seen], time[seen], self._horizons)
        order = np.argsort(at_event, kind="stable")
        spent = np.cumsum((share * weight)[seen][order])
        # An event at the bound itself does not come before it: u may rise to the first event's risk that would spend too much.
        over = np.flatnonzero(spent > allowed)
        return float(at_event[order][over[0]]) if over.size else 1.0

    def apply(self, stated: Stated, group: np.ndarray) -> Held:
        held = Held.nothing(stated.risk.shape)
        held.time_lo_days[:] = _time_of(stated.risk, self.numbers(group), self._horizons)[:, None]
        return held

    def state(self) -> dict[str, Any]:
        return super().state() | {"horizons_days": list(self._horizons)}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._horizons = tuple(float(h) for h in state["horizons_days"])


def _risk_at(risk: np.ndarray, time: np.ndarray, horizons: tuple[float, ...]) -> np.ndarray:
    """Risk by a time of each row, f64 (n,), from risks at the horizons (n, H)."""
    places = np.array([0.0, *horizons])
    return np.array([np.interp(t, places, [0.0, *row]) for t, row in zip(time, risk, strict=True)])


def _time_of(risk: np.ndarray, wanted: np.ndarray, horizons: tuple[float, ...]) -> np.ndarray:
    """The first time at which a row's risk reaches what is wanted, f64 (n,); the last horizon where it never does, NaN without a risk."""
    places = np.array([0.0, *horizons])
    curve = np.column_stack([np.zeros(len(risk)), risk])
    made = np.full(len(risk), np.nan)
    for i, (row, u) in enumerate(zip(curve, wanted, strict=True)):
        if np.isfinite(row).all() and np.isfinite(u):
            k = int(np.searchsorted(row, u, side="left"))
            if k == 0:
                made[i] = 0.0
            elif k == row.size:
                made[i] = places[-1]
            else:
                made[i] = places[k - 1] + (u - row[k - 1]) / (row[k] - row[k - 1]) * (places[k] - places[k - 1])
    return made

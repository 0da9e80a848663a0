"""Adaptive prediction sets: as many classes, from the likeliest on, as it takes."""

from __future__ import annotations

from typing import final

import numpy as np

from equipoise.conformal import Held, Stated
from equipoise.conformal.by_group import ByScore


@final
class AdaptiveSets(ByScore):
    """Score: the probability of all classes likelier than the outcome's, + penalty x max(0, rank - free) (RAPS); the set holds what scores at most t.

    Without the usual randomisation (its u is 0), so that a set is a function of its row alone: the likeliest class scores 0 and is always in, and a
    model that errs less often than 1 - level gets sets of one class that cover more than they promise. For a binary outcome the classes are event
    and no event: a set that holds both says that the model cannot tell.

    Args:
        level: in (0, 1).
        by: groups with a threshold of their own; see `Conformal`.
        penalty: >= 0 a class beyond ``free``; 0: APS.
        free: classes that cost nothing, >= 0.

    Source: Romano, Sesia and Candes (2020); Angelopoulos et al. (2021), eq. 4.
    """

    kinds = ("binary", "multiclass")

    def __init__(self, *, level: float, by: str | None, penalty: float, free: int) -> None:
        super().__init__(level=level, by=by)
        self._penalty, self._free = float(penalty), int(free)

    def score(self, stated: Stated, outcome: np.ndarray) -> np.ndarray:
        scores, place = self._scores(stated.risk), np.asarray(outcome, dtype=np.int64)
        return np.where(place < 0, np.nan, scores[np.arange(place.size), np.maximum(place, 0)])

    def apply(self, stated: Stated, group: np.ndarray) -> Held:
        scores, by = self._scores(stated.risk), self.numbers(group)[:, None]
        told = np.where(np.isfinite(scores) & np.isfinite(by), (scores <= by).astype(np.float64), np.nan)
        held = Held.nothing(stated.risk.shape)
        if stated.risk.shape[1] == 1:
            held.no_event[:, 0], held.event[:, 0] = told.T
        else:
            held.event[:] = told
        return held

    def _scores(self, risk: np.ndarray) -> np.ndarray:
        """Each class's score, f64 (n, C); of a single risk for no event and event. NaN where the row has none."""
        p = np.column_stack([1 - risk[:, 0], risk[:, 0]]) if risk.shape[1] == 1 else risk
        order = np.argsort(-p, axis=1, kind="stable")
        ordered = np.take_along_axis(p, order, axis=1)
        likelier = np.cumsum(ordered, axis=1) - ordered
        rank = np.arange(1, p.shape[1] + 1)
        made = np.empty_like(likelier)
        np.put_along_axis(made, order, likelier + self._penalty * np.maximum(rank - self._free, 0), axis=1)
        return np.where(np.isnan(p).any(axis=1, keepdims=True), np.nan, made)

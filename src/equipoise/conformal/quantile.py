"""Conformalised quantile intervals of a continuous outcome: the model's own predictive interval, moved outwards or inwards by a threshold."""

from __future__ import annotations

from typing import final

import numpy as np

from equipoise.conformal import Held, Stated
from equipoise.conformal.by_group import ByScore


@final
class QuantileConformal(ByScore):
    """Score max(lo - y, y - hi); interval [lo - t, hi + t]. A model without an interval of its own gets none.

    Args:
        level: in (0, 1); the model's own interval has this level too.
        by: groups with a threshold of their own; see `Conformal`.

    Source: Romano, Patterson and Candes (2019), section 4.
    """

    kinds = ("continuous",)

    def score(self, stated: Stated, outcome: np.ndarray) -> np.ndarray:
        return np.maximum(stated.lo[:, 0] - outcome, outcome - stated.hi[:, 0])

    def apply(self, stated: Stated, group: np.ndarray) -> Held:
        by = self.numbers(group)
        held = Held.nothing(stated.risk.shape)
        lo, hi = stated.lo[:, 0] - by, stated.hi[:, 0] + by
        # Moved inwards by more than half its width, an interval is its middle.
        middle = (stated.lo[:, 0] + stated.hi[:, 0]) / 2
        held.lo[:, 0], held.hi[:, 0] = np.minimum(lo, middle), np.maximum(hi, middle)
        return held

"""Split conformal intervals of a continuous outcome: the predicted mean -+ a threshold, in units of the predicted spread where there is one."""

from __future__ import annotations

from typing import final

import numpy as np

from equipoise.conformal import Held, Stated
from equipoise.conformal.by_group import ByScore


@final
class SplitConformal(ByScore):
    """Score |y - m| / s with s the predicted standard deviation, or 1 where none is estimated; interval m -+ t s.

    Args:
        level: in (0, 1).
        by: groups with a threshold of their own; see `Conformal`.

    Source: Lei et al. (2018), algorithm 2 and section 5.2 (locally weighted).
    """

    kinds = ("continuous",)

    def score(self, stated: Stated, outcome: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(outcome - stated.risk[:, 0]) / _spread(stated))

    def apply(self, stated: Stated, group: np.ndarray) -> Held:
        half = self.numbers(group) * _spread(stated)
        held = Held.nothing(stated.risk.shape)
        held.lo[:, 0], held.hi[:, 0] = stated.risk[:, 0] - half, stated.risk[:, 0] + half
        return held


def _spread(stated: Stated) -> np.ndarray:
    total = stated.total[:, 0]
    return np.asarray(np.sqrt(np.where(np.isfinite(total) & (total > 0), total, 1.0)))

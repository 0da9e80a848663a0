"""Numbers as normal scores of their ranks among the train values: immune to units, skew and outliers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import ndtri

_MOST_KNOTS = 512  # a finer empirical distribution than this changes no normal score noticeably


@dataclass(frozen=True)
class RankNormal:
    """Per column ``z = Phi^-1(F(x))``, F the train values' distribution at mid-ranks ``(rank - 3/8) / (n + 1/4)``, linear between its knots.

    Args:
        knots: per column f64 (K,), increasing train values; empty for a column without any.
        scores: per column f64 (K,), their normal scores.

    Source: Blom (1958); ties share their mean rank. Values beyond the train range get the extreme scores.
    """

    knots: tuple[np.ndarray, ...]
    scores: tuple[np.ndarray, ...]

    @classmethod
    def fit(cls, columns: Iterable[np.ndarray]) -> RankNormal:
        """Fits each column on its finite train values."""
        pairs = [_fit_column(np.asarray(x, np.float64)) for x in columns]
        return cls(tuple(k for k, _ in pairs), tuple(s for _, s in pairs))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Normal scores f64 (n, F) of (n, F); NaN where ``x`` is NaN or the column is unknown."""
        out = np.full(x.shape, np.nan)
        for f, (knots, scores) in enumerate(zip(self.knots, self.scores, strict=True)):
            if knots.size:
                out[:, f] = np.interp(x[:, f], knots, scores)
        return out

    def state(self) -> dict[str, Any]:
        return {"knots": [torch.from_numpy(k.copy()) for k in self.knots], "scores": [torch.from_numpy(s.copy()) for s in self.scores]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RankNormal:
        return cls(tuple(k.numpy() for k in state["knots"]), tuple(s.numpy() for s in state["scores"]))


def _fit_column(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, counts = np.unique(x, return_counts=True)
    if not values.size:
        return values, values
    middle_rank = np.cumsum(counts) - counts + (counts + 1) / 2
    scores = ndtri((middle_rank - 0.375) / (x.size + 0.25))
    if values.size > _MOST_KNOTS:
        at = np.unique(np.linspace(0, values.size - 1, _MOST_KNOTS).round().astype(np.int64))
        values, scores = values[at], scores[at]
    return values, scores

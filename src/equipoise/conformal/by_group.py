"""What the methods share whose whole state is one number for each group, and those among them that rank rows by a score."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from equipoise.conformal import Conformal, Stated, checked
from equipoise.conformal.threshold import fewest_clusters, threshold
from equipoise.contract.question import Question


class ByGroup(Conformal):
    """One number a group; infinite where the group is too small for one.

    Args:
        level: in (0, 1).
        by: groups with a number of their own; see `Conformal`.
    """

    def __init__(self, *, level: float, by: str | None) -> None:
        self.level, self.by = checked(level, by)
        self._numbers: dict[str, float] = {}

    @abstractmethod
    def number(self, question: Question, stated: Stated, outcome: np.ndarray, cluster: np.ndarray) -> float:
        """The group's number from its rows, all with an outcome; infinity where they are too few."""

    def fit(self, question: Question, stated: Stated, outcome: np.ndarray, observed: np.ndarray, cluster: np.ndarray, group: np.ndarray) -> None:
        self._numbers = {}
        for name in np.unique(group[observed]):
            at = np.flatnonzero(observed & (group == name))
            self._numbers[str(name)] = self.number(question, stated.take(at), outcome[at], cluster[at])
        self.note = self._small()

    def numbers(self, group: np.ndarray) -> np.ndarray:
        """Each row's number, f64 (n,); NaN for a group that was not there, or was too small."""
        made = np.full(group.shape, np.nan)
        for name, value in self._numbers.items():
            if np.isfinite(value):
                made[group == name] = value
        return made

    def state(self) -> dict[str, Any]:
        # Strict JSON has no infinity.
        return {"numbers": {k: v if np.isfinite(v) else None for k, v in self._numbers.items()}, "note": self.note}

    def load_state(self, state: dict[str, Any]) -> None:
        self._numbers = {str(k): np.inf if v is None else float(v) for k, v in state["numbers"].items()}
        self.note = str(state["note"])

    def _small(self) -> str:
        small = sum(not np.isfinite(v) for v in self._numbers.values())
        if not small:
            return ""
        needed = f"at least {fewest_clusters(self.level)} clusters with an outcome"
        return f"{small} of {len(self._numbers)} groups have too few calibrate rows ({needed} are needed), and no interval"


class ByScore(ByGroup):
    """A method with a score of each row's outcome, and a threshold for it."""

    @abstractmethod
    def score(self, stated: Stated, outcome: np.ndarray) -> np.ndarray:
        """How strange each row's outcome is, f64 (n,); NaN where there is no prediction."""

    def number(self, question: Question, stated: Stated, outcome: np.ndarray, cluster: np.ndarray) -> float:
        score = self.score(stated, outcome)
        used = np.isfinite(score)
        return threshold(score[used], cluster[used], self.level)

"""Conformal prediction: intervals and sets that hold the outcome with a stated probability, whatever the model. Plain numpy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from equipoise.contract.errors import UserError
from equipoise.contract.question import Question, TargetKind


@dataclass(frozen=True)
class Stated:
    """What a model says of rows.

    Args:
        risk: f64 (n, L), as reported, in the question's label order; NaN where it abstains.
        total: f64 (n, L), predictive variance of a continuous outcome, squared unit; NaN where it is not estimated.
        lo: f64 (n, L), the model's own predictive interval of a continuous outcome at the conformal level; NaN where there is none.
        hi: likewise.
    """

    risk: np.ndarray
    total: np.ndarray
    lo: np.ndarray
    hi: np.ndarray

    def take(self, at: np.ndarray) -> Stated:
        """These rows."""
        return Stated(self.risk[at], self.total[at], self.lo[at], self.hi[at])


@dataclass(frozen=True)
class Held:
    """What holds the outcome with the stated probability; NaN where nothing is stated (no prediction, an unknown group, too few rows).

    Args:
        lo: f64 (n, L), bounds of a continuous outcome, in its unit.
        hi: likewise.
        event: f64 (n, L), 1 where the set holds the event (this class), 0 where it does not.
        no_event: f64 (n, L), the same for no event; NaN for classes, whose sets are told by ``event`` alone.
        time_lo_days: f64 (n, L), a time that the event of cause 1 comes after, the same for each horizon.
    """

    lo: np.ndarray
    hi: np.ndarray
    event: np.ndarray
    no_event: np.ndarray
    time_lo_days: np.ndarray

    @classmethod
    def nothing(cls, shape: tuple[int, ...]) -> Held:
        """Nothing stated for rows of this shape (n, L)."""
        return cls(*np.full((5, *shape), np.nan))


class Conformal(ABC):
    """Fitted on calibrate rows that took no part in anything else; then the outcome of a new row lies inside with probability >= ``level``.

    The promise is marginal: over draws of calibrate and new clusters that are exchangeable, for a row drawn at random from a new cluster. It is
    not one for this patient. With groups (``by``) it holds within each group (Mondrian).

    Attributes:
        level: in (0, 1).
        by: evidences' presence or a column that names the groups: "" for none, "site", or "missing" (which evidences a row has).
        note: what the report should say, "" nothing; kept in the state.
    """

    kinds: ClassVar[tuple[TargetKind, ...]]
    """Of the questions that it answers; others get no interval."""
    level: float
    by: str
    note: str = ""

    @abstractmethod
    def fit(self, question: Question, stated: Stated, outcome: np.ndarray, observed: np.ndarray, cluster: np.ndarray, group: np.ndarray) -> None:
        """Fits.

        Args:
            question: what the risks answer, of one of ``kinds``.
            stated: of the calibrate rows.
            outcome: as `Calibration.fit` takes it.
            observed: bool (n,).
            cluster: (n,), names or numbers of clusters.
            group: str (n,), one name for all without groups.
        """

    @abstractmethod
    def apply(self, stated: Stated, group: np.ndarray) -> Held:
        """What holds the outcomes of these rows; group as in `fit`."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""


BY = ("", "site", "missing")


def checked(level: float, by: str | None) -> tuple[float, str]:
    """Both words of the config in their type.

    Raises:
        UserError: outside their range.
    """
    if not 0 < float(level) < 1:
        raise UserError("conformal.level has a wrong value", expected="a number in (0, 1)", found=str(level), mend="correct conformal.level")
    if (by or "") not in BY:
        raise UserError("conformal.by has a wrong value", expected="site, missing or null", found=str(by), mend="correct conformal.by")
    return float(level), by or ""

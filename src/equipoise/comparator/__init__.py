"""Comparators: what a statistician or clinician would use instead, on the same rows. No torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from equipoise.cohort.frozen import Cohort
from equipoise.contract.question import Question


@dataclass(frozen=True)
class Forecast:
    """A comparator's prediction.

    Args:
        risk: f64 (n, L) in the question's label order; NaN where it abstains.
        total: f64 (n, L) predictive variance of a continuous outcome, or None where not estimated.
    """

    risk: np.ndarray
    total: np.ndarray | None = None


class Comparator(ABC):
    """One method to be compared with.

    Args:
        name: as written into the predictions table.
        required: whether the verdict asks for a gain over it.
        seed: for whatever is random in it.
    """

    def __init__(self, *, name: str, required: bool, seed: int) -> None:
        self.name, self.required, self.seed = name, required, seed

    def check(self, cohort: Cohort) -> None:  # noqa: B027 - optional: few have a name to check
        """Refuses settings that this cohort cannot have; asked before anything is trained. Most have none.

        Raises:
            UserError: a setting names something that the cohort does not have.
        """

    @abstractmethod
    def applies(self, cohort: Cohort, question: Question) -> str | None:
        """None when it can answer this question on this cohort, else the reason why not, for the report.

        A comparator that does not apply leaves the verdict. One that could answer and will not (for its cost) begins its reason with
        `contract.tables.REFUSED`: if it is required, there is no verdict.

        Raises:
            UserError: see `check`.
        """

    @abstractmethod
    def fit(self, cohort: Cohort, rows: np.ndarray, question: Question) -> None:
        """Fits on train rows, tuning itself by inner splits of these rows that keep clusters whole.

        Args:
            cohort: the cohort.
            rows: i64, cohort rows that it may look at.
            question: what is asked, and the evidences that may be used.
        """

    @abstractmethod
    def predict(self, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str] = frozenset()) -> Forecast:
        """Predicts rows of this or a new cohort, the content of the ``hidden`` evidences taken as absent."""

    def notes(self) -> dict[str, object]:
        """What the report says about the fit: tuned values, number of features; aggregates only."""
        return {}

"""Outcome and propensity on some rows, read at others: each regression by the estimator of least loss in inner folds of its own rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.retargeted import retargeted
from equipoise.comparator import Comparator
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.nuisance.settings import Settings
from equipoise.nuisance.targets import ARMS, TREATED, Outcomes
from equipoise.stats.survival import censoring_survival


@dataclass(frozen=True)
class Read:
    """What the regressions say of m rows, each f64 (m,).

    Args:
        mu0: expected outcome untreated; of a time to event the risk by the horizon.
        mu1: treated.
        propensity: P(treated), inside the clip.
        raw: as estimated.
        outcome: y, or the status at the horizon where it is known.
        weight: one over P(the status is known) where it is, 0 elsewhere; 1 for other outcomes.
        truncated: how many weights were cut.
    """

    mu0: np.ndarray
    mu1: np.ndarray
    propensity: np.ndarray
    raw: np.ndarray
    outcome: np.ndarray
    weight: np.ndarray
    truncated: int


@dataclass(frozen=True)
class Regressions:
    """Fitted on some rows of a cohort.

    Args:
        cohort: with the regressions' targets.
        outcomes: what they are about.
        settings: clip, known propensity, largest weight.
        fitted: the chosen estimator by the name of its target; without `TREATED` where the propensity is known.
        rows: i64, those that they were fitted on.
    """

    cohort: Cohort
    outcomes: Outcomes
    settings: Settings
    fitted: Mapping[str, Comparator]
    rows: np.ndarray

    @classmethod
    def fit(cls, cohort: Cohort, outcomes: Outcomes, evidences: tuple[str, ...], rows: np.ndarray, settings: Settings) -> Self:
        """Fits on these rows, i64, and nothing else.

        Raises:
            UserError: an arm has no row among them, or no estimator can read the evidences.
        """
        rows = rows[outcomes.used[rows]]
        _refuse_empty_arm(outcomes.column("treatment", rows))
        whole = retargeted(cohort, outcomes.further())
        asked = outcomes.questions(evidences)
        if settings.propensity is not None:
            del asked[TREATED]
        return cls(whole, outcomes, settings, {name: best_of(settings.estimators, whole, rows, question) for name, question in asked.items()}, rows)

    def read(self, rows: np.ndarray) -> Read:
        """Reads rows, i64 (m,), that the regressions were not fitted on."""
        mu0, mu1 = (self._of(name, rows) for name in ARMS)
        known = self.settings.propensity
        raw = np.full(len(rows), known) if known is not None else self._of(TREATED, rows)
        clip = 0.0 if known is not None else self.settings.clip
        outcome, weight, truncated = self._status(rows) if self.outcomes.horizon_days is not None else (self._plain(rows), np.ones(len(rows)), 0)
        return Read(mu0, mu1, np.clip(raw, clip, 1 - clip), raw, outcome, weight, truncated)

    def _of(self, name: str, rows: np.ndarray) -> np.ndarray:
        return self.fitted[name].predict(self.cohort, rows).risk[:, 0]

    def _plain(self, rows: np.ndarray) -> np.ndarray:
        return self.outcomes.column("outcome", rows).astype(np.float64)

    def _status(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Status of cause 1 at the horizon, its weight for censoring by Kaplan-Meier of the arm's fitted rows, and how many weights were cut."""
        horizon, largest = float(self.outcomes.horizon_days or 0.0), self.settings.censoring_truncation
        time, event, arm = (self.outcomes.column(name, rows) for name in ("time_days", "event", "treatment"))
        came = (event > 0) & (time <= horizon)
        weight = np.zeros(len(rows))
        for a in (0, 1):
            own = self.rows[self.outcomes.column("treatment", self.rows) == a]
            kept = censoring_survival(
                self.outcomes.column("time_days", own), self.outcomes.column("event", own), weight=self.outcomes.column("weight", own)
            ).before(np.minimum(time, horizon))
            weight = np.where(arm == a, 1 / np.maximum(kept, 1e-12), weight)
        weight *= came | (time >= horizon)
        return (came & (event == 1)).astype(np.float64), np.minimum(weight, largest), int((weight > largest).sum())


def best_of(estimators: Mapping[str, Mapping[str, Any]], cohort: Cohort, rows: np.ndarray, question: Question) -> Comparator:
    """The fitted estimator whose tuned loss in inner folds of these rows is least; an estimator that cannot read the evidences is left out.

    Raises:
        UserError: none can, or one of several says nothing of its loss.
    """
    made: list[Comparator] = [make(node) for node in estimators.values()]
    refused = {c.name: why for c in made if (why := c.applies(cohort, question)) is not None}
    able = [c for c in made if c.name not in refused]
    if not able:
        raise UserError(
            "No estimator of nuisance.estimators can read the evidences of the model",
            found="; ".join(f"{name}: {why}" for name, why in refused.items()),
            mend="add one that can, e.g. with variants or n_components above 0 for genotypes alone",
        )
    for comparator in able:
        comparator.fit(cohort, rows, question)
    return able[0] if len(able) == 1 else min(able, key=_inner_loss)


def _inner_loss(comparator: Comparator) -> float:
    found = comparator.notes().get("inner_loss")
    if not isinstance(found, list | tuple):
        raise UserError(
            f"Estimator {comparator.name} of nuisance.estimators says nothing of its loss in inner folds, by which one of several is chosen",
            expected="linear or boosting, or one estimator alone",
            mend="correct nuisance.estimators",
        )
    return float(np.sum(found))


def _refuse_empty_arm(treatment: np.ndarray) -> None:
    counts = {a: int((treatment == a).sum()) for a in (0, 1)}
    if min(counts.values()) == 0:
        raise UserError(
            "A treatment arm has no rows on which outcomes can be regressed for others",
            expected="both arms in every fold's other rows, and among the train rows",
            found=", ".join(f"treatment {a}: {n}" for a, n in counts.items()),
            mend="give more rows of that arm in several clusters, or lower nuisance.folds",
        )

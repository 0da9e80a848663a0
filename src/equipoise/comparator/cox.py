"""Penalised Cox regression: what a statistician would use for a time to event, its penalty tuned by inner folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from equipoise.cohort.features import Features
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.roles import inner_folds
from equipoise.comparator import Comparator, Forecast
from equipoise.comparator.design import Design
from equipoise.comparator.inner import check_evidences, evidences_for, nothing_to_read
from equipoise.comparator.ridge_cox import Course, RidgeCox, RiskSets, negative_log_likelihood
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question


class Cox(Comparator):
    """Ridge-penalised Cox regression, one for each cause; the risk of cause 1 by h is sum over t <= h of S(t-) dL1(t).

    Events of all other causes are one cause. dL_c = exp(log hazard) times Breslow's increments with Efron's risk sets, S = exp(-L1 - L2). The penalty
    maximises the cross-validated partial likelihood of cause 1: of each inner fold, that of all rows less that of the rows fitted to.

    Args:
        name: as written into the predictions table.
        required: whether the verdict asks for a gain over it.
        seed: of the inner folds.
        evidences: which evidences it may use; None for all of the question.
        penalties: ridge penalties to choose from, > 0, per standardised column and per row.
        n_components: genetic principal components.
        folds: number of inner folds, >= 2.
        min_rows: see `Features`.
        statistics: see `Features`.
        max_codes: see `Features`.
        halves: see `Features`.

    Source: Cox (1972); Verweij and van Houwelingen (1993), eq. 3, for the cross-validated likelihood; Benichou and Gail (1990) for the risk.
    """

    def __init__(
        self,
        *,
        name: str,
        required: bool,
        seed: int,
        evidences: Sequence[str] | None,
        penalties: Sequence[float],
        n_components: int,
        folds: int,
        min_rows: int,
        statistics: Sequence[str],
        max_codes: int | None,
        halves: bool,
    ) -> None:
        super().__init__(name=name, required=required, seed=seed)
        self._evidences, self._folds, self._n_components = evidences, folds, n_components
        self._penalties = tuple(sorted(map(float, penalties), reverse=True))
        self._features = Features(min_rows=min_rows, statistics=statistics, max_codes=max_codes, halves=halves, n_components=n_components)

    def check(self, cohort: Cohort) -> None:
        check_evidences(cohort, self._evidences, self.name)

    def applies(self, cohort: Cohort, question: Question) -> str | None:
        self.check(cohort)
        if question.kind != "time_to_event":
            return "it answers times to an event alone"
        return nothing_to_read(cohort, question, self._evidences, self._n_components > 0)

    def fit(self, cohort: Cohort, rows: np.ndarray, question: Question) -> None:
        table = cohort.target(question.target).table
        followed = np.sort(rows)[table["observed"].to_numpy()[np.sort(rows)]]
        column = {c: table[c].to_numpy()[followed] for c in ("time_days", "event", "entry_days", "weight")}
        event = column["event"]
        if not (event == 1).any():
            raise UserError(
                f"Task {question.task} cannot be answered by comparator {self.name}", found="no event among the train rows", mend="check target and roles"
            )
        self._question = question
        self._features.fit(cohort, followed, evidences_for(question, self._evidences))
        x = self._features.apply(cohort, followed)
        cause, other = (Course(column["time_days"], own, column["entry_days"], column["weight"]) for own in (event == 1, event > 1))
        self._penalty = self._chosen(cohort, followed, x, cause)
        self._design = Design().fit(x)
        z = self._design.apply(x)
        self._models = [RidgeCox(z, own).fit(self._penalty) for own in (cause, other) if own.happened.any()]

    def predict(self, cohort: Cohort, rows: np.ndarray, hidden: frozenset[str] = frozenset()) -> Forecast:
        z = self._design.apply(self._features.apply(cohort, rows, hidden))
        return Forecast(np.stack([_risk(self._models, z, h) for h in self._question.horizons_days], axis=1))

    def notes(self) -> dict[str, object]:
        return {"n_features": len(self._features.names), "n_columns": self._design.n_columns, "penalty": self._penalty}

    def _chosen(self, cohort: Cohort, rows: np.ndarray, x: np.ndarray, cause: Course) -> float:
        loss = np.zeros(len(self._penalties))
        stratum = np.zeros(cohort.size, dtype=np.int64)
        stratum[rows] = cause.happened
        whole = RiskSets.of(cause)
        cluster = cohort.rows["cluster"].to_numpy()
        if np.unique(cluster[rows]).size < 2:
            return self._penalties[0]
        for fit_rows, _ in inner_folds(cluster, rows, self._folds, self.seed, stratum):
            keep = np.isin(rows, fit_rows)
            own = cause.part(keep)
            design = Design().fit(x[keep])
            z, sets = design.apply(x), RiskSets.of(own)
            model = RidgeCox(z[keep], own)
            for j, penalty in enumerate(self._penalties):
                lp = model.fit(penalty).log_hazard(z)
                loss[j] += negative_log_likelihood(lp, whole) - negative_log_likelihood(lp[keep], sets)
        return self._penalties[int(np.argmin(loss))]


def _risk(models: Sequence[RidgeCox], z: np.ndarray, horizon_days: float) -> np.ndarray:
    """P(event of the first model's cause by the horizon), f64 (m,)."""
    time, _ = models[0].baseline
    until = time <= horizon_days
    relative = [np.exp(m.log_hazard(z)) for m in models]
    before = np.zeros((len(z), int(until.sum())))
    for model, own in zip(models, relative, strict=True):
        when, increment = model.baseline
        before += np.outer(own, np.concatenate([[0.0], np.cumsum(increment)])[np.searchsorted(when, time[until], side="left")])
    # What happens at t itself: 1 - exp(-dL), so that a risk stays below 1 where few are left.
    return np.sum(np.exp(-before) * -np.expm1(-np.outer(relative[0], models[0].baseline[1][until])), axis=1)

"""The declared truth of a rehearsal: a null risk within a comparator's class, and a component outside of it that makes a gain of stated size possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri
from scipy.stats import rankdata

from equipoise.cohort.features import Features
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.roles import inner_folds
from equipoise.comparator import Comparator
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.rehearse.expected import expected_value
from equipoise.stats.logistic import logistic_fit, logistic_risk
from equipoise.stats.roc import auroc
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.protocol import Protocol

_FOLDS = 3
_COLUMNS = 4
"""Columns that carry the planted component."""
_WIDEST = 8.0
"""The largest standard deviation of the planted log odds that is tried."""


@dataclass(frozen=True)
class Declared:
    """What outcomes are drawn from.

    Args:
        null: f64 (n,), log odds of the null over all cohort rows.
        component: f64 (n,), the planted component, mean 0, standard deviation 1; empty where only the null is rehearsed.
        names: of the columns that carry it.
        prevalence: of the train rows, kept by every planted gain.
        auroc: of the comparator on train rows it had not seen, which the null's risks have too.
        train: i64, the train rows.
        population: i64, the held-out rows: their features, never their outcomes.
    """

    null: np.ndarray
    component: np.ndarray
    names: tuple[str, ...]
    prevalence: float
    auroc: float
    train: np.ndarray
    population: np.ndarray

    def risk(self, size: float) -> np.ndarray:
        """Risks f64 (n,) with ``size`` times the component added to the log odds; the train rows' mean stays the prevalence."""
        moved = self.null + size * self.component if size else self.null
        return np.asarray(expit(moved + _intercept(moved[self.train], self.prevalence)))

    def planted(self, gain: float, endpoint: Endpoint, protocol: Protocol) -> tuple[np.ndarray, float]:
        """Risks f64 (n,) of which the best possible forecast beats the best one of the null's form by ``gain``, and the component's size.

        The null's form is a + b null; a and b are the best ones for the planted risks. Both are judged in expectation over outcomes, on the
        population's rows.

        Args:
            gain: >= 0, in the primary endpoint's unit.
            endpoint: the primary one.
            protocol: its thresholds.

        Raises:
            UserError: no size of the component reaches this gain.
        """
        if gain == 0:
            return self.risk(0.0), 0.0

        def lacking(size: float) -> float:
            return self._gain(size, endpoint, protocol) - gain

        if lacking(_WIDEST) < 0:
            raise UserError(
                f"A gain of {gain:g} in {endpoint.name} cannot be planted in this cohort",
                expected=f"at most {self._gain(_WIDEST, endpoint, protocol):.3g}",
                mend="lower rehearse.gains",
            )
        size = float(brentq(lacking, 0.0, _WIDEST, xtol=1e-4))
        return self.risk(size), size

    def _gain(self, size: float, endpoint: Endpoint, protocol: Protocol) -> float:
        truth, null = self.risk(size)[self.population], self.null[self.population]
        form = logistic_risk(null[:, None], logistic_fit(null[:, None], truth, ridge=1e-9))
        best, usual = (expected_value(endpoint, protocol, risk, truth) for risk in (truth, form))
        return endpoint.sign * (best - usual)

    def as_dict(self) -> dict[str, Any]:
        """For rehearsal.json; aggregates only."""
        return {"prevalence": self.prevalence, "auroc": self.auroc, "columns": list(self.names), "sd_of_log_odds": float(self.null[self.population].std())}


def declare(cohort: Cohort, train: np.ndarray, question: Question, made: Callable[[], Comparator], seed: int, *, plant: bool) -> Declared:
    """Fits the declared truth to the train rows: no other row's outcome is looked at.

    The null's log odds are those of the comparator fitted to all train rows, moved and stretched so that mean and expected AUROC of the risks are
    the train rows' prevalence and the comparator's AUROC on train rows left out of its fit (3 folds). The component is the sum of |z| - E|z| over
    normal scores z of the 4 most telling number columns, 0 where a value is missing, with its regression on the null's log odds taken out:
    who lies far out on either side is at a higher risk. It is symmetric in each column, so no linear function of the columns stands for it.

    Args:
        cohort: the cohort.
        train: i64, train rows.
        question: about a binary outcome.
        made: gives the comparator anew.
        seed: of the folds.
        plant: whether a component is needed.

    Raises:
        UserError: no number column to plant a gain in, or the comparator does not apply.
    """
    table = cohort.target(question.target).table[train]
    seen = train[table["observed"].to_numpy()]
    y = table["outcome"].to_numpy()[table["observed"].to_numpy()]
    prevalence = float(y.mean())
    held = _discrimination(cohort, seen, y, question, made, seed)
    comparator = made()
    comparator.fit(cohort, seen, question)
    null = _log_odds(comparator.predict(cohort, np.arange(cohort.size)).risk[:, 0], prevalence)
    null = null * _stretch(null[train], prevalence, held)
    component, names = _component(cohort, train, question, null) if plant else (np.empty(0), ())
    return Declared(null, component, names, prevalence, held, train, cohort.rows_in("held_out"))


def _discrimination(cohort: Cohort, rows: np.ndarray, y: np.ndarray, question: Question, made: Callable[[], Comparator], seed: int) -> float:
    stratum = np.zeros(cohort.size)
    stratum[rows] = y
    risk = np.full(cohort.size, np.nan)
    for fit, check in inner_folds(cohort.rows["cluster"].to_numpy(), rows, _FOLDS, seed, stratum):
        comparator = made()
        comparator.fit(cohort, fit, question)
        risk[check] = comparator.predict(cohort, check).risk[:, 0]
    known = np.isfinite(risk[rows])
    return max(float(auroc(risk[rows][known], y[known])), 0.5) if known.any() else 0.5


def _log_odds(risk: np.ndarray, prevalence: float) -> np.ndarray:
    """Centred log odds, 0 where there is no risk."""
    odds = logit(np.clip(np.where(np.isfinite(risk), risk, prevalence), 1e-4, 1 - 1e-4))
    return np.asarray(odds - odds.mean())


def _stretch(odds: np.ndarray, prevalence: float, wanted: float) -> float:
    """By what centred log odds are multiplied so that risks drawn from them are as hard to tell apart as the train rows' outcomes were."""
    spread = float(odds.std())
    if spread < 1e-9 or wanted <= 0.5:
        return 0.0

    def lacking(by: float) -> float:
        moved = by / spread * odds
        risk = expit(moved + _intercept(moved, prevalence))
        twice = np.concatenate([risk, risk])
        y = np.repeat([1.0, 0.0], risk.size)
        return float(auroc(twice, y, np.concatenate([risk, 1 - risk]))) - wanted

    return float(brentq(lacking, 1e-6, _WIDEST, xtol=1e-4)) / spread if lacking(_WIDEST) > 0 else _WIDEST / spread


def _intercept(odds: np.ndarray, mean: float) -> float:
    """The constant that gives expit(odds + constant) this mean."""
    low, high = logit(mean) - odds.max(), logit(mean) - odds.min()
    return float(brentq(lambda a: float(expit(odds + a).mean()) - mean, low - 1e-6, high + 1e-6))


def _component(cohort: Cohort, train: np.ndarray, question: Question, null: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    features = Features(min_rows=20, statistics=("last", "mean"), max_codes=50, halves=False, n_components=0)
    features.fit(cohort, train, question.evidences)
    score = normal_scores(features.apply(cohort, np.arange(cohort.size)))
    telling = np.array([_correlation(score[train, j], null[train]) for j in range(score.shape[1])])
    best = [int(j) for j in np.argsort(-telling, kind="stable") if telling[j] > 0]
    if not best:
        raise UserError("There is no number among the features in which a gain could be planted", mend="rehearse the null alone: rehearse.gains=[0]")
    chosen = best[:_COLUMNS]
    far = np.abs(score[:, chosen]) - np.sqrt(2 / np.pi)
    total = np.where(np.isfinite(far), far, 0.0).sum(axis=1)
    design = np.column_stack([np.ones_like(null), null])
    rest = total - design @ np.linalg.lstsq(design, total, rcond=None)[0]
    return rest / rest.std(), tuple(features.names[j] for j in chosen)


def normal_scores(x: np.ndarray) -> np.ndarray:
    """Each column's normal scores of ranks f64 (n, F), NaN where missing.

    A column with fewer than 10 distinct values, or of which half is missing, has none.
    """
    score = np.full(x.shape, np.nan)
    for j, column in enumerate(x.T):
        known = np.isfinite(column)
        if known.mean() >= 0.5 and np.unique(column[known]).size >= 10:
            score[known, j] = ndtri((rankdata(column[known]) - 0.5) / known.sum())
    return score


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    known = np.isfinite(a)
    if known.sum() < 3 or a[known].std() < 1e-9:
        return 0.0
    return abs(float(np.corrcoef(a[known], b[known])[0, 1])) if b[known].std() > 1e-9 else 1e-9

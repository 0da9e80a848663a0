"""One question as ordinary regressions and classifications: what any fitter of tables can do, and how its answers are put together again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from equipoise.cohort.draft import TargetTable
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question


@dataclass(frozen=True)
class Piece:
    """One regression or classification.

    Args:
        rows: i64 (m,), cohort rows whose outcome is known, increasing.
        outcome: f64 (m,): the value, or the class index.
        weight: f64 (m,), > 0.
        n_classes: 0 for a regression.
    """

    rows: np.ndarray
    outcome: np.ndarray
    weight: np.ndarray
    n_classes: int

    def part(self, rows: np.ndarray) -> Piece:
        """The lines of these cohort rows, in the piece's order."""
        keep = np.isin(self.rows, rows)
        return Piece(self.rows[keep], self.outcome[keep], self.weight[keep], self.n_classes)

    def base(self) -> np.ndarray:
        """What to predict knowing nothing: f64 (1,) mean, or (n_classes,) class shares, each class given half a case so that none is 0."""
        if not self.n_classes:
            return np.array([np.average(self.outcome, weights=self.weight)])
        share = np.bincount(self.outcome.astype(np.int64), self.weight / self.weight.mean(), minlength=self.n_classes) + 0.5
        return share / share.sum()

    def loss(self, answer: np.ndarray) -> np.ndarray:
        """Squared error, or negative log probability of the class (nats), f64 (m,), weighted; ``answer`` as a fitter gives it, (m, max(n_classes, 1))."""
        if not self.n_classes:
            return self.weight * (self.outcome - answer[:, 0]) ** 2
        chosen = answer[np.arange(len(self.outcome)), self.outcome.astype(np.int64)]
        return -self.weight * np.log(np.clip(chosen, 1e-6, 1.0))


def pieces(question: Question, target: TargetTable, rows: np.ndarray) -> tuple[Piece, ...]:
    """The question's pieces on these train rows.

    Binary, multiclass and continuous: one. Time to event: one classification a horizon, "event of cause 1 by then", weighted for censoring
    (`at_risk_weights`); a competing event before the horizon is event-free of cause 1. Treatment effect: one for each arm (T-learner),
    a classification where all outcomes are 0 or 1; of a time to event that by the horizon, with weights for censoring within the arm.

    Args:
        question: what is asked.
        target: outcomes of all cohort rows.
        rows: i64, train rows.

    Raises:
        UserError: no train row has a usable outcome, or an arm is empty.

    Source: Künzel et al. 2019 (T-learner).
    """
    rows = np.sort(rows)
    column = {name: target.table[name].to_numpy()[rows] for name in target.table.columns}
    observed, outcome, weight = column["observed"].astype(bool), column["outcome"], column["weight"]
    match question.kind:
        case "binary":
            made = [_piece(rows, outcome, weight, observed, 2, question)]
        case "multiclass":
            made = [_piece(rows, outcome, weight, observed, len(question.classes), question)]
        case "continuous":
            made = [_piece(rows, outcome, weight, observed, 0, question)]
        case "time_to_event":
            made = [_by_horizon(rows, column, observed, h, question) for h in question.horizons_days]
        case "treatment_effect" if question.horizons_days:
            (horizon_days,) = question.horizons_days
            made = [_by_horizon(rows, column, observed & (column["treatment"] == arm), horizon_days, question) for arm in (0, 1)]
        case "treatment_effect":
            n_classes = 2 if np.isin(outcome[observed], (0.0, 1.0)).all() else 0
            made = [_piece(rows, outcome, weight, observed & (column["treatment"] == arm), n_classes, question) for arm in (0, 1)]
    return tuple(made)


def _by_horizon(rows: np.ndarray, column: Mapping[str, np.ndarray], seen: np.ndarray, horizon_days: float, question: Question) -> Piece:
    """ "Event of cause 1 by then" of the rows that are ``seen``, weighted for the censoring among them."""
    time, event, entry = (np.where(seen, column[c], -1) for c in ("time_days", "event", "entry_days"))
    by_then = np.zeros(len(rows))
    by_then[seen] = at_risk_weights(time[seen], event[seen], entry[seen], horizon_days)
    died = ((event == 1) & (time <= horizon_days)).astype(float)
    return _piece(rows, died, column["weight"] * by_then, by_then > 0, 2, question)


def _piece(rows: np.ndarray, outcome: np.ndarray, weight: np.ndarray, keep: np.ndarray, n_classes: int, question: Question) -> Piece:
    keep = keep & (weight > 0)
    if not keep.any():
        raise UserError(
            f"Task {question.task} cannot be answered by a comparator",
            expected=f"train rows with a known outcome of target {question.target!r} (of each arm, at each horizon)",
            found=f"none among {len(rows)}",
            mend="check the target, its horizons and the roles",
        )
    return Piece(rows[keep], outcome[keep].astype(np.float64), weight[keep] / weight[keep].mean(), n_classes)


def join(question: Question, answers: tuple[np.ndarray, ...]) -> np.ndarray:
    """The pieces' answers as risks.

    Args:
        question: what was asked.
        answers: one (m, max(n_classes, 1)) array a piece.

    Returns:
        f64 (m, L) in the question's label order; risks at later horizons are never below those at earlier ones.
    """
    match question.kind:
        case "multiclass" | "continuous":
            return answers[0]
        case "binary":
            return answers[0][:, 1:]
        case "time_to_event":
            risk = np.concatenate([a[:, 1:] for a in answers], axis=1)
            order = np.argsort(question.horizons_days)
            risk[:, order] = np.maximum.accumulate(risk[:, order], axis=1)
            return risk
        case "treatment_effect":
            mu0, mu1 = (a[:, -1] for a in answers)
            return np.stack([mu0, mu1, mu1 - mu0], axis=1)


def at_risk_weights(time_days: np.ndarray, event: np.ndarray, entry_days: np.ndarray, horizon_days: float) -> np.ndarray:
    """Weights that make the rows whose state at the horizon is known stand for all.

    A row whose event (of any cause) comes at t <= h weighs ``n S(t-) / Y(t)``, one still followed at h weighs ``n S(h) / Y(h+)``, the others 0;
    S is the Kaplan-Meier of any event and Y the number at risk, both over entry < t <= time. Without late entry this is 1 / G(t-) with the
    Kaplan-Meier G of censoring; with it, it also corrects for those who had left before they could enter.

    Args:
        time_days: f64 (n,), >= entry_days.
        event: i64 (n,), 0 censored.
        entry_days: f64 (n,), 0 for rows followed from the start.
        horizon_days: h > 0.

    Returns:
        f64 (n,), >= 0.

    Source: Graf et al. 1999 (weights); Satten and Datta 2001 (the identity S(t-) G(t-) = Y(t) / n).

    >>> at_risk_weights(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1, 0, 1, 0]), np.zeros(4), 3.5).tolist()
    [1.0, 0.0, 1.5, 1.5]
    """
    n = len(time_days)
    entry = np.where(entry_days > 0, entry_days, -np.inf)
    left, entered = np.sort(time_days), np.sort(entry)

    def at_risk(t: np.ndarray) -> np.ndarray:  # entry < t <= time
        return np.searchsorted(entered, t, "left") - np.searchsorted(left, t, "left")

    when, deaths = np.unique(time_days[event > 0], return_counts=True)
    y = at_risk(when)
    # A risk set that empties before later entries would set S to 0 for good: half a survivor is left in it.
    survival = np.concatenate([[1.0], np.cumprod(np.maximum(1 - deaths / y, 0.5 / y))])
    weight = np.zeros(n)
    case = (event > 0) & (time_days <= horizon_days)
    weight[case] = n * survival[np.searchsorted(when, time_days[case], "left")] / at_risk(time_days[case])
    control = (time_days > horizon_days) & (entry <= horizon_days)
    weight[control] = n * survival[np.searchsorted(when, horizon_days, "right")] / max(int(control.sum()), 1)
    return weight

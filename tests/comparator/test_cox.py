"""Penalised Cox regression: the likelihood of a loop, other people's coefficients and baselines, and risks under competing events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from equipoise.cohort.frozen import freeze
from equipoise.comparator.cox import Cox
from equipoise.comparator.ridge_cox import Course, RidgeCox, RiskSets, negative_log_likelihood
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.stats.concordance import harrell_c
from equipoise.testing.cohorts import tiny_draft
from equipoise.testing.discovery import options

BETA = np.array([0.8, -0.5, 0.0])


def simulated(n: int, seed: int = 0, *, late: bool = False) -> tuple[np.ndarray, Course]:
    """Exponential times with hazard exp(x beta), rounded so that many tie; censored; some enter late."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3))
    time = np.ceil(20 * rng.exponential(np.exp(-x @ BETA)) + 1)
    censored = np.ceil(rng.exponential(60, n) + 1)
    entry = np.where(rng.random(n) < 0.4, np.floor(np.minimum(time, censored) * rng.random(n)), 0.0) if late else np.zeros(n)
    return x, Course(np.minimum(time, censored), time <= censored, entry, rng.uniform(0.5, 2, n) if late else np.ones(n))


def looped(lp: np.ndarray, course: Course) -> float:
    """Efron's partial likelihood, written out."""
    total = 0.0
    for t in np.unique(course.time[course.happened]):
        tied = np.flatnonzero(course.happened & (course.time == t))
        at_risk = (course.time >= t) & ((course.entry <= 0) | (course.entry < t))
        mass = course.weight * np.exp(lp)
        for r in range(tied.size):
            total += course.weight[tied].mean() * np.log(mass[at_risk].sum() - r / tied.size * mass[tied].sum())
        total -= float(course.weight[tied] @ lp[tied])
    return total


@pytest.mark.parametrize("late", [False, True])
def test_the_likelihood_is_that_of_a_loop(late: bool) -> None:
    x, course = simulated(120, late=late)
    lp = x @ np.array([0.3, -1.0, 0.2])
    assert len(np.unique(course.time[course.happened])) < course.happened.sum()
    assert negative_log_likelihood(lp, RiskSets.of(course)) == pytest.approx(looped(lp, course), rel=1e-12)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("penalty", [1e-6, 0.1, 3.0])
def test_the_fit_is_the_minimum(late: bool, penalty: float) -> None:
    x, course = simulated(150, late=late)
    z = x - np.average(x, axis=0, weights=course.weight)

    def value(b: np.ndarray) -> float:
        return looped(z @ b, course) / course.weight.sum() + penalty / 2 * float(b @ b)

    best = minimize(value, np.zeros(3), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(RidgeCox(x, course).fit(penalty).coefficients, best.x, atol=1e-5)


def test_with_more_columns_than_rows_the_same_problem_is_solved() -> None:
    x, course = simulated(60)
    noise = np.random.default_rng(1).standard_normal((60, 80))
    wide = RidgeCox(np.concatenate([x, noise], axis=1), course).fit(0.05)
    b = wide.coefficients
    assert b.shape == (83,)
    z = np.concatenate([x, noise], axis=1)
    z -= z.mean(axis=0)
    sets = RiskSets.of(course)
    at = [negative_log_likelihood(z @ (b + h), sets) / 60 + 0.025 * float((b + h) @ (b + h)) for h in 1e-4 * np.eye(83)]
    here = negative_log_likelihood(z @ b, sets) / 60 + 0.025 * float(b @ b)
    assert np.abs((np.array(at) - here) / 1e-4).max() < 1e-3


def test_coefficients_are_statsmodels() -> None:
    from statsmodels.duration.hazard_regression import PHReg

    x, course = simulated(300)
    found = RidgeCox(x, course).fit(1e-10).coefficients
    expected = PHReg(course.time, x, status=course.happened.astype(int), ties="efron").fit().params
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.reference
def test_a_penalised_fit_is_scikit_survivals() -> None:
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    x, course = simulated(200)
    theirs = CoxPHSurvivalAnalysis(alpha=200 * 0.1, ties="efron", tol=1e-12).fit(x, Surv.from_arrays(course.happened, course.time))
    np.testing.assert_allclose(RidgeCox(x, course).fit(0.1).coefficients, theirs.coef_, rtol=1e-5)


def test_without_covariates_the_risk_is_aalen_johansens(tmp_path: Path) -> None:
    """Rows whose columns say nothing: a huge penalty leaves the baseline, and its risks are the cumulative incidence."""
    from equipoise.stats.survival import aalen_johansen

    cohort = freeze(tiny_draft(n=500, seed=2), tmp_path / "c", "c", {})
    question = Question("t", "survival", "time_to_event", ("biomarker",), horizons_days=(150.0, 400.0))
    made: Cox = make({**options("comparator")["cox"], "penalties": [1e6]})
    rows = cohort.rows_in("train")
    made.fit(cohort, rows, question)
    table = cohort.target("survival").table
    own = {c: table[c].to_numpy()[rows] for c in table.columns}
    seen = own["observed"]
    assert (own["event"][seen] > 1).any()
    expected = aalen_johansen(own["time_days"][seen], own["event"][seen], 1, own["entry_days"][seen]).at(np.array(question.horizons_days))
    np.testing.assert_allclose(made.predict(cohort, rows[:1]).risk[0], expected, atol=0.01)


def test_it_finds_who_has_the_event_and_chooses_its_penalty(tmp_path: Path) -> None:
    cohort = freeze(tiny_draft(n=600, seed=2), tmp_path / "c", "c", {})
    question = Question("t", "survival", "time_to_event", ("biomarker", "clinical"), horizons_days=(400.0,))
    made: Cox = make(options("comparator")["cox"])
    made.fit(cohort, cohort.rows_in("train"), question)
    held = cohort.rows_in("held_out")
    table = cohort.target("survival").table
    time, event = table["time_days"].to_numpy()[held], table["event"].to_numpy()[held]
    assert float(harrell_c(made.predict(cohort, held).risk[:, 0], time, np.where(event == 1, 1, 0))) > 0.55
    assert made.notes()["penalty"] in options("comparator")["cox"]["penalties"]


def test_no_event_is_refused_by_name(tmp_path: Path) -> None:
    draft = tiny_draft(n=200, seed=2)
    draft.targets["survival"].table = draft.targets["survival"].table.with_columns(event=0 * draft.targets["survival"].table["event"])
    cohort = freeze(draft, tmp_path / "c", "c", {})
    question = Question("t", "survival", "time_to_event", ("biomarker",), horizons_days=(400.0,))
    with pytest.raises(UserError, match="no event among the train rows"):
        make(options("comparator")["cox"]).fit(cohort, cohort.rows_in("train"), question)

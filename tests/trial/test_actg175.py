"""A real trial, ACTG 175: average effect, hazard ratios, and no ranking of the benefit. Skipped where the data are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
from statsmodels.duration.hazard_regression import PHReg

from equipoise.contract.counter import numpy_stream
from equipoise.places import find_data
from equipoise.stats.aipw import average_effect, best_linear_predictor, doubly_robust_scores, top_minus_bottom
from equipoise.stats.effect_ranking import area_interval
from equipoise.stats.estimate import Estimate, normal_interval
from equipoise.stats.jackknife import jackknife_error
from equipoise.stats.repeated_splits import centred_within, level_of_each, over_repeats, ranks_within
from trial.simulated_predictions import judged, protocol
from trial.test_treatment_effect import predictions

pytestmark = pytest.mark.slow
COVARIATES = ("age", "wtkg", "hemo", "homo", "drugs", "karnof", "oprior", "z30", "preanti", "race", "gender", "symptom", "cd40", "cd80")
FOLDS, REPEATS = 5, 20
EACH = level_of_each(0.95)


@dataclass(frozen=True)
class Trial:
    """One row a person; y: CD4 cells at 20 weeks; a: 1 for more than zidovudine; x: standardised covariates with a leading 1."""

    table: pl.DataFrame
    y: np.ndarray
    a: np.ndarray
    x: np.ndarray

    def cross_fitted(self, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """mu0 and mu1 by least squares on the other folds."""
        mu = np.empty((2, self.y.size))
        for f in np.unique(fold):
            there = fold == f
            for arm in (0, 1):
                on = ~there & (self.a == arm)
                mu[arm, there] = self.x[there] @ np.linalg.lstsq(self.x[on], self.y[on], rcond=None)[0]
        return mu[0], mu[1]


@pytest.fixture(scope="module")
def trial() -> Trial:
    found = find_data()
    if found is None or not (found / "actg175").is_dir():
        pytest.skip("the data set actg175 is not on this machine; set EQUIPOISE_DATA to the folder that holds actg175/")
    table = pl.read_csv(found / "actg175" / "actg175.csv").join(
        pl.read_parquet(found / "actg175" / "folds.parquet").filter(pl.col("repeat") == 0), on="pidnum", maintain_order="left"
    )
    x = table.select(COVARIATES).to_numpy().astype(float)
    x = np.column_stack([np.ones(x.shape[0]), (x - x.mean(0)) / x.std(0)])
    return Trial(table, table["cd420"].to_numpy().astype(float), table["treat"].to_numpy(), x)


def test_the_unadjusted_average_effect_is_the_published_one(trial: Trial) -> None:
    """46.81 (6.76): doubly robust scores without outcome regressions, centred on each arm's mean, are the difference of means."""
    means = [np.full(trial.y.size, trial.y[trial.a == arm].mean()) for arm in (0, 1)]
    found = average_effect(doubly_robust_scores(trial.y, trial.a, *means, np.full(trial.y.size, trial.a.mean())), 0.95)
    print(f"unadjusted {found.value:.4f} ({found.se:.4f})")
    assert found.value == pytest.approx(46.8105, abs=5e-5)
    assert found.se == pytest.approx(6.7602, abs=0.005)


def test_the_adjusted_average_effect_is_near_the_published_one(trial: Trial) -> None:
    """About 49.5 (5.2): Tsiatis et al. (2008) found 50 (5.1 to 5.2) with linear outcome regressions."""
    score = doubly_robust_scores(trial.y, trial.a, *trial.cross_fitted(trial.table["fold"].to_numpy()), np.full(trial.y.size, trial.a.mean()))
    found = average_effect(score, 0.95)
    print(f"adjusted {found.value:.4f} ({found.se:.4f})")
    assert found.value == pytest.approx(49.5, abs=0.5)
    assert found.se == pytest.approx(5.2, abs=0.1)


def test_the_data_are_those_of_the_trial_by_their_hazard_ratios(trial: Trial) -> None:
    arms = trial.table["arms"].to_numpy()
    exposed = np.stack([arms == k for k in (1, 2, 3)], axis=1).astype(float)
    found = PHReg(trial.table["days"].to_numpy().astype(float), exposed, status=trial.table["cens"].to_numpy(), ties="efron").fit()
    print("hazard ratios", np.exp(found.params).round(4), found.bse.round(4))
    np.testing.assert_allclose(np.exp(found.params), [0.4920, 0.5249, 0.5858], atol=2e-4)
    np.testing.assert_allclose(found.bse, [0.1235, 0.1213, 0.1155], atol=2e-4)


def test_no_ranking_of_the_benefit_is_found_over_twenty_cross_fits(trial: Trial) -> None:
    n, found = trial.y.size, dict[str, list[Estimate]]()
    for repeat in range(REPEATS):
        fold = numpy_stream("actg175", repeat).permutation(n) % FOLDS
        mu0, mu1 = trial.cross_fitted(fold)
        score = doubly_robust_scores(trial.y, trial.a, mu0, mu1, np.full(n, trial.a.mean()))
        rank, slope = ranks_within(mu1 - mu0, fold), centred_within(mu1 - mu0, fold)
        line = best_linear_predictor(score, slope, EACH)
        each = {
            "average": line.average,
            "slope": line.heterogeneity,
            "slope a standard deviation": best_linear_predictor(score, slope / slope.std(), EACH).heterogeneity,
            "top minus bottom": _top_minus_bottom(score, rank),
            "autoc": area_interval(score, rank, "autoc", EACH),
            "qini": area_interval(score, rank, "qini", EACH),
            "autoc of baseline cells": area_interval(score, ranks_within(mu0, fold), "autoc", EACH),
        }
        for name, estimate in each.items():
            found.setdefault(name, []).append(estimate)
    together = {name: over_repeats(each) for name, each in found.items()}
    for name, e in together.items():
        print(f"{name}: {e.value:.4g} ({e.lo:.4g} to {e.hi:.4g}), p {e.p:.3g}")
    assert together["average"].value == pytest.approx(49.5, abs=0.5)
    assert not any(together[name].lo > 0 for name in ("slope", "top minus bottom", "autoc", "qini"))


def _top_minus_bottom(score: np.ndarray, rank: np.ndarray) -> Estimate:
    se, df = jackknife_error(lambda w: top_minus_bottom(score, rank, w), score.size)
    return normal_interval(float(top_minus_bottom(score, rank)), se, EACH, "jackknife", df=df)


def test_the_rule_of_the_trial_says_that_no_ranking_was_demonstrated(trial: Trial) -> None:
    """Against one effect for all, on the loss of the effect, the given folds."""
    fold = trial.table["fold"].to_numpy()
    mu0, mu1 = trial.cross_fitted(fold)
    same = np.array([trial.y[(fold != f) & (trial.a == 1)].mean() - trial.y[(fold != f) & (trial.a == 0)].mean() for f in range(FOLDS)])[fold]
    table = predictions({"equipoise": (mu0, mu1 - mu0), "one_effect": (mu0, same)}, trial.a, trial.y, fold=fold)
    words: dict[str, Any] = {"role": "cross-validation", "opening": None, "required": ("one_effect",)}
    found = judged(table, kind="treatment_effect", protocol=protocol(primary="effect_loss"), **words)
    for name, line in found["endpoints"].items():
        print(name, {k: line[k] for k in ("value", "lo", "hi")})
    print(found["verdict_detail"]["sentence"])
    assert found["verdict"] in ("no demonstrated gain", "demonstrated loss")
    assert not any(found["endpoints"][name]["lo"] > 0 for name in ("autoc", "qini", "top_minus_bottom", "effect_slope"))

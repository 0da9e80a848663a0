"""Effects of a treatment given once: laws on small data, and a known truth by simulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit

from equipoise.stats.bias_curve import bias_curve, bounding_factor, e_value, nearest_to_one
from equipoise.stats.estimate import Estimate
from equipoise.stats.nuisance import regression
from equipoise.stats.point_treatment import aipw_effect, g_formula, ipw_effect
from equipoise.stats.propensity import arm_weights, balancing_weights, crump_bound, effective_rows, overlap, standardized_differences

EFFECT = 0.5
"""For everybody on average; it grows with the first confounder."""


def confounded(seed: int, n: int, *, missing: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, treatment, confounders; E(Y(1) - Y(0)) = EFFECT; outcomes are missing by arm and confounder."""
    rng = np.random.default_rng([seed, 11])
    x = rng.normal(size=(n, 2))
    a = (rng.random(n) < expit(0.6 * x[:, 0] - 0.5 * x[:, 1])).astype(int)
    y = x[:, 0] - 0.5 * x[:, 1] + a * (EFFECT + 0.4 * x[:, 0]) + rng.normal(size=n)
    lost = rng.random(n) < expit(-1.5 + 0.8 * x[:, 0] + 0.5 * a)
    return (np.where(lost, np.nan, y) if missing else y), a, x


def test_without_confounding_every_estimator_is_about_the_difference_of_means() -> None:
    rng = np.random.default_rng(0)
    a, x = np.tile([0, 1], 200), np.repeat(rng.normal(size=(200, 1)), 2, axis=0)  # both arms hold the same rows
    y = x[:, 0] + a + 0.1 * rng.normal(size=400)
    difference = y[a == 1].mean() - y[a == 0].mean()
    for made in (ipw_effect(y, a, x), g_formula(y, a, x), aipw_effect(y, a, x, None)):
        assert made.difference.value == pytest.approx(difference, abs=1e-6)
        assert made.treated.value - made.untreated.value == pytest.approx(made.difference.value)
        assert abs(made.influence.mean()) < 1e-6


def test_a_row_repeated_within_its_cluster_says_nothing_new() -> None:
    y, a, x = confounded(1, 300)
    twice = np.repeat(np.arange(300), 2)
    alone, doubled = ipw_effect(y, a, x, cluster=np.arange(300)), ipw_effect(y[twice], a[twice], x[twice], cluster=twice)
    assert doubled.difference.value == pytest.approx(alone.difference.value, abs=1e-9)
    assert doubled.difference.se == pytest.approx(alone.difference.se, rel=1e-6)


def test_weights_balance_and_overlap_weights_balance_exactly() -> None:
    _, a, x = confounded(2, 500)
    before = np.abs(standardized_differences(x, a))
    e = regression(x, a.astype(float), binary=True).mean
    assert (np.abs(standardized_differences(x, a, balancing_weights(e, a))) < before / 3).all()
    np.testing.assert_allclose(standardized_differences(x, a, balancing_weights(e, a, "ATO")), 0.0, atol=1e-7)  # Li, Morgan and Zaslavsky, theorem 3


def test_stabilised_weights_have_mean_one_and_slopes_are_derivatives() -> None:
    e = np.linspace(0.1, 0.9, 9)
    for estimand in ("ATE", "ATT", "ATO"):
        w0, w1, d0, d1 = arm_weights(e, estimand)
        p0, p1 = arm_weights(e + 1e-6, estimand)[:2]
        np.testing.assert_allclose([(p0 - w0) / 1e-6, (p1 - w1) / 1e-6], [d0, d1], rtol=1e-4, atol=1e-8)
    a = np.tile([0, 1], 50)
    assert balancing_weights(np.full(100, 0.5), a).mean() == 1.0


def test_the_best_trim_is_the_best_of_all_trims() -> None:
    e = expit(2.5 * np.random.default_rng(3).normal(size=400))
    g = 1 / (e * (1 - e))
    variance = {int(k): float(np.sort(g)[:k].sum() / k**2) for k in range(1, 401)}
    found = overlap(e, np.tile([0, 1], 200))
    assert found.kept.sum() == min(variance, key=variance.__getitem__)
    assert found.outside == pytest.approx(1 - found.kept.mean())
    assert "about nobody else" in found.sentence
    assert crump_bound(np.linspace(0.3, 0.7, 50)) == 0.0
    assert "Nobody is trimmed" in overlap(np.linspace(0.3, 0.7, 50), np.tile([0, 1], 25)).sentence


def test_effective_rows_of_equal_weights_are_the_rows() -> None:
    assert effective_rows(np.full(7, 3.0)) == pytest.approx(7.0)


def test_the_bias_curve_goes_through_the_e_value_and_undoes_the_ratio() -> None:
    for ratio in (1.3, 2.5, 0.4):
        e = e_value(ratio)
        assert bias_curve(ratio, np.array([e]))[0] == pytest.approx(e)
        strengths = np.array([1.5, 4.0, 9.0]) * max(ratio, 1 / ratio)
        np.testing.assert_allclose(bounding_factor(strengths, bias_curve(ratio, strengths)), max(ratio, 1 / ratio))
    assert np.isinf(bias_curve(2.0, np.array([1.0, 2.0]))).all()
    assert e_value(1.0) == 1.0
    assert nearest_to_one(1.2, 3.0) == 1.2


def test_an_arm_without_both_treatments_is_refused() -> None:
    with pytest.raises(ValueError, match="only one of 0 and 1"):
        ipw_effect(np.ones(4), np.ones(4), np.zeros((4, 1)))
    with pytest.raises(ValueError, match="estimand"):
        ipw_effect(np.arange(4.0), np.array([0, 1, 0, 1]), np.arange(4.0)[:, None], estimand="LATE")


def test_a_column_that_is_constant_among_the_rows_fitted_on_says_nothing_of_others() -> None:
    for constant in (0.0, -0.0500626):  # the second is no binary fraction: its deviation is not exactly 0
        x = np.column_stack([np.arange(6.0), np.r_[np.full(5, constant), 100.0]])
        made = regression(x, 300 + x[:, 0], np.arange(6) < 5, binary=False)
        np.testing.assert_allclose(made.mean, 300 + x[:, 0])
        risk = regression(x, np.array([0.0, 1.0, 0.0, 1.0, 1.0, np.nan]), np.arange(6) < 5, binary=True)
        alone = regression(x[:, :1], np.array([0.0, 1.0, 0.0, 1.0, 1.0, np.nan]), np.arange(6) < 5, binary=True)
        np.testing.assert_allclose(risk.mean, alone.mean)


def fold(n: int) -> np.ndarray:
    return np.arange(n) % 5


Estimator = Callable[[np.ndarray, np.ndarray, np.ndarray], Estimate]
ESTIMATORS: dict[str, Estimator] = {
    "ipw": lambda y, a, x: ipw_effect(y, a, x).difference,
    "g": lambda y, a, x: g_formula(y, a, x).difference,
    "aipw": lambda y, a, x: aipw_effect(y, a, x, fold(y.size)).difference,
}


@pytest.mark.slow
@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_unbiased_and_covering_where_everything_is_measured(name: str, missing: bool) -> None:
    made = [ESTIMATORS[name](*confounded(s, 500, missing=missing)) for s in range(400)]
    value = np.array([m.value for m in made])
    covered = np.mean([m.lo <= EFFECT <= m.hi for m in made])
    print(name, "with missing outcomes" if missing else "complete", "bias", value.mean() - EFFECT, "covers", covered)
    assert abs(value.mean() - EFFECT) < 3 * value.std(ddof=1) / np.sqrt(400)
    assert abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 400)


@pytest.mark.slow
def test_what_is_not_adjusted_for_stays_biased() -> None:
    bias = [ipw_effect(y, a, x[:, 1:]).difference.value - EFFECT for y, a, x in (confounded(s, 500) for s in range(100))]
    assert np.mean(bias) > 10 * np.std(bias) / 10


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["outcome", "propensity"])
def test_aipw_bears_one_wrong_model(wrong: str) -> None:
    """Without folds: with them and 500 rows, weights out of fold balance their rows less well: -0.025 +- 0.007 is left."""

    def average(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
        return np.full(len(new), y.mean())

    made = []
    for s in range(300):
        y, a, x = confounded(s, 500)
        given = {"learn_outcome": average} if wrong == "outcome" else {"learn_probability": average}
        made.append(aipw_effect(y, a, x, None, **given).difference.value)
    assert abs(np.mean(made) - EFFECT) < 3 * np.std(made, ddof=1) / np.sqrt(300)

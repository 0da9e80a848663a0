"""Statistical truth by simulation: tests for heterogeneity reject 5 % where there is none, intervals of policy values cover. Slow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from equipoise.stats.aipw import best_linear_predictor, doubly_robust_scores, effect_slope
from equipoise.stats.effect_ranking import area_interval, autoc
from equipoise.stats.estimate import Estimate
from equipoise.stats.policy import arm_scores, gain_over_better_arm_interval, policy_gain_interval, policy_value
from equipoise.stats.repeated_splits import centred_within, level_of_each, over_repeats, ranks_within
from equipoise.stats.resampled_t import nadeau_bengio

pytestmark = pytest.mark.slow


def within(hits: float, sets: int, declared: float) -> bool:
    """Within three Monte Carlo standard errors of the declared share."""
    return abs(hits - declared) < 3 * np.sqrt(declared * (1 - declared) / sets)


def trial(rng: np.random.Generator, clusters: int, rows: int, effect: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Covariates f64 (n, 4), treatment, outcome, cluster. Clusters share half of the covariates' and of the noise's variance, and the treatment."""
    cluster = np.repeat(np.arange(clusters), rows)

    def shared(*shape: int) -> np.ndarray:
        own = rng.normal(size=(cluster.size, *shape))
        return own if rows == 1 else (own + rng.normal(size=(clusters, *shape))[cluster]) / np.sqrt(2)

    x, a = np.column_stack([np.ones(cluster.size), shared(3)]), rng.integers(0, 2, clusters)[cluster]
    return x, a, x[:, 1] + effect * a + shared(), cluster


def regressions(x: np.ndarray, a: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Least squares in each arm."""
    return [np.linalg.lstsq(x[a == arm], y[a == arm], rcond=None)[0] for arm in (0, 1)]


@pytest.mark.parametrize("effect", [0.0, 1.0], ids=["no_effect", "constant_effect"])
@pytest.mark.parametrize(("clusters", "rows"), [(300, 1), (100, 5)], ids=["1_row_a_cluster", "5_rows_a_cluster"])
def test_without_heterogeneity_autoc_qini_and_slope_reject_as_often_as_they_say(clusters: int, rows: int, effect: float) -> None:
    """The effect is learnt from other rows, whose noise it is; scores are built on the same regressions."""
    sets, n = 2000, clusters * rows
    rejected = dict.fromkeys(("autoc", "qini", "slope"), 0)
    for i in range(sets):
        rng = np.random.default_rng([21, i, rows, int(effect)])
        b0, b1 = regressions(*trial(rng, clusters, rows, effect)[:3])
        x, a, y, cluster = trial(rng, clusters, rows, effect)
        score, tau = doubly_robust_scores(y, a, x @ b0, x @ b1, np.full(n, a.mean())), x @ (b1 - b0)
        within_clusters = cluster if rows > 1 else None
        rejected["autoc"] += area_interval(score, tau, "autoc", 0.95, within_clusters).p < 0.05
        rejected["qini"] += area_interval(score, tau, "qini", 0.95, within_clusters).p < 0.05
        rejected["slope"] += best_linear_predictor(score, tau, 0.95, within_clusters).heterogeneity.p < 0.05
    shares = {k: v / sets for k, v in rejected.items()}
    print(shares)
    assert all(within(share, sets, 0.05) for share in shares.values()), shares


@pytest.mark.parametrize("average", [0.0, 0.3], ids=["arms_equally_good", "treatment_better"])
@pytest.mark.parametrize(("clusters", "rows"), [(300, 1), (100, 5)], ids=["1_row_a_cluster", "5_rows_a_cluster"])
def test_intervals_of_policy_values_and_gains_cover_what_they_say(clusters: int, rows: int, average: float) -> None:
    """Effect average + x_1, the rule treats where x_1 > 0; outcome regressions are half right."""
    sets, n = 2000, clusters * rows
    gain = float(norm.pdf(0))  # E[max(x, 0)]
    truth = {"value": gain + average / 2, "over nobody": gain + average / 2, "over all": gain - average / 2, "over better": gain - average / 2}
    covered, false = dict.fromkeys(truth, 0), 0
    for i in range(sets):
        rng = np.random.default_rng([22, i, rows, int(10 * average)])
        x, a, y, cluster = trial(rng, clusters, rows, average)
        y = y + a * x[:, 1]
        rule, among = x[:, 1] > 0, cluster if rows > 1 else None
        arms = (y, a, 0.5 * x[:, 1], x[:, 1], np.full(n, 0.5))
        score = doubly_robust_scores(*arms)
        found = {
            "value": policy_value(arm_scores(*arms), rule, 0.95, among),
            "over nobody": policy_gain_interval(score, rule, 0.0, 0.95, among),
            "over all": policy_gain_interval(score, rule, 1.0, 0.95, among),
            "over better": gain_over_better_arm_interval(score, rule, 0.95, among),
        }
        for name, estimate in found.items():
            covered[name] += estimate.lo <= truth[name] <= estimate.hi
        false += found["over better"].lo > truth["over better"]
    shares = {k: v / sets for k, v in covered.items()}
    print(shares, false / sets)
    assert all(within(shares[k], sets, 0.95) for k in ("value", "over nobody", "over all")), shares
    assert shares["over better"] > 0.95 - 3 * np.sqrt(0.95 * 0.05 / sets)
    assert false / sets < 0.025 + 3 * np.sqrt(0.025 * 0.975 / sets)


def test_cross_fits_reject_as_often_as_they_say_by_folds_or_twenty_together_and_a_single_pooled_one_does_not() -> None:
    """Folds learn from each other's rows, so their parts of a pooled estimate are no independent ones: it rejects too often."""
    sets, n, folds, repeats = 300, 200, 5, 20
    rejected = {f"{how} {what}": 0 for how in ("pooled", "by folds", "twenty") for what in ("autoc", "slope")}
    for i in range(sets):
        rng = np.random.default_rng([23, i])
        x, a, y, _ = trial(rng, n, 1, 1.0)
        found: dict[str, list[Estimate]] = {"autoc": [], "slope": []}
        for repeat in range(repeats):
            fold, mu = rng.permutation(n) % folds, np.empty((2, n))
            for f in range(folds):
                there = fold == f
                mu[:, there] = np.stack([x[there] @ b for b in regressions(x[~there], a[~there], y[~there])])
            score, tau = doubly_robust_scores(y, a, mu[0], mu[1], np.full(n, a.mean())), mu[1] - mu[0]
            found["autoc"].append(area_interval(score, ranks_within(tau, fold), "autoc", level_of_each(0.95)))
            found["slope"].append(best_linear_predictor(score, centred_within(tau, fold), level_of_each(0.95)).heterogeneity)
            if repeat == 0:
                for what, of in (("autoc", autoc), ("slope", effect_slope)):
                    each = np.array([float(of(score[fold == f], tau[fold == f])) for f in range(folds)])
                    rejected[f"by folds {what}"] += nadeau_bengio(each, 1 / (folds - 1), 0.95).p < 0.05
        for what, estimates in found.items():
            rejected[f"pooled {what}"] += estimates[0].p < 0.05
            rejected[f"twenty {what}"] += over_repeats(estimates).p < 0.05
    shares = {k: v / sets for k, v in rejected.items()}
    print(shares)
    for what in ("autoc", "slope"):
        for how in ("by folds", "twenty"):
            assert shares[f"{how} {what}"] < 0.05 + 3 * np.sqrt(0.05 * 0.95 / sets), shares
        assert shares[f"pooled {what}"] > 0.08, "a simulation that could not tell them apart would prove nothing"

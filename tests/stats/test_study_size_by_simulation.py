"""Statistical truth of the plans by simulation: error, power, variance and width are as planned. Slow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression

from equipoise.contract.counter import numpy_stream
from equipoise.stats.cluster_power import cell_variances, cluster_power, design_effect, hussey_hughes_variance, normal_power, stepped_wedge
from equipoise.stats.delong import roc_areas
from equipoise.stats.group_sequential import BOUNDARIES, Design, design
from equipoise.stats.log_odds import LogOdds, accuracy_at, binormal, log_hazard_shift
from equipoise.stats.net_benefit import net_benefit
from equipoise.stats.recalibration import calibration_slope, slope_interval
from equipoise.stats.sample_size import Z, n_for_shrinkage
from equipoise.stats.survival import kaplan_meier
from equipoise.stats.trial_power import event_probability, logrank_events, logrank_power, means_power, proportions_power
from equipoise.stats.validation_size import (
    c_statistic_se,
    log_ratio_se,
    n_for_c_statistic,
    n_for_cox_slope,
    n_for_net_benefit,
    n_for_observed_expected,
    n_for_observed_expected_at,
    n_for_slope,
)

pytestmark = pytest.mark.slow
TRIALS = 20_000
ALPHA = 0.025


def as_planned(share: float, planned: float, sets: int) -> bool:
    """Within three Monte Carlo standard errors."""
    return abs(share - planned) < 3 * np.sqrt(planned * (1 - planned) / sets)


def spread_as_planned(values: np.ndarray, se: float) -> bool:
    """The standard deviation of normal values within three of its own Monte Carlo errors, se / sqrt(2 sets)."""
    return abs(float(np.std(values)) / se - 1) < 3 / np.sqrt(2 * values.size)


def sequential_trials(made: Design, n: int, effect: float, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Trials of n people an arm at most, one outcome a person with known spread 1: which were stopped for efficacy, and how many an arm each took."""
    rng = numpy_stream(purpose, 0)
    looks = np.round(made.information * n).astype(int)
    crossed, taken = np.zeros(TRIALS, dtype=bool), np.full(TRIALS, n)
    for block in np.array_split(np.arange(TRIALS), 20):
        gap = np.cumsum(rng.normal(effect, 1, (block.size, n)) - rng.normal(0, 1, (block.size, n)), axis=1)[:, looks - 1]
        beyond = gap / np.sqrt(2 * looks) > made.bounds
        crossed[block] = beyond.any(1)
        taken[block] = np.where(beyond.any(1), looks[beyond.argmax(1)], n)
    return crossed, taken


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_group_sequential_trial_of_nothing_rejects_in_2_5_per_cent(boundary: str) -> None:
    made = design(np.array([1, 2, 3]) / 3, ALPHA, 0.9, boundary)
    crossed, taken = sequential_trials(made, 120, 0.0, f"null {boundary}")
    print(boundary, "rejects", crossed.mean())
    assert as_planned(crossed.mean(), ALPHA, TRIALS)
    fixed = 120 / made.inflation
    assert abs(taken.mean() - made.expected_null * fixed) < 3 * taken.std() / np.sqrt(TRIALS)


def test_a_group_sequential_trial_has_its_power_and_its_expected_size() -> None:
    made = design(np.array([1, 2, 3]) / 3, ALPHA, 0.9, "obrien_fleming_spending")
    n = 120
    crossed, taken = sequential_trials(made, n, made.drift * np.sqrt(2 / n), "planned effect")
    assert as_planned(crossed.mean(), 0.9, TRIALS)
    assert abs(taken.mean() - made.expected * n / made.inflation) < 3 * taken.std() / np.sqrt(TRIALS)


def test_trials_of_two_shares_and_two_means_have_their_power() -> None:
    rng, n = numpy_stream("parallel", 0), 300
    control, treated = rng.binomial(n, 0.4, TRIALS) / n, rng.binomial(n, 0.28, TRIALS) / n
    pooled = (control + treated) / 2
    z = (control - treated) / np.sqrt(2 * pooled * (1 - pooled) / n)
    assert as_planned((z > Z).mean(), proportions_power(n, 0.4, 0.28, ALPHA), TRIALS)
    a, b = rng.normal(0, 2, (TRIALS, 15)), rng.normal(2, 2, (TRIALS, 15))
    shift = (b.mean(1) - a.mean(1)) / np.sqrt((a.var(1, ddof=1) + b.var(1, ddof=1)) / 15)
    assert as_planned((shift > student.ppf(0.975, 28)).mean(), means_power(15, 2, 2, ALPHA), TRIALS)


def test_a_log_rank_trial_has_its_events_and_its_power() -> None:
    rng, sets, ratio, hazard, lost = numpy_stream("log-rank", 0), 4000, 0.7, 0.2, 0.05
    n = round(logrank_events(ratio, ALPHA, 0.85) / sum(event_probability(h, lost, 1.5, 2.0) for h in (hazard, hazard * ratio)))
    found, events = np.zeros(sets), np.zeros(sets)
    for i in range(sets):
        arm = np.repeat([0, 1], n)
        time, end = rng.exponential(1 / np.where(arm, hazard * ratio, hazard)), np.minimum(rng.exponential(1 / lost, 2 * n), 2 + rng.uniform(0, 1.5, 2 * n))
        order = np.argsort(np.minimum(time, end))
        event, arm = (time <= end)[order], arm[order]
        treated = arm[::-1].cumsum()[::-1] / np.arange(2 * n, 0, -1)
        found[i] = ((treated - arm)[event]).sum() / np.sqrt((treated * (1 - treated))[event].sum())
        events[i] = event.sum()
    expected = n * sum(event_probability(h, lost, 1.5, 2.0) for h in (hazard, hazard * ratio))
    assert abs(events.mean() - expected) < 3 * events.std() / np.sqrt(sets)
    assert as_planned((found > Z).mean(), logrank_power(expected, ratio, ALPHA), sets)


def test_a_cluster_trial_has_its_power() -> None:
    rng, k, m, icc, effect = numpy_stream("cluster", 0), 8, 30, 0.05, 0.4
    arms = []
    for shift in (0.0, effect):
        people = rng.normal(0, np.sqrt(1 - icc), (TRIALS, k, m)).mean(2)
        arms.append(shift + rng.normal(0, np.sqrt(icc), (TRIALS, k)) + people)
    gap = (arms[1].mean(1) - arms[0].mean(1)) / np.sqrt((arms[0].var(1, ddof=1) + arms[1].var(1, ddof=1)) / k)
    assert as_planned((gap > student.ppf(0.975, 2 * k - 2)).mean(), cluster_power(k, m, effect, 1.0, icc, 0.0, ALPHA), TRIALS)


def test_unequal_clusters_have_the_planned_variance() -> None:
    """The mean of the people of 40 clusters whose sizes are 10 or 50, equally often."""
    rng, icc = numpy_stream("unequal", 0), 0.05
    size = np.repeat([10, 50], 20)
    cv = size.std() / size.mean()
    cluster = rng.normal(0, np.sqrt(icc), (TRIALS, 40)) + rng.normal(0, np.sqrt(1 - icc), (TRIALS, 40)) / np.sqrt(size)
    planned = np.sqrt(design_effect(size.mean(), icc, cv) / size.sum())
    assert spread_as_planned(cluster @ size / size.sum(), planned)


@pytest.mark.parametrize("cac", [1.0, 0.7])
def test_a_stepped_wedge_trial_has_its_power(cac: float) -> None:
    rng, effect, icc, m = numpy_stream("wedge", int(10 * cac)), 0.25, 0.08, 10
    x = stepped_wedge(16, 4)
    within, between = cell_variances(m, 1.0, icc, cac)
    people = rng.normal(0, np.sqrt((1 - icc) / m), (TRIALS, *x.shape))
    means = people + rng.normal(0, np.sqrt(icc * (1 - cac)), people.shape) + rng.normal(0, np.sqrt(icc * cac), (TRIALS, 16, 1))
    means += effect * x + 0.3 * np.arange(5)
    inverse = np.linalg.inv(within * np.eye(5) + between)
    designs = [np.column_stack([np.eye(5), row]) for row in x]
    information = sum(d.T @ inverse @ d for d in designs)
    score = sum(means[:, i] @ inverse @ d for i, d in enumerate(designs))
    estimate = np.linalg.solve(information, score.T)[-1]
    variance = hussey_hughes_variance(x, within, between)
    assert spread_as_planned(estimate, np.sqrt(variance))
    assert as_planned((estimate / np.sqrt(variance) > Z).mean(), normal_power(effect, variance, ALPHA), TRIALS)


def drawn(lp: LogOdds, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated risks of n people and their outcomes."""
    risk = expit(rng.choice(lp.value, n, p=lp.weight))
    return risk, (rng.random(n) < risk).astype(float)


def test_a_validation_of_the_planned_size_has_intervals_of_the_planned_width() -> None:
    lp, rng, sets = binormal(0.75, 0.2), numpy_stream("validation", 0), 300
    widths = {"slope": (n_for_slope(lp, 0.2), 0.2), "c": (n_for_c_statistic(0.75, 0.2, 0.1), 0.1)}
    found: dict[str, list[float]] = {"slope": [], "c": []}
    for _ in range(sets):
        slope = slope_interval(*drawn(lp, widths["slope"][0], rng), 0.95)
        area = roc_areas(*drawn(lp, widths["c"][0], rng)).interval(0, 0.95)
        found["slope"].append(slope.hi - slope.lo)
        found["c"].append(area.hi - area.lo)
    for name, allowed in (("slope", 0.01), ("c", 0.03)):  # Newcombe's variance of C is an approximation; DeLong's is measured
        values = np.array(found[name])
        assert abs(values.mean() / widths[name][1] - 1) < allowed + 3 * values.std() / values.mean() / np.sqrt(sets), name


def test_observed_over_expected_and_net_benefit_scatter_as_planned() -> None:
    lp, rng, sets, threshold = binormal(0.75, 0.2), numpy_stream("o/e", 0), 3000, 0.2
    n = n_for_observed_expected(0.2, 0.2)
    ratio = np.log(rng.binomial(n, 0.2, sets) / (n * 0.2))
    assert spread_as_planned(ratio, log_ratio_se(0.2))
    sensitivity, specificity = accuracy_at(lp, threshold)
    n = n_for_net_benefit(sensitivity, specificity, 0.2, threshold, 0.2)
    sets_of = (drawn(lp, n, rng) for _ in range(sets))
    standardised = np.array([float(net_benefit(p, y, threshold)) / y.mean() for p, y in sets_of])
    assert spread_as_planned(standardised, 0.2 / (2 * Z))


def cox_slope(x: np.ndarray, time: np.ndarray, event: np.ndarray) -> float:
    """Slope of a Cox model on one covariate, without ties, by Newton's method."""
    order = np.argsort(time)
    x, event, b = x[order], event[order], 1.0
    for _ in range(8):
        w = np.exp(b * x)
        s0, s1, s2 = (np.cumsum((w * x**k)[::-1])[::-1] for k in range(3))
        mean = s1 / s0
        b += ((x - mean)[event]).sum() / ((s2 / s0 - mean**2)[event]).sum()
    return b


def test_a_validation_of_a_time_to_event_scatters_as_planned() -> None:
    risk, horizon, lost, sd, sets = 0.3, 2.0, 0.1, 0.8, 1500
    rng = numpy_stream("time to event", 0)
    hazard = np.exp(log_hazard_shift(risk, sd)) / horizon

    def cohort(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = rng.normal(0, sd, n)
        time, end = rng.exponential(1 / (hazard * np.exp(x))), np.minimum(rng.exponential(1 / lost, n), horizon)
        return x, np.minimum(time, end), time <= end

    n = n_for_observed_expected_at(risk, horizon, lost, sd, 0.2)
    observed = []
    for _ in range(sets):
        _, time, event = cohort(n)
        observed.append(1 - float(kaplan_meier(time, event).at(np.array([horizon]))[0]))
    assert abs(np.mean(observed) - risk) < 4 * np.std(observed) / np.sqrt(sets)
    assert spread_as_planned(np.log(np.array(observed) / risk), log_ratio_se(0.2))
    n = n_for_cox_slope(risk, horizon, lost, sd, 0.2)
    slopes = np.array([cox_slope(*cohort(n)) for _ in range(sets)])
    assert spread_as_planned(slopes, 0.2 / (2 * Z))


def test_a_model_of_the_planned_size_shrinks_as_planned() -> None:
    """Logistic regressions of 10 predictors with Cox-Snell R2 0.13: their slope in new people is the planned 0.9 on average."""
    rng, sets, p = numpy_stream("shrinkage", 0), 300, 10
    beta, intercept = np.full(p, 0.29), -1.0
    x = rng.normal(size=(400_000, p))
    lp = intercept + x @ beta
    risk = expit(lp)
    mean = risk.mean()
    entropy = [float((q * np.log(q) + (1 - q) * np.log(1 - q)).mean()) for q in (risk, np.array([mean]))]
    r2 = 1 - np.exp(-2 * (entropy[0] - entropy[1]))
    n = n_for_shrinkage(p, r2, 0.9)
    slopes = []
    for _ in range(sets):
        train = rng.normal(size=(n, p))
        y = rng.random(n) < expit(intercept + train @ beta)
        fit = LogisticRegression(C=np.inf, max_iter=1000).fit(train, y)
        rows = rng.integers(0, 400_000, 4000)
        fitted = expit(fit.intercept_[0] + x[rows] @ fit.coef_[0])
        slopes.append(float(calibration_slope(fitted, risk[rows])))
    assert abs(np.mean(slopes) - 0.9) < 0.01 + 3 * np.std(slopes) / np.sqrt(sets)


def test_newcombes_error_is_that_of_delong_within_five_per_cent() -> None:
    lp, rng = binormal(0.8, 0.1), numpy_stream("newcombe", 0)
    found = [roc_areas(*drawn(lp, 3000, rng)).interval(0, 0.95).se for _ in range(200)]
    assert np.mean(found) == pytest.approx(c_statistic_se(3000, 0.8, 0.1), rel=0.05)

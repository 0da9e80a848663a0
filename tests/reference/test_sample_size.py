"""Agreement of bounds, powers and sample sizes with rpact, R's own power functions, nlme, pmsampsize and pmvalsampsize, frozen by make_sample_size.R."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.plan import made_of
from equipoise.stats import sample_size as size
from equipoise.stats.cluster_power import gls_variance, hussey_hughes_variance, normal_power, stepped_wedge
from equipoise.stats.group_sequential import BOUNDARIES, design
from equipoise.stats.log_odds import accuracy_at, binormal, normal
from equipoise.stats.trial_power import means_power, proportions_n, proportions_power
from equipoise.stats.validation_size import n_for_c_statistic, n_for_net_benefit, n_for_observed_expected, n_for_slope

pytestmark = pytest.mark.reference
FROZEN: dict[str, Any] = json.loads((Path(__file__).parent / "sample_size.json").read_text())
D, V, P, W = (FROZEN[name] for name in ("development", "validation", "parallel", "stepped_wedge"))


def test_the_frozen_values_name_their_packages() -> None:
    assert {"R", "rpact", "nlme", "pmsampsize", "pmvalsampsize"} <= set(FROZEN["versions"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("example", "cox_snell_r2=0.288 parameters=24 prevalence=0.174"),
        ("rare", "cox_snell_r2=0.02 parameters=12 prevalence=0.03 shrinkage=0.95"),
        ("common", "cox_snell_r2=0.4 parameters=40 prevalence=0.6"),
    ],
)
def test_the_criteria_of_a_binary_outcome_equal_pmsampsize(name: str, words: str) -> None:
    plan, _ = made_of("development_binary", words.split())
    assert [*plan.numbers["criteria"].values(), plan.numbers["n"]] == D[name]


def test_the_worked_example_is_623_662_221() -> None:
    plan, _ = made_of("development_binary", ["cox_snell_r2=0.288", "parameters=24", "prevalence=0.174"])
    assert list(plan.numbers["criteria"].values())[:3] == D["example"][:3] == [623, 662, 221]


def test_r2_of_a_c_statistic_equals_the_simulation_of_pmsampsize() -> None:
    """1,000,000 simulated people: R2 has a standard error of the order of 0.0005."""
    found = [size.cox_snell_r2_of_c(c, p) for c, p in ((0.89, 0.174), (0.7, 0.05), (0.75, 0.4))]
    np.testing.assert_allclose(found, D["r2_of_c"], atol=0.0015)


@pytest.mark.parametrize(
    ("name", "words"),
    [("linear_example", "r2=0.2 parameters=25 mean=1.9 sd=0.6"), ("linear_other", "r2=0.6 parameters=8 mean=100 sd=15 shrinkage=0.95")],
)
def test_the_criteria_of_a_continuous_outcome_equal_pmsampsize(name: str, words: str) -> None:
    """pmsampsize raises the fourth criterion to the n of the others; ours is the least that the mean alone needs."""
    plan, _ = made_of("development_continuous", words.split())
    needs = list(plan.numbers["criteria"].values())
    assert needs[:3] == D[name][:3]
    assert max(needs) == plan.numbers["n"] == D[name][4]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("survival_example", "cox_snell_r2=0.051 parameters=30 rate_per_year=0.065 horizon_years=2 mean_follow_up_years=2.07"),
        ("survival_other", "cox_snell_r2=0.12 parameters=15 rate_per_year=0.2 horizon_years=1 mean_follow_up_years=1.5 shrinkage=0.85"),
    ],
)
def test_the_criteria_of_a_time_to_event_equal_pmsampsize(name: str, words: str) -> None:
    """pmsampsize reads the events of 10,000 people, rounded up; it raises the third criterion to the n of the others."""
    plan, _ = made_of("development_time_to_event", words.split())
    needs = list(plan.numbers["criteria"].values())
    assert needs[0] == D[name][0]
    assert needs[1] == pytest.approx(D[name][1], abs=1)
    assert plan.numbers["n"] == pytest.approx(D[name][3], abs=1)


def test_the_upper_bound_of_the_incidence_equals_pmsampsize() -> None:
    """The half width that pmsampsize prints at its n, put into ours, gives that n back (its bound has three digits)."""
    half_width = D["upper_risk"] - (1 - math.exp(-0.065 * 2))
    lo, hi = (size.n_for_incidence(0.065, 2.07, 2, half_width + shift) for shift in (0.0005, -0.0005))
    assert lo <= D["survival_example"][3] <= hi


def assert_near(found: list[int], expected: list[int], allowed: list[float]) -> None:
    """Each within its own relative error; 0 is equality."""
    for one, other, error in zip(found, expected, allowed, strict=True):
        assert abs(one / other - 1) <= error, (one, other)


def test_the_widths_of_a_validation_equal_pmvalsampsize() -> None:
    """pmvalsampsize steps its standard errors by 0.0001 and rounds that of net benefit to 0.001; the slope comes from 1,000,000 simulated people."""
    n = [
        n_for_observed_expected(0.018, 1),
        n_for_slope(normal(-5, 2.5), 0.2),
        n_for_c_statistic(0.8, 0.018, 0.1),
        n_for_net_benefit(0.5, 0.5, 0.018, 0.08, 0.2),
    ]
    assert_near(n, V["normal"][:4], [0.002, 0.01, 0, 0.002])


def test_the_widths_of_a_validation_by_its_c_statistic_equal_pmvalsampsize() -> None:
    lp = binormal(0.75, 0.3)
    sensitivity, specificity = (round(x, 2) for x in accuracy_at(lp, 0.2))
    n = [n_for_observed_expected(0.3, 0.2), n_for_slope(lp, 0.2), n_for_c_statistic(0.75, 0.3, 0.1), n_for_net_benefit(sensitivity, specificity, 0.3, 0.2, 0.2)]
    assert_near(n, V["binormal"][:4], [0.005, 0.01, 0, 0.02])


def test_two_proportions_equal_power_prop_test() -> None:
    assert proportions_n(0.5, 0.75, 0.025, 0.9) == pytest.approx(P["proportions_n"], rel=1e-12)
    np.testing.assert_allclose([proportions_power(n, 0.2, 0.3, 0.025) for n in (20, 50, 200)], P["proportions_power"], rtol=1e-12)


def test_two_means_equal_power_t_test() -> None:
    np.testing.assert_allclose([means_power(n, 0.5, 1.0, 0.025) for n in (3, 20, 200)], P["means_power"], rtol=1e-11)
    assert means_power(P["means_n"], 4, 15, 0.025) == pytest.approx(0.9, abs=1e-12)


def test_a_time_to_event_equals_rpact() -> None:
    words = "control_risk=0.3 horizon_years=2 hazard_ratio=0.7 accrual_years=1.5 follow_up_years=2 lost_per_year=0.05 power=0.9"
    plan, _ = made_of("parallel_time_to_event", words.split())
    assert plan.numbers["events"] == pytest.approx(P["survival_events"], rel=1e-12)
    unrounded = 2 * plan.numbers["events"] / sum(plan.numbers["event_probability"].values())
    assert unrounded == pytest.approx(P["survival_n"], rel=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_group_sequential_bounds_and_sizes_equal_rpact(boundary: str) -> None:
    for frozen in FROZEN["group_sequential"][boundary]:
        made = design(np.array(frozen["information"]), 0.025, frozen["power"], boundary)
        np.testing.assert_allclose(made.bounds, frozen["bounds"], rtol=1e-7)
        np.testing.assert_allclose(made.spent, frozen["spent"], atol=2e-8)
        np.testing.assert_allclose(made.stops, frozen["stops"], atol=1e-7)
        for name in ("inflation", "expected", "expected_half", "expected_null"):
            assert getattr(made, name) == pytest.approx(frozen[name], rel=1e-7), name
        assert frozen["n_fixed"] * made.inflation == pytest.approx(frozen["n_max"], rel=1e-7)


def test_three_looks_have_the_bounds_that_rpact_prints() -> None:
    made = design(np.array([1, 2, 3]) / 3, 0.025, 0.9, "obrien_fleming_spending")
    np.testing.assert_allclose(made.bounds, [3.710303, 2.511427, 1.993047], atol=1e-6)


def test_a_sequential_trial_of_two_rates_equals_rpact() -> None:
    """rpact's fixed size has a pooled variance, as ours."""
    plan, _ = made_of("group_sequential", ["control=0.4", "treated=0.3"])
    assert 2 * plan.numbers["fixed_n_per_arm"] * plan.numbers["inflation"] == pytest.approx(FROZEN["rates_n_max"], rel=1e-7)


def test_the_variance_of_a_stepped_wedge_equals_least_squares_in_r() -> None:
    """R inverts the covariance of all cells at once; ours is the closed form, and the sum over clusters."""
    for (clusters, steps, within, between), expected in zip(((12, 4, 0.1, 0.02), (24, 3, 0.05, 0.05), (6, 6, 0.2, 0.0)), W["variances"], strict=True):
        x = stepped_wedge(clusters, steps)
        assert hussey_hughes_variance(x, within, between) == pytest.approx(expected, rel=1e-11)
        assert gls_variance(x, within * np.eye(steps + 1) + between) == pytest.approx(expected, rel=1e-11)


def test_the_power_of_a_stepped_wedge_equals_that_of_simulated_trials_in_nlme() -> None:
    power = normal_power(0.28, hussey_hughes_variance(stepped_wedge(24, 4), 0.95 / 6, 0.05), 0.025)
    assert abs(W["simulated"] - power) < 3 * math.sqrt(power * (1 - power) / W["sets"])

"""Statistical truth by simulation: intervals cover, and the verdict's error rate is as declared. Slow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from equipoise.stats.bootstrap import ClusterBootstrap, ball_interval, percentile_interval
from equipoise.stats.calibration_curve import curve_distance, smooth
from equipoise.stats.delong import roc_areas
from equipoise.stats.recalibration import slope_interval
from equipoise.stats.scores import brier
from equipoise.stats.weighting import weighted_mean
from trial.simulated_predictions import binary, judged, protocol

pytestmark = pytest.mark.slow
SETS = 1000


def world(rng: np.random.Generator, clusters: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, two risks, cluster, and truth in log odds. Truth and noise of the risks are partly shared within clusters."""
    cluster = np.repeat(np.arange(clusters), rows)

    def shared(sd: float) -> np.ndarray:
        if rows == 1:
            return rng.normal(0, sd, clusters)
        return (rng.normal(0, sd, clusters)[cluster] + rng.normal(0, sd, cluster.size)) / np.sqrt(2)

    truth = -1.0 + shared(1.2)
    y = (rng.random(cluster.size) < expit(truth)).astype(float)
    return y, expit(truth + shared(0.5)), expit(truth + shared(0.9)), cluster, truth


def within(covered: int, sets: int, declared: float) -> bool:
    """Within three Monte Carlo standard errors of the declared coverage."""
    return abs(covered / sets - declared) < 3 * np.sqrt(declared * (1 - declared) / sets)


@pytest.fixture(scope="module", params=[(250, 1), (100, 5)], ids=["1_row_a_cluster", "5_rows_a_cluster"])
def coverage(request: pytest.FixtureRequest) -> dict[str, int]:
    """How often each interval covers the value in a population of 200,000 clusters."""
    clusters, rows = request.param
    y, p, q, _, _ = world(np.random.default_rng(99), 200_000, rows)
    truth = {
        "auroc": float(roc_areas(p, y).area[0]),
        "auroc difference": float(np.subtract(*roc_areas(np.stack([p, q]), y).area)),
        "brier difference": float((brier(p, y) - brier(q, y)).mean()),
        "slope": slope_interval(p, y, 0.95).value,
    }
    hits = dict.fromkeys(truth, 0)
    for i in range(SETS):
        y, p, q, cluster, _ = world(np.random.default_rng([7, i]), clusters, rows)
        areas = roc_areas(np.stack([p, q]), y, cluster)
        gap = brier(p, y) - brier(q, y)
        draws = np.concatenate([weighted_mean(gap, w) for w in ClusterBootstrap(cluster, 400, i).blocks()])
        found = {
            "auroc": areas.interval(0, 0.95),
            "auroc difference": areas.difference(0, 1, 0.95),
            "brier difference": percentile_interval(float(gap.mean()), draws, 0.95, clusters),
            "slope": slope_interval(p, y, 0.95, cluster),
        }
        for name, estimate in found.items():
            hits[name] += estimate.lo <= truth[name] <= estimate.hi
    print({k: v / SETS for k, v in hits.items()})
    return hits


@pytest.mark.parametrize("name", ["auroc", "auroc difference", "brier difference", "slope"])
def test_intervals_cover_what_they_say_with_one_and_with_five_rows_a_cluster(coverage: dict[str, int], name: str) -> None:
    assert within(coverage[name], SETS, 0.95), f"{name}: {coverage[name] / SETS:.3f}"


def test_with_strong_clusters_the_clustered_form_covers_and_plain_delong_does_not() -> None:
    """Five rows of one person with one risk: a simulation that could not tell the two apart would prove nothing."""

    def people(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng([8, seed])
        person = np.repeat(np.arange(n), 5)
        truth = rng.normal(-1, 1.5, n)
        y = (rng.random(n) < expit(truth)).astype(float)[person]
        return y, (truth + rng.normal(0, 1, n))[person] + rng.normal(0, 0.2, person.size), person

    y, p, _ = people(10**6, 200_000)
    truth = float(roc_areas(p, y).area[0])
    clustered = plain = 0
    for i in range(SETS):
        y, p, person = people(i, 150)
        for name, cluster in (("clustered", person), ("plain", None)):
            found = roc_areas(p, y, cluster).interval(0, 0.95)
            hit = found.lo <= truth <= found.hi
            clustered, plain = clustered + (hit and name == "clustered"), plain + (hit and name == "plain")
    print(f"clustered {clustered / SETS:.3f}, plain {plain / SETS:.3f}")
    assert within(clustered, SETS, 0.95)
    assert plain / SETS < 0.75


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (0.15, 1.0), (0.5, 0.8)], ids=["perfect", "slightly_off", "far_off"])
def test_the_interval_of_the_calibration_index_covers_at_least_as_often_as_it_says(intercept: float, slope: float) -> None:
    """The true index of perfect risks is 0, which percentiles of resampled indices never reach (they cover 0 in 200 sets of the first case)."""
    sets, n = 200, 400
    x = np.random.default_rng(5).normal(-1.5, 1, 200_000)
    truth = float(np.abs(expit(intercept + slope * x) - expit(x)).mean())
    covered = 0
    for i in range(sets):
        rng = np.random.default_rng([9, i, int(100 * intercept)])
        x = rng.normal(-1.5, 1, n)
        y, p = (rng.random(n) < expit(intercept + slope * x)).astype(float), expit(x)
        own = smooth(p, y, p).observed
        distances = np.array([curve_distance(p, y, w, own) for block in ClusterBootstrap(np.arange(n), 100, i).blocks() for w in block])
        found = ball_interval(float(np.abs(own - p).mean()), distances, 0.95, n, floor=0.0)
        covered += found.lo <= truth <= found.hi
    print(f"calibration index {truth:.3f}: {covered / sets:.3f}")
    assert covered / sets >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / sets)


FAST = {"endpoints": ["log_score"], "n_bootstrap": 300}


@pytest.mark.parametrize("rows", [1, 5])
def test_two_equally_good_models_are_called_a_gain_in_at_most_the_declared_share(rows: int) -> None:
    """The net-benefit part of the rule is switched off (a margin of ten times the prevalence): it could only hide false gains."""
    gains = 0
    for i in range(SETS):
        words = protocol(**FAST, seed=i, net_benefit_margin_share=10.0)
        found = judged(binary(400, seed=50_000 + i, rows_a_cluster=rows, equipoise=0.8, linear=0.8), protocol=words)
        gains += found["verdict"] == "demonstrated gain"
    print(f"false gains with {rows} rows a cluster: {gains / SETS:.3f}")
    assert gains / SETS <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / SETS)


def test_a_planted_gain_is_shown_as_often_as_the_printed_smallest_gain_foretells() -> None:
    """The rule prints 2.80 standard errors as the gain that a power of 80 % needs: its power at the planted gain follows."""
    sets, gain, sizes = 400, 0, []
    for i in range(sets):
        found = judged(binary(400, seed=10_000 + i, equipoise=0.8, linear=1.4), protocol=protocol(**FAST, net_benefit_margin_share=10.0))
        gain += found["verdict"] == "demonstrated gain"
        sizes.append(found["verdict_detail"]["smallest_demonstrable_gain"]["linear"])
    y, p, q = (np.concatenate(x) for x in zip(*[_columns(20_000 + i) for i in range(40)], strict=True))
    truth = float(np.mean(-np.log(np.where(y == 1, q, 1 - q)) + np.log(np.where(y == 1, p, 1 - p))))
    # Power at the true gain for the typical standard error, from the same formula.
    power = norm.cdf(truth / (np.median(sizes) / 2.802) - 1.96)
    print(f"power {gain / sets:.3f}, foretold {power:.3f}, truth {truth:.4f}, smallest {np.median(sizes):.4f}")
    assert gain / sets == pytest.approx(power, abs=0.09)


def _columns(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    t = binary(2000, seed=seed, equipoise=0.8, linear=1.4)
    own, other = t.filter(t["model"] == "equipoise"), t.filter(t["model"] == "linear")
    return own["outcome"].to_numpy(), own["risk"].to_numpy(), other["risk"].to_numpy()


def test_a_thousand_resamples_of_five_models_on_four_thousand_rows_take_seconds_of_one_core() -> None:
    import time

    t = binary(4000, equipoise=0.0, linear=0.5, boosting=0.7, gblup=0.9, published=1.5)
    start = time.process_time()
    judged(t, required=("linear", "boosting"), protocol=protocol(n_bootstrap=1000, loess_bootstrap=100))
    assert time.process_time() - start < 20

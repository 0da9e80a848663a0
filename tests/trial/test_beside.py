"""Runs beside one another: means over seeds, other kinds of outcome, and the error rates that the adjusted p-values promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from equipoise.stats.roc import auroc
from equipoise.stats.scores import log_score
from equipoise.trial.beside import beside
from trial.simulated_predictions import binary, judged, protocol, table


def put(predictions: pl.DataFrame, ways: Mapping[str, Sequence[str]], *, kind: str = "binary", role: str = "held_out", **over: Any) -> dict[str, Any]:
    return beside(predictions, protocol(**over), kind=kind, ways=ways, comparators=[], role=role)


def test_the_interval_of_a_mean_over_seeds_is_that_of_the_means_of_the_resampled_values() -> None:
    """For a proper score the mean over runs of the score is the score of the mean loss, so a model of that loss has the same interval."""
    x = np.random.default_rng(0).normal(0, 1, (2, 300))
    y = 1.0 * x[0] + np.random.default_rng(1).normal(0, 1, 300)
    # mae is linear in the absolute errors: a model whose errors are their means stands for the way.
    a, b = x[0], 0.3 * x[1]
    mean = y - (np.abs(y - a) + np.abs(y - b)) / 2
    found = put(table({"a": a, "b": b, "mean": mean}, y), {"mean": ["mean"], "way": ["a", "b"]}, kind="continuous", primary="mae")
    way, single = found["ways"]["way"]["endpoints"]["mae"], found["ways"]["mean"]["endpoints"]["mae"]
    assert [way[k] for k in ("value", "lo", "hi")] == pytest.approx([single[k] for k in ("value", "lo", "hi")], rel=1e-12)
    assert found["differences"]["way"]["mae"]["difference"] == pytest.approx(0, abs=1e-12)


def test_ways_of_one_run_have_the_trials_own_estimates_also_beside_ways_of_several() -> None:
    predictions = binary(n=300, rows_a_cluster=3, equipoise=0.4, linear=0.8, c=0.5)
    expected = judged(predictions, protocol=protocol(loess_bootstrap=30))
    alone = put(predictions, {"linear": ["linear"], "equipoise": ["equipoise"]}, loess_bootstrap=30)
    mixed = put(predictions, {"linear": ["linear"], "equipoise": ["equipoise"], "way": ["c", "linear"]}, loess_bootstrap=30)
    for found in (alone, mixed):
        assert found["ways"]["equipoise"]["endpoints"] == expected["endpoints"]
    for name, entry in expected["comparisons"]["linear"].items():
        assert {k: alone["differences"]["equipoise"][name][k] for k in entry} == entry
        assert mixed["differences"]["equipoise"][name]["difference"] == pytest.approx(entry["difference"])
    assert mixed["ways"]["way"]["endpoints"]["ici"]["lo"] is not None


def test_rows_that_a_run_of_a_way_abstains_on_are_judged_for_no_run_of_it() -> None:
    predictions = binary(n=200, a=0.4, b=0.5, c=0.6)
    silent = (pl.col("model") == "b") & pl.col("subject_id").is_in([f"s{i}" for i in range(20)])
    predictions = predictions.with_columns(pl.when(silent).then(None).otherwise(pl.col("risk")).alias("risk"))
    found = put(predictions, {"c": ["c"], "way": ["a", "b"]})
    assert {e["n"] for e in found["differences"]["way"].values()} == {180}


@pytest.mark.parametrize("kind", ["multiclass", "time_to_event", "treatment_effect", "cross-validation"])
def test_every_kind_of_outcome_has_means_over_seeds(kind: str) -> None:
    rng = np.random.default_rng(5)
    n, frames = 240, []
    latent = rng.normal(size=n)
    people = pl.DataFrame({"subject_id": [f"s{i}" for i in range(n)]})
    y = (rng.random(n) < expit(latent)).astype(float)
    time = rng.exponential(500 * np.exp(-latent))
    treatment = rng.integers(0, 2, n)
    for model, noise in (("a", 0.3), ("b", 0.6), ("c", 0.9)):
        risk = expit(latent + rng.normal(0, noise, n))
        own = people.with_columns(pl.lit(model).alias("model"))
        match kind:
            case "multiclass":
                frames += [
                    own.with_columns(pl.lit(label).alias("target"), pl.Series("risk", p), pl.Series("outcome", o))
                    for label, p, o in (("no", 1 - risk, 1 - y), ("yes", risk, y))
                ]
            case "time_to_event":
                known = own.with_columns(pl.Series("time_days", np.minimum(time, 900)), pl.Series("event", (time < 900).astype(int)))
                frames += [
                    known.with_columns(pl.lit(f"h={h}").alias("target"), pl.Series("risk", 1 - (1 - risk) ** power), pl.lit(None).alias("outcome"))
                    for h, power in ((100, 0.5), (300, 1.0))
                ]
            case "treatment_effect":
                known = own.with_columns(pl.Series("treatment", treatment))
                received = [np.where(treatment == arm, y, np.nan) for arm in (0, 1)]
                frames += [
                    known.with_columns(pl.lit(label).alias("target"), pl.Series("risk", p), pl.Series("outcome", o))
                    for label, p, o in (("mu0", 0.9 * risk, received[0]), ("mu1", risk, received[1]), ("effect", 0.1 * risk, np.full(n, np.nan)))
                ]
            case _:
                frames.append(own.with_columns(pl.Series("risk", risk), pl.Series("outcome", y), pl.Series("fold", np.arange(n) % 4)))
    made = pl.concat(frames, how="diagonal_relaxed").with_columns(pl.col("outcome").cast(pl.Float64))
    found = put(made, {"c": ["c"], "way": ["a", "b"]}, kind="binary" if kind == "cross-validation" else kind, n_bootstrap=100)
    for name, entry in found["ways"]["way"]["endpoints"].items():
        values = [found["runs"][run]["endpoints"][name]["value"] for run in "ab"]
        if entry["value"] is not None:
            assert entry["value"] == pytest.approx(np.mean(values), rel=1e-9), name
            if entry["lo"] is not None:
                assert entry["lo"] <= entry["value"] <= entry["hi"]
    primary = found["differences"]["way"][found["primary"]]
    assert primary["lo"] < primary["difference"] < primary["hi"]


def _people(rng: np.random.Generator, n: int, spreads: Sequence[float]) -> tuple[np.ndarray, list[np.ndarray]]:
    truth = -1.2 + rng.normal(0, 1.3, n)
    return (rng.random(n) < expit(truth)).astype(float), [expit(truth + rng.normal(0, s, n)) for s in spreads]


@pytest.mark.slow
def test_holm_over_the_pairs_holds_the_chance_of_calling_one_of_several_equal_runs_different() -> None:
    sets, alpha = 250, 0.05
    adjusted, plain = [], []
    for seed in range(sets):
        y, risks = _people(np.random.default_rng(seed), 300, [0.6] * 5)
        runs = dict(zip("abcde", risks, strict=True))
        found = put(table(runs, y), {r: [r] for r in runs}, seed=seed, n_bootstrap=400, endpoints=["log_score"])
        of_primary = [t["log_score"] for t in found["differences"].values()]
        adjusted.append(min(e["p_adjusted"] for e in of_primary))
        plain.append(min(e["p"] for e in of_primary))
    wrong, unadjusted = np.mean(np.array(adjusted) <= alpha), np.mean(np.array(plain) <= alpha)
    print(f"Holm {wrong:.4f}, unadjusted {unadjusted:.4f}")
    assert wrong <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / sets)
    assert unadjusted > alpha + 3 * np.sqrt(alpha * (1 - alpha) / sets), "without adjusting, equal runs are called different too often"


@pytest.mark.slow
def test_intervals_of_means_over_seeds_and_of_their_differences_cover() -> None:
    spreads = [0.3, 0.5, 0.7, 0.9]
    y, risks = _people(np.random.default_rng(10**6), 2_000_000, spreads)
    ones = np.ones_like(y)
    truth = {"log_score": [log_score(p, y).mean() for p in risks], "auroc": [float(auroc(p, y, ones)) for p in risks]}
    sets, level, inside = 250, 0.95, {name: [0, 0] for name in truth}
    for seed in range(sets):
        y, risks = _people(np.random.default_rng(seed), 300, spreads)
        found = put(table(dict(zip("abcd", risks, strict=True)), y), {"d": ["d"], "way": ["a", "b", "c"]}, seed=seed, n_bootstrap=300, endpoints=[*truth])
        for name, of in truth.items():
            mean = float(np.mean(of[:3]))
            entry, change = found["ways"]["way"]["endpoints"][name], found["differences"]["way"][name]
            inside[name][0] += entry["lo"] <= mean <= entry["hi"]
            inside[name][1] += change["lo"] <= mean - of[3] <= change["hi"]
    print({name: [k / sets for k in counts] for name, counts in inside.items()})
    for counts in inside.values():
        for k in counts:
            assert k / sets == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / sets))

"""What a service asks of a model: do its intervals hold, does referral help, what do alerts cost; also against a known truth."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from equipoise.stats.scores import interval_score
from equipoise.trial.coverage import coverage_tables
from equipoise.trial.judged import Judged
from equipoise.trial.rows import rows_of
from equipoise.trial.table import validated
from trial.simulated_predictions import binary, judged, protocol, table

COSTS = {"true_positive": 30.0, "false_positive": 10.0, "false_negative": 100.0, "true_negative": 0.0}


def continuous(n: int = 400, seed: int = 0, sd: float = 1.0, rows_a_cluster: int = 1) -> pl.DataFrame:
    """Outcomes with variance 1 around the predicted mean, half of it shared by a cluster of several rows; the model says ``sd``."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(n) // rows_a_cluster
    noise = rng.normal(size=n) if rows_a_cluster == 1 else (rng.normal(size=cluster[-1] + 1)[cluster] + rng.normal(size=n)) / np.sqrt(2)
    x = rng.normal(size=n)
    return table({"equipoise": x, "linear": x + rng.normal(size=n)}, x + noise, total=np.full(n, sd**2), cluster=[f"c{c}" for c in cluster])


def covered(made: pl.DataFrame, **over: Any) -> dict[str, Any]:
    words = {"interval": over.pop("interval", None)}
    return judged(made, "continuous", protocol=protocol(**over), **words)["uncertainty"]["by_group"]


def test_coverage_width_and_interval_score_are_those_of_the_rows() -> None:
    made = continuous().with_columns(lo=pl.col("risk") - 1.5, hi=pl.col("risk") + 1.0, site=pl.lit("x"), present_ehr=pl.lit(value=True))
    found = covered(made, interval={"kind": "conformal", "level": 0.9, "of": "conformal interval of the outcome"})
    own = made.filter(pl.col("model") == "equipoise")
    y, lo, hi = (own[c].to_numpy() for c in ("outcome", "lo", "hi"))
    assert found["level"] == 0.9
    assert set(found["groups"]) == {"all", "site", "missing"}
    line = found["groups"]["all"]["all"]
    assert line["coverage"] == pytest.approx(((lo <= y) & (y <= hi)).mean(), rel=1e-12)
    assert line["interval_score"] == pytest.approx(interval_score(lo, hi, y, 0.9).mean(), rel=1e-12)
    assert line["median_width"] == pytest.approx(2.5)
    assert line["method"] == "Wilson"
    assert found["groups"]["site"]["x"] == line == found["groups"]["missing"]["all evidences"]


def test_without_a_stated_interval_mean_and_variance_give_one_at_the_protocols_level() -> None:
    made = continuous(sd=0.5)
    found = covered(made, level=0.8)
    assert found["of"].startswith("normal")
    own = made.filter(pl.col("model") == "equipoise")
    z = np.abs(own["outcome"].to_numpy() - own["risk"].to_numpy()) / 0.5
    assert found["groups"]["all"]["all"]["coverage"] == pytest.approx((z <= norm.ppf(0.9)).mean(), rel=1e-12)
    score = judged(made, "continuous", protocol=protocol(level=0.8, extra_endpoints=["interval_score"]))["endpoints"]["interval_score"]
    assert score["value"] == pytest.approx(found["groups"]["all"]["all"]["interval_score"], rel=1e-12)


def test_coverage_of_small_groups_is_hidden_and_an_interval_of_the_mean_covers_nothing() -> None:
    made = continuous().with_columns(site=pl.when(pl.col("subject_id").str.len_chars() == 2).then(pl.lit("few")).otherwise(pl.lit("many")))
    assert covered(made, min_cell=11)["groups"]["site"] == {
        "few": {"suppressed": "fewer than 11"},
        "many": {"suppressed": "not shown: a smaller group could be found from the total"},
    }
    risky = binary(300, equipoise=0.2, linear=1.0).with_columns(lo=pl.col("risk") * 0.9, hi=pl.col("risk"))
    line = judged(risky)["uncertainty"]["by_group"]["groups"]["all"]["all"]
    assert set(line) == {"n", "median_width"}


def test_referral_of_uncertain_rows_lowers_the_loss_and_hands_them_to_the_comparator() -> None:
    made = binary(800, equipoise=0.3, linear=1.0)
    made = made.with_columns(total=pl.col("risk") * (1 - pl.col("risk")), epistemic=pl.lit(0.1))
    found = judged(made, protocol=protocol(referral_cost=0.01, threshold=0.3))
    referral = found["referral"]
    assert set(referral["curves"]) == {"total"}  # the epistemic part is the same for all
    curve = referral["curves"]["total"]
    assert curve["loss"][0] == pytest.approx(found["endpoints"]["log_score"]["value"], rel=1e-12)
    assert curve["excess"]["hi"] < 0
    assert curve["area"]["value"] - curve["loss"][0] == pytest.approx(curve["excess"]["value"])
    assert all(lo <= v <= hi for lo, v, hi in zip(curve["lo"], curve["loss"], curve["hi"], strict=True))
    handed, treated = referral["net_benefit"]["total"]
    assert (handed["to"], treated["to"], treated["cost"]) == ("linear", "treat all", 0.01)
    assert [way["net_benefit"][0] for way in (handed, treated)] == pytest.approx([found["endpoints"]["net_benefit"]["value"]] * 2, rel=1e-9)
    assert handed["gain"][0] == handed["gain_lo"][0] == handed["gain_hi"][0] == 0
    json.dumps(referral, allow_nan=False)


def test_referral_needs_a_stated_uncertainty_and_a_loss_of_each_row() -> None:
    assert judged(binary(200, equipoise=0.3, linear=1.0))["referral"] == {}


def test_numbers_needed_and_costs_have_intervals_and_paired_differences() -> None:
    made = binary(800, equipoise=0.3, linear=1.0)
    found = judged(made, protocol=protocol(threshold=0.3, unit_costs=COSTS, relative_risk_reduction=0.2))["utility"]
    own, other = (made.filter(pl.col("model") == m) for m in ("equipoise", "linear"))
    y = own["outcome"].to_numpy()
    alert = own["risk"].to_numpy() >= 0.3
    value = {k: e["value"] for k, e in found["endpoints"].items()}
    assert value["number_needed_to_alert"] == pytest.approx(alert.sum() / y[alert].sum(), rel=1e-12)
    assert value["number_needed_to_treat"] == pytest.approx(5 * value["number_needed_to_alert"], rel=1e-12)
    cost = (30 * (alert & (y == 1)) + 10 * (alert & (y == 0)) + 100 * (~alert & (y == 1))).mean()
    assert value["cost_per_person"] == pytest.approx(cost, rel=1e-12)
    assert value["alerts_per_100"] == pytest.approx(100 * alert.mean(), rel=1e-12)
    apart = found["comparisons"]["linear"]["alerts_per_100"]
    assert apart["difference"] == pytest.approx(100 * (alert.mean() - (other["risk"].to_numpy() >= 0.3).mean()), rel=1e-9)
    assert apart["lo"] < apart["difference"] < apart["hi"]
    assert set(judged(made)["utility"]["endpoints"]) == {"alerts_per_100", "number_needed_to_alert"}
    assert judged(continuous(), "continuous")["utility"] == {}


def covered_fast(made: pl.DataFrame) -> dict[str, Any]:
    """Coverage of one model without the rest of a trial."""
    rows = rows_of(validated(made), "continuous", (), abstain="exclude")
    line: dict[str, Any] = coverage_tables(Judged(rows, protocol(n_bootstrap=250), (), np.empty(0), np.empty(0)), ("equipoise", "all"), {})["groups"]["all"][
        "all"
    ]
    return line


@pytest.mark.slow
@pytest.mark.parametrize("rows_a_cluster", [1, 5])
def test_intervals_of_coverage_hold_the_true_coverage(rows_a_cluster: int) -> None:
    """A model that says 0.8 of the true standard deviation covers 0.883 of the outcomes with its 95 % interval; that is held in 95 % of tables."""
    truth, n_sets = float(2 * norm.cdf(0.8 * norm.ppf(0.975)) - 1), 300
    held = []
    for seed in range(n_sets):
        made = continuous(400, 100 + seed, 0.8, rows_a_cluster).filter(pl.col("model") == "equipoise")
        line = covered_fast(made)
        held.append(line["coverage_lo"] <= truth <= line["coverage_hi"])
    print(f"{rows_a_cluster} rows a cluster: held {np.mean(held):.4f}")
    assert abs(np.mean(held) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / n_sets)


def test_sets_are_counted_with_their_size_and_rows_without_one_are_told() -> None:
    made = binary(400, equipoise=0.4, linear=1.0).with_row_index("i")
    p, none = pl.col("risk"), pl.col("i") % 10 == 0
    made = made.with_columns(
        set_event=pl.when(none).then(None).otherwise(p > 0.2), set_no_event=pl.when(none).then(None).otherwise(p < 0.6), site=pl.lit("x")
    ).drop("i")
    found = judged(made, sets={"level": 0.9, "of": "conformal set"})["uncertainty"]["sets"]
    own = made.filter((pl.col("model") == "equipoise") & pl.col("set_event").is_not_null())
    y, event, no_event = (own[c].cast(pl.Float64).to_numpy() for c in ("outcome", "set_event", "set_no_event"))
    line = found["groups"]["all"]["all"]
    assert found["without"] == 40
    assert line["n"] == own.height
    assert line["coverage"] == pytest.approx(np.where(y == 1, event, no_event).mean(), rel=1e-12)
    assert line["set_size"] == pytest.approx((event + no_event).mean(), rel=1e-12)
    assert line["set_size_lo"] < line["set_size"] < line["set_size_hi"]
    assert line["method"] == "Wilson"
    assert found["groups"]["site"]["x"] == line
    assert judged(made.drop("set_event", "set_no_event"))["uncertainty"]["sets"] == {}

"""A binary outcome through the trial: the shape of results, the numbers, the verdict and its obstacles."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.contract.tables import REFUSED
from equipoise.stats.calibration_curve import calibration_error
from equipoise.stats.delong import roc_areas
from equipoise.stats.recalibration import slope_interval
from equipoise.stats.scores import log_score
from equipoise.trial.endpoints import endpoints_of
from trial.simulated_predictions import binary, judged, protocol, table

GAIN = {"equipoise": 0.0, "linear": 1.5, "boosting": 1.5}


@pytest.fixture(scope="module")
def predictions() -> pl.DataFrame:
    return binary(1500, **GAIN, equipoise__masked=2.0).with_columns(pl.col("scenario").replace("masked", "masked:ehr"))


@pytest.fixture(scope="module")
def results(predictions: pl.DataFrame) -> dict[str, Any]:
    return judged(predictions, required=("linear", "boosting"), protocol=protocol(loess_bootstrap=40), target="died")


def test_results_have_the_agreed_keys_and_are_json_without_nan(results: dict[str, Any]) -> None:
    again = json.loads(json.dumps(results, allow_nan=False))
    assert set(again) == {
        "schema", "task", "kind", "target", "unit", "model", "role", "n", "prevalence", "protocol", "endpoints", "comparators", "comparisons", "verdict",
        "verdict_detail", "secondary", "scenarios", "value", "curves", "uncertainty", "subgroups", "referral", "utility", "way",
    }  # fmt: skip
    names = {e.name for e in endpoints_of("binary", protocol())[0]}
    assert {"auroc", "auprc", "brier", "scaled_brier", "log_score", "calibration_in_the_large", "calibration_slope", "ici", "net_benefit"} == names
    for line in (again["endpoints"], again["comparators"]["linear"]["endpoints"], again["scenarios"]["masked:ehr"]["endpoints"]):
        assert set(line) == names
        assert all({"value", "lo", "hi", "method", "better"} <= set(entry) for entry in line.values())
        assert all(entry["lo"] <= entry["value"] <= entry["hi"] for entry in line.values() if entry["lo"] is not None and entry["better"] != "lower")
    for line in (again["comparisons"]["boosting"], again["scenarios"]["masked:ehr"]["difference"]):
        assert all({"difference", "lo", "hi", "p", "better", "method"} <= set(entry) for entry in line.values())


def test_the_numbers_are_those_of_the_functions_that_are_checked_against_r(predictions: pl.DataFrame, results: dict[str, Any]) -> None:
    own, linear = (predictions.filter((pl.col("model") == m) & (pl.col("scenario") == "all")) for m in ("equipoise", "linear"))
    p, q, y = own["risk"].to_numpy(), linear["risk"].to_numpy(), own["outcome"].to_numpy()
    areas = roc_areas(np.stack([p, q]), y)
    one, gap, slope = areas.interval(0, 0.95), areas.difference(0, 1, 0.95), slope_interval(p, y, 0.95)
    found = results["endpoints"]
    assert [found["auroc"][k] for k in ("value", "lo", "hi")] == pytest.approx([one.value, one.lo, one.hi])
    assert found["auroc"]["method"] == "DeLong"
    assert [results["comparisons"]["linear"]["auroc"][k] for k in ("difference", "lo", "hi", "p")] == pytest.approx([gap.value, gap.lo, gap.hi, gap.p])
    assert [found["calibration_slope"][k] for k in ("value", "lo", "hi")] == pytest.approx([slope.value, slope.lo, slope.hi])
    assert found["log_score"]["value"] == pytest.approx(log_score(p, y).mean())
    assert results["comparisons"]["linear"]["log_score"]["difference"] == pytest.approx(log_score(p, y).mean() - log_score(q, y).mean())
    assert found["ici"]["value"] == pytest.approx(calibration_error(p, y).ici)
    assert results["prevalence"] == pytest.approx(y.mean())
    assert results["n"] == {"rows": 1500, "clusters": 1500, "events": int(y.sum()), "abstained": 0, "outcome_missing": 0, "folds": 1, "repeats": 1}


def test_a_better_model_is_a_demonstrated_gain_and_the_sentence_names_whom_it_beat(results: dict[str, Any]) -> None:
    assert results["verdict"] == "demonstrated gain"
    detail = results["verdict_detail"]
    assert detail["sentence"].startswith("Demonstrated gain: Equipoise has a better log score than linear and boosting")
    assert detail["primary"] == "log_score"
    assert detail["net_benefit"]["not_inferior"]
    assert set(detail["smallest_demonstrable_gain"]) == {"linear", "boosting"}


def test_one_comparator_that_is_not_beaten_is_enough_against_a_gain() -> None:
    found = judged(binary(1500, equipoise=0.3, linear=1.5, boosting=0.3), required=("linear", "boosting"))
    assert found["verdict"] == "no demonstrated gain"
    assert "boosting" in found["verdict_detail"]["sentence"]
    assert "linear" not in found["verdict_detail"]["sentence"]
    assert found["verdict_detail"]["smallest_demonstrable_gain"]["boosting"] > 0


def test_a_worse_model_is_a_demonstrated_loss_unless_within_a_declared_margin() -> None:
    worse = binary(1500, equipoise=1.5, linear=0.0)
    assert judged(worse)["verdict"] == "demonstrated loss"
    found = judged(worse, protocol=protocol(margin=5.0))
    assert found["verdict"] == "non-inferior"
    assert "worse than linear, by less than the margin" in found["verdict_detail"]["sentence"]


def test_a_lost_net_benefit_keeps_a_better_score_from_being_a_gain() -> None:
    """At a threshold of 0.2 the comparator acts well; the model, better overall, is spoilt just there."""
    rng = np.random.default_rng(0)
    y = (rng.random(3000) < 0.3).astype(float)
    linear = np.where(y == 1, 0.35, np.where(rng.random(3000) < 0.5, 0.1, 0.35))
    model = np.where(y == 1, np.where(rng.random(3000) < 0.6, 0.19, 0.9), 0.05)
    found = judged(table({"equipoise": model, "linear": linear}, y), protocol=protocol(threshold=0.2))
    assert found["comparisons"]["linear"]["log_score"]["hi"] < 0
    assert found["verdict"] == "no demonstrated gain"
    assert "net benefit may be inferior" in found["verdict_detail"]["sentence"]


@pytest.mark.slow
def test_the_margin_of_net_benefit_is_a_share_of_the_prevalence() -> None:
    """At 2 % prevalence the model misses three events in ten at the threshold: 0.006 a row, under any margin of 0.01, and 30 % of all there is to gain."""
    rng = np.random.default_rng(0)
    y = (rng.random(20_000) < 0.02).astype(float)
    linear = np.where(y == 1, 0.12, 0.01)
    model = np.where(y == 1, np.where(rng.random(20_000) < 0.7, 0.9, 0.09), 0.001)
    found = judged(table({"equipoise": model, "linear": linear}, y))
    assert found["comparisons"]["linear"]["log_score"]["hi"] < 0
    assert found["comparisons"]["linear"]["net_benefit"]["lo"] > -0.01
    assert found["verdict"] == "no demonstrated gain"
    benefit = found["verdict_detail"]["net_benefit"]
    assert benefit["margin"] == pytest.approx(0.05 * y.mean())
    assert benefit["margin_share"] == 0.05


def test_a_comparator_refused_for_its_cost_leaves_no_verdict_and_one_that_does_not_apply_leaves_it() -> None:
    t, asked = binary(600, **GAIN), ("linear", "gblup")
    refused = judged(t, required=asked, not_run={"gblup/risk": f"{REFUSED}20000 train rows, more than max_rows"})
    assert refused["verdict"] == "not evaluable"
    assert "gblup was refused: 20000 train rows" in refused["verdict_detail"]["sentence"]
    assert refused["verdict_detail"]["not_applicable"] == {}
    assert judged(t, required=asked, not_run={"gblup/risk": "there are no genotypes"})["verdict"] == "demonstrated gain"


def test_a_second_opening_keeps_the_label_and_says_exploratory() -> None:
    found = judged(binary(1500, **GAIN), opening=3)
    assert found["verdict"] == "demonstrated gain"
    assert found["verdict_detail"]["exploratory"]
    assert "opening 3" in found["verdict_detail"]["sentence"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"role": "select", "opening": None}, "tuning metrics, no verdict"),
        ({"required": ("linear", "gblup")}, "gblup is not among the predictions"),
        ({"required": ()}, "no comparator is required"),
        ({"protocol": protocol(min_events=400)}, "the protocol asks for at least 400 of each"),
        ({"model": "somebody"}, "holds no row of model somebody"),
    ],
)
def test_what_stands_in_the_way_of_a_verdict_is_named(words: dict[str, Any], reason: str) -> None:
    found = judged(binary(400, **GAIN), **words)
    assert found["verdict"] == "not evaluable"
    assert reason in found["verdict_detail"]["sentence"]
    json.dumps(found, allow_nan=False)


def test_a_required_comparator_that_does_not_apply_is_excused_by_name() -> None:
    found = judged(binary(1500, **GAIN), required=("linear", "gblup"), not_run={"gblup/risk": "there are no genotypes"})
    assert found["verdict"] == "demonstrated gain"
    assert found["verdict_detail"]["not_applicable"] == {"gblup": "there are no genotypes"}
    assert found["verdict_detail"]["against"] == ["linear"]


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_one_class_only_gives_nulls_with_notes_and_no_verdict(outcome: float) -> None:
    found = judged(binary(200, equipoise=0.2, linear=0.5).with_columns(pl.lit(outcome).alias("outcome")))
    assert found["verdict"] == "not evaluable"
    for name in ("auroc", "calibration_slope", "calibration_in_the_large"):
        assert found["endpoints"][name]["value"] is None
        assert found["endpoints"][name]["note"] == "one class only"
    assert found["endpoints"]["brier"]["value"] is not None
    json.dumps(found, allow_nan=False)


def test_sure_risks_are_counted_in_a_note_and_constant_risks_have_no_slope() -> None:
    t = binary(200, equipoise=0.2, linear=0.5)
    sure = t.with_columns(
        pl.when(pl.col("subject_id").is_in(["s1", "s2"]) & (pl.col("model") == "equipoise")).then(1.0).otherwise(pl.col("risk")).alias("risk")
    )
    assert "2 risks of 0 or 1" in judged(sure)["endpoints"]["log_score"]["note"]
    flat = judged(t.with_columns(pl.when(pl.col("model") == "linear").then(0.2).otherwise(pl.col("risk")).alias("risk")))
    line = flat["comparators"]["linear"]["endpoints"]
    assert line["calibration_slope"]["note"] == "all risks are equal"
    assert line["auroc"]["value"] == 0.5
    json.dumps(flat, allow_nan=False)


def without(t: pl.DataFrame, model: str, n: int) -> pl.DataFrame:
    gone = (pl.col("model") == model) & pl.col("subject_id").is_in([f"s{i}" for i in range(n)])
    return t.with_columns(pl.when(gone).then(None).otherwise(pl.col("risk")).alias("risk"), pl.when(gone).then(pl.lit("no evidence")).alias("abstain_reason"))


def test_differences_are_of_the_rows_where_both_predict() -> None:
    t = binary(1500, **GAIN)
    found = judged(without(without(t, "equipoise", 40), "linear", 60))
    assert found["n"]["abstained"] == 40
    assert found["comparators"]["linear"]["notes"] == {"rows without a prediction": 60}
    assert found["comparisons"]["linear"]["log_score"]["n"] == 1440
    assert found["comparisons"]["boosting"]["log_score"]["n"] == 1460
    assert found["verdict"] == "demonstrated gain"
    rest = t.filter(~pl.col("subject_id").is_in([f"s{i}" for i in range(60)]))
    alone = judged(rest)["comparisons"]["linear"]
    for name in ("auroc", "log_score", "calibration_slope", "net_benefit"):
        assert found["comparisons"]["linear"][name]["difference"] == pytest.approx(alone[name]["difference"], abs=1e-9)


def test_too_many_abstentions_stop_the_verdict_unless_the_protocol_fills_them() -> None:
    t = without(binary(1500, **GAIN), "equipoise", 150)
    assert "no prediction for 10.0% of the rows" in judged(t)["verdict_detail"]["sentence"]
    filled = judged(t, protocol=protocol(abstain="base_rate"))
    assert filled["verdict"] != "not evaluable"
    assert filled["n"]["rows"] == 1500
    assert filled["n"]["abstained"] == 150


def test_rows_without_an_outcome_are_left_out_and_counted() -> None:
    t = binary(600, equipoise=0.2, linear=0.8)
    unknown = pl.col("subject_id").is_in([f"s{i}" for i in range(25)])
    found = judged(t.with_columns(pl.when(unknown).then(None).otherwise(pl.col("outcome")).alias("outcome")))
    assert (found["n"]["rows"], found["n"]["outcome_missing"]) == (575, 25)
    assert found["endpoints"]["auroc"]["value"] == pytest.approx(judged(t.filter(~unknown))["endpoints"]["auroc"]["value"])


def test_several_rows_a_cluster_take_the_clustered_forms() -> None:
    found = judged(binary(600, rows_a_cluster=5, equipoise=0.3, linear=0.9))
    assert found["n"]["clusters"] == 120
    assert "Obuchowski" in found["endpoints"]["auroc"]["method"]
    assert "Obuchowski" in found["comparisons"]["linear"]["auroc"]["method"]
    assert "clustered" in found["endpoints"]["calibration_slope"]["method"]


def test_analysis_weights_count_as_repeated_rows() -> None:
    t = binary(300, equipoise=0.3, linear=0.9)
    weight = np.random.default_rng(0).integers(1, 4, 300)
    weighted = t.with_columns(pl.Series("weight", np.tile(weight, 2).astype(float)))
    repeated = pl.concat(
        [t.filter(pl.Series(np.tile(weight > k, 2))).with_columns(pl.format("{}_{}", "subject_id", pl.lit(k)).alias("subject_id")) for k in range(3)]
    )
    one, other = judged(weighted), judged(repeated)
    for name in ("auroc", "auprc", "log_score", "brier", "scaled_brier", "calibration_slope", "calibration_in_the_large", "net_benefit"):
        assert one["endpoints"][name]["value"] == pytest.approx(other["endpoints"][name]["value"], rel=1e-9), name
    assert "bootstrap" in one["endpoints"]["auroc"]["method"]


def test_hiding_an_evidence_is_reported_as_masked_minus_all(results: dict[str, Any]) -> None:
    masked = results["scenarios"]["masked:ehr"]
    expected = masked["endpoints"]["auroc"]["value"] - results["endpoints"]["auroc"]["value"]
    assert masked["difference"]["auroc"]["difference"] == pytest.approx(expected)
    assert masked["difference"]["auroc"]["hi"] < 0


def test_curves_are_aggregates_with_small_cells_suppressed(results: dict[str, Any]) -> None:
    assert set(results["curves"]) == {"equipoise", "linear", "boosting"}
    for model, curve in results["curves"].items():
        assert set(curve) == {"roc", "calibration", "decision", "risk_distribution"}
        cells = curve["risk_distribution"]["event"] + curve["risk_distribution"]["no_event"]
        assert all(c is None or c == 0 or c >= 10 for c in cells)
        assert min(curve["calibration"]["bins"]["n"]) >= 10
        assert len(curve["roc"]["fpr"]) <= 102
        assert curve["roc"]["tpr"] == sorted(curve["roc"]["tpr"])
        banded = [v is not None for v in curve["decision"]["lo"]]
        assert all(banded) if model == "equipoise" else not any(banded)
    band = results["curves"]["equipoise"]["calibration"]
    assert all(lo <= v <= hi for lo, v, hi in zip(band["lo"][10:-10], band["observed"][10:-10], band["hi"][10:-10], strict=True))


def test_the_area_of_the_thinned_roc_is_the_auroc(results: dict[str, Any]) -> None:
    curve = results["curves"]["equipoise"]["roc"]
    assert float(np.trapezoid(curve["tpr"], curve["fpr"])) == pytest.approx(results["endpoints"]["auroc"]["value"], abs=0.005)


def test_the_same_predictions_give_the_same_results_again(predictions: pl.DataFrame) -> None:
    one, other = (judged(predictions.filter(pl.col("scenario") == "all")) for _ in range(2))
    assert one == other


def test_the_scores_of_the_challenge_are_there_on_demand() -> None:
    found = judged(
        binary(600, equipoise=0.2, linear=0.8), protocol=protocol(extra_endpoints=["event1", "event2", "e90"], event1_threshold=0.3, loess_bootstrap=50)
    )
    assert 0 < found["endpoints"]["event1"]["value"] < 1
    assert found["endpoints"]["event2"]["value"] > 0
    assert found["endpoints"]["e90"]["value"] >= found["endpoints"]["ici"]["value"] / 2


def test_perfect_separation_has_no_interval_of_no_width() -> None:
    risk = np.r_[np.linspace(0.1, 0.4, 40), np.linspace(0.6, 0.9, 40)]
    separated = table({"equipoise": risk}, np.repeat([0.0, 1.0], 40))
    for name in ("auroc", "auprc"):
        found = judged(separated, required=(), protocol=protocol())["endpoints"][name]
        assert (found["value"], found["lo"], found["hi"]) == (1.0, None, None)
        assert "at its limit in every resample" in found["note"]

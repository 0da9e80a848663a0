"""Continuous, multiclass, time to event, treatment effect, and cross-validation through the trial."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit, softmax

from equipoise.contract.errors import UserError
from equipoise.stats.aipw import average_effect, doubly_robust_scores
from equipoise.stats.concordance import harrell_c, uno_c
from equipoise.stats.ipcw import ipcw_brier
from equipoise.stats.resampled_t import nadeau_bengio
from equipoise.stats.roc import auroc
from equipoise.stats.scores import crps_normal
from equipoise.stats.survival import aalen_johansen
from trial.simulated_predictions import binary, judged, protocol, table


def continuous(n: int = 400, seed: int = 0, **spread: float) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    truth = rng.normal(20, 3, n)
    y = truth + rng.normal(0, 1, n)
    t = table({m: truth + rng.normal(0, s, n) for m, s in spread.items()}, y)
    return t.with_columns(pl.col("model").replace_strict({m: 1 + s * s for m, s in spread.items()}, return_dtype=pl.Float64).alias("total"))


def test_a_continuous_outcome_is_scored_by_crps_with_r_by_fisher() -> None:
    t = continuous(equipoise=0.3, linear=2.0)
    found = judged(t, kind="continuous", unit="g")
    own = t.filter(pl.col("model") == "equipoise")
    m, y, v = (own[c].to_numpy() for c in ("risk", "outcome", "total"))
    assert set(found["endpoints"]) == {"pearson_r", "r2", "rmse", "crps", "calibration_slope", "calibration_in_the_large"}
    assert found["endpoints"]["crps"]["value"] == pytest.approx(crps_normal(m, np.sqrt(v), y).mean())
    assert found["endpoints"]["pearson_r"]["value"] == pytest.approx(np.corrcoef(m, y)[0, 1])
    assert found["endpoints"]["pearson_r"]["method"] == "Fisher z"
    assert found["verdict"] == "demonstrated gain"
    assert found["verdict_detail"]["primary"] == "crps"
    assert found["n"]["events"] is None
    cells = [c for row in found["curves"]["equipoise"]["scatter"]["n"] for c in row]
    assert all(c is None or c == 0 or c >= 10 for c in cells)
    json.dumps(found, allow_nan=False)


def test_a_model_without_a_stated_spread_has_no_crps_and_the_verdict_says_so() -> None:
    t = continuous(equipoise=0.3, linear=2.0).with_columns(pl.when(pl.col("model") == "linear").then(None).otherwise(pl.col("total")).alias("total"))
    found = judged(t, kind="continuous")
    assert found["comparators"]["linear"]["endpoints"]["crps"]["value"] is None
    assert "no predictive variance" in found["comparators"]["linear"]["endpoints"]["crps"]["note"]
    assert found["verdict"] == "not evaluable"
    assert judged(t, kind="continuous", protocol=protocol(primary="rmse"))["verdict"] == "demonstrated gain"


def multiclass(n: int = 400, classes: int = 4, seed: int = 0, **spread: float) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1.5, (n, classes))
    y = np.array([rng.choice(classes, p=p) for p in softmax(scores, axis=1)])
    frames = []
    for model, s in spread.items():
        p = softmax(scores + rng.normal(0, s, (n, classes)), axis=1)
        frames += [
            pl.DataFrame({"subject_id": [f"s{i}" for i in range(n)], "model": model, "target": f"k{c}", "risk": p[:, c], "outcome": (y == c).astype(float)})
            for c in range(classes)
        ]
    return pl.concat(frames)


def test_a_multiclass_outcome_has_accuracy_by_wilson_and_auroc_over_the_classes() -> None:
    t = multiclass(equipoise=0.2, linear=3.0)
    found = judged(t, kind="multiclass", classes=[f"k{c}" for c in range(4)])
    wide = t.filter(pl.col("model") == "equipoise").pivot("target", index="subject_id", values=["risk", "outcome"])
    p, y = (wide.select(f"{v}_k{c}" for c in range(4)).to_numpy() for v in ("risk", "outcome"))
    assert found["endpoints"]["accuracy"]["value"] == pytest.approx((p.argmax(1) == y.argmax(1)).mean())
    assert found["endpoints"]["accuracy"]["method"] == "Wilson"
    assert found["endpoints"]["log_score"]["value"] == pytest.approx(-np.log((p * y).sum(1)).mean())
    assert found["endpoints"]["auroc"]["value"] == pytest.approx(np.mean([float(auroc(p[:, c], y[:, c])) for c in range(4)]))
    assert found["verdict"] == "demonstrated gain"
    assert found["prevalence"] is None
    json.dumps(found, allow_nan=False)


def test_a_class_that_never_occurs_is_left_out_of_the_mean_and_named() -> None:
    t = multiclass(equipoise=0.2, linear=0.4)
    absent = t.filter(pl.col("target") == "k0").with_columns(pl.lit("k9").alias("target"), pl.lit(0.0).alias("risk"), pl.lit(0.0).alias("outcome"))
    found = judged(pl.concat([t, absent]), kind="multiclass", classes=("k0", "k1", "k2", "k3", "k9"))
    assert found["endpoints"]["auroc"]["value"] == pytest.approx(judged(t, kind="multiclass")["endpoints"]["auroc"]["value"])
    assert "1 classes that do not occur" in found["endpoints"]["auroc"]["note"]


def survival(n: int = 600, seed: int = 0, late: bool = False, **spread: float) -> pl.DataFrame:
    """Exponential times of two causes with censoring; risks of cause 1 by 30 and 60 days from the true hazards, blurred."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    one, two, censored = (rng.exponential(1 / h) for h in (0.01 * np.exp(x), np.full(n, 0.004), np.full(n, 0.008)))
    time = np.minimum(np.minimum(one, two), censored)
    event = np.where(time == one, 1, np.where(time == two, 2, 0))
    entry = np.where(rng.random(n) < 0.2, 0.3 * time, 0.0) if late else np.zeros(n)
    frames = []
    for model, s in spread.items():
        hazard = 0.01 * np.exp(x + rng.normal(0, s, n))
        for h in (30, 60):
            risk = hazard / (hazard + 0.004) * (1 - np.exp(-(hazard + 0.004) * h))
            columns = {"risk": risk, "time_days": time, "event": event, "entry_days": entry}
            frames.append(pl.DataFrame({"subject_id": [f"s{i}" for i in range(n)], "model": model, "target": f"h={h}", **columns}))
    return pl.concat(frames, how="vertical_relaxed")


def test_a_time_to_event_is_scored_at_each_horizon_with_the_longest_primary() -> None:
    t = survival(equipoise=0.0, linear=1.5)
    found = judged(t, kind="time_to_event")
    own = t.filter((pl.col("model") == "equipoise") & (pl.col("target") == "h=60"))
    p, time, event = (own[c].to_numpy() for c in ("risk", "time_days", "event"))
    line = found["endpoints"]
    assert line["ipcw_brier@h=60"]["value"] == pytest.approx(float(ipcw_brier(p, time, event, 60.0)))
    assert line["uno_c@h=60"]["value"] == pytest.approx(float(uno_c(p, time, event, 60.0)))
    assert line["harrell_c"]["value"] == pytest.approx(float(harrell_c(p, time, event)))
    incidence = float(aalen_johansen(time, event, 1).at(np.array([60.0]))[0])
    assert line["observed_expected@h=60"]["value"] == pytest.approx(incidence / p.mean())
    assert line["observed_expected@h=60"]["lo"] < 1 < line["observed_expected@h=60"]["hi"]
    assert line["calibration_slope@h=60"]["lo"] < 1 < line["calibration_slope@h=60"]["hi"]
    assert {"td_auc@h=30", "ipcw_brier@h=30", "net_benefit@h=60"} <= set(line)
    assert found["verdict_detail"]["primary"] == "ipcw_brier@h=60"
    assert found["verdict"] == "demonstrated gain"
    assert "IPCW Brier score at 60 days" in found["verdict_detail"]["sentence"]
    assert set(found["curves"]["equipoise"]) == {"roc", "calibration", "decision", "risk_distribution"}
    json.dumps(found, allow_nan=False)


def test_late_entries_are_left_out_of_what_is_weighted_for_censoring_and_counted() -> None:
    t = survival(late=True, equipoise=0.0, linear=1.5)
    found = judged(t, kind="time_to_event")
    late = t.filter((pl.col("model") == "linear") & (pl.col("target") == "h=30") & (pl.col("entry_days") > 0)).height
    assert found["endpoints"]["ipcw_brier@h=60"]["note"].endswith(f"; {late} rows with a late entry were left out")
    whole = judged(t.filter(pl.col("entry_days") == 0), kind="time_to_event")
    assert found["endpoints"]["ipcw_brier@h=60"]["value"] == pytest.approx(whole["endpoints"]["ipcw_brier@h=60"]["value"])


def test_folds_with_horizons_of_their_own_are_refused_with_the_key_that_mends_it() -> None:
    t = survival(200, equipoise=0.0, linear=1.5).with_columns((pl.col("subject_id").str.slice(1).cast(pl.Int64) % 2).alias("fold"))
    assert judged(t, kind="time_to_event", role="cross-validation", opening=None)["verdict"] != "not evaluable"
    own = pl.when((pl.col("fold") == 1) & (pl.col("target") == "h=60")).then(pl.lit("h=61")).otherwise(pl.col("target"))
    with pytest.raises(UserError, match=r"different horizons(.|\n)*fold 0\.1: h=30, h=61(.|\n)*horizons_days"):
        judged(t.with_columns(own.alias("target")), kind="time_to_event", role="cross-validation", opening=None)


def effects(n: int = 2000, seed: int = 0, stated: bool = True) -> pl.DataFrame:
    """A randomised trial: effect 1 + x; the model knows it, the comparator predicts one effect for all."""
    rng = np.random.default_rng(seed)
    x, a = rng.normal(size=n), rng.integers(0, 2, n)
    y = x + a * (1 + x) + rng.normal(size=n)
    answers = {"equipoise": (x, 1 + 2 * x, 1.0), "linear": (1.5 * x, 1 + 1.5 * x, 1.3)}
    frames = []
    for model, (mu0, mu1, variance) in answers.items():
        for target, risk, got in (("mu0", mu0, a == 0), ("mu1", mu1, a == 1), ("effect", mu1 - mu0, np.zeros(n, dtype=bool))):
            columns: dict[str, Any] = {"risk": risk, "outcome": np.where(got, y, np.nan), "treatment": a, "total": np.full(n, variance)}
            columns["propensity"] = np.full(n, 0.5 if stated and model == "equipoise" else np.nan)
            frames.append(pl.DataFrame({"subject_id": [f"s{i}" for i in range(n)], "model": model, "target": target, **columns}))
    return pl.concat(frames)


def test_a_treatment_effect_is_judged_by_doubly_robust_scores() -> None:
    t = effects()
    found = judged(t, kind="treatment_effect")
    own = t.filter(pl.col("model") == "equipoise").pivot("target", index="subject_id", values=["risk", "outcome", "treatment"])
    y = own["outcome_mu0"].fill_nan(None).fill_null(0).to_numpy() + own["outcome_mu1"].fill_nan(None).fill_null(0).to_numpy()
    a = own["treatment_mu0"].to_numpy()  # all state 0.5, so the share treated serves
    score = doubly_robust_scores(y, a, own["risk_mu0"].to_numpy(), own["risk_mu1"].to_numpy(), np.full(y.size, a.mean()))
    expected = average_effect(score, 0.95)
    line = found["endpoints"]
    assert [line["average_effect"][k] for k in ("value", "lo", "hi")] == pytest.approx([expected.value, expected.lo, expected.hi])
    assert line["average_effect"]["lo"] < 1 < line["average_effect"]["hi"]
    assert line["effect_slope"]["lo"] < 1 < line["effect_slope"]["hi"]
    assert line["top_minus_bottom"]["lo"] > 0
    assert found["comparators"]["linear"]["endpoints"]["effect_slope"]["value"] is None
    assert "does not vary" in found["comparators"]["linear"]["endpoints"]["effect_slope"]["note"]
    assert found["comparisons"]["linear"]["effect_loss"]["hi"] < 0
    assert found["verdict"] == "demonstrated gain"
    json.dumps(found, allow_nan=False)


def confounded(n: int, seed: int, stated: float) -> pl.DataFrame:
    """Treatment follows x (logit 1.2 x), the effect is 1 + x; one model halves it, the other doubles its slope; each adds noise of its own.

    The stated log odds are the truth times ``stated``: 0 knows nothing.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    a = (rng.random(n) < expit(1.2 * x)).astype(int)
    y = x + a * (1 + x) + rng.normal(size=n)
    frames = []
    for model, slope in (("equipoise", 0.5), ("linear", 1.5)):
        mu0, effect = x, 1 + slope * x + rng.normal(0, 0.3, n)
        for target, risk, got in (("mu0", mu0, a == 0), ("mu1", mu0 + effect, a == 1), ("effect", effect, np.zeros(n, dtype=bool))):
            columns: dict[str, Any] = {"risk": risk, "outcome": np.where(got, y, np.nan), "treatment": a, "total": np.full(n, 1.0)}
            columns["propensity"] = expit(1.2 * stated * x) if model == "equipoise" else np.full(n, np.nan)
            frames.append(pl.DataFrame({"subject_id": [f"s{i}" for i in range(n)], "model": model, "target": target, **columns}))
    return pl.concat(frames)


@pytest.mark.slow
@pytest.mark.parametrize("stated", [0.0, 1.0, 3.0])
def test_the_scores_favour_nobody_whatever_the_propensity(stated: float) -> None:
    """Two models equally far from the true effect lose alike, be the stated propensity right, ignorant or too extreme; and who is on trial is all one."""
    differences = []
    for seed in range(4):
        t = confounded(4000, seed, stated)
        one, other = (judged(t, kind="treatment_effect", model=m, required=(c,)) for m, c in (("equipoise", "linear"), ("linear", "equipoise")))
        loss, back = one["comparisons"]["linear"]["effect_loss"], other["comparisons"]["equipoise"]["effect_loss"]
        assert loss["difference"] == pytest.approx(-back["difference"])
        assert (loss["lo"], loss["hi"]) == pytest.approx((-back["hi"], -back["lo"]))
        differences.append(loss["difference"])
    # With the trial model's own propensity and outcome regressions the difference was 3.3 to 4.7 where the propensity is too extreme.
    assert abs(np.mean(differences)) < 0.1


def test_a_too_extreme_propensity_is_drawn_in_on_the_judged_rows() -> None:
    for stated in (0.4, 1.0, 3.0):
        found = judged(confounded(6000, 0, stated), kind="treatment_effect")
        assert found["endpoints"]["average_effect"]["lo"] < 1.05
        assert found["endpoints"]["average_effect"]["hi"] > 0.95
        assert "recalibrated on the judged rows" in found["verdict_detail"]["propensity"]


def test_without_a_stated_propensity_the_share_treated_serves_and_is_named() -> None:
    found = judged(effects(stated=False), kind="treatment_effect")
    assert "share treated" in found["verdict_detail"]["propensity"]
    assert found["endpoints"]["average_effect"]["lo"] < 1 < found["endpoints"]["average_effect"]["hi"]


def in_folds(t: pl.DataFrame, repeats: int, folds: int, shift: float = 0.0) -> pl.DataFrame:
    """The table as predictions of a cross-validation: every row held out once a repeat; ``shift`` moves each fold's risks (log odds)."""
    number = pl.col("subject_id").str.slice(1).cast(pl.Int64)
    made = []
    for r in range(repeats):
        fold = (number * (7 + 2 * r) // 3) % folds
        moved = ((pl.col("risk") / (1 - pl.col("risk"))).log() + shift * fold).map_batches(lambda x: pl.Series(expit(x.to_numpy())), return_dtype=pl.Float64)
        made.append(t.with_columns(pl.lit(r).alias("repeat"), fold.alias("fold"), moved.alias("risk") if shift else pl.col("risk")))
    return pl.concat(made)


def test_rank_metrics_are_averaged_over_folds_by_nadeau_bengio_and_do_not_mix_folds_scales() -> None:
    t = binary(600, equipoise=0.3, linear=1.2)
    crossed = in_folds(t, repeats=2, folds=5, shift=1.5)
    found = judged(crossed, role="cross-validation", opening=None)
    own = crossed.filter(pl.col("model") == "equipoise")
    each = [float(auroc(g["risk"].to_numpy(), g["outcome"].to_numpy())) for _, g in sorted(own.group_by("repeat", "fold"))]
    sizes = [g.height for _, g in sorted(own.group_by("repeat", "fold"))]
    expected = nadeau_bengio(np.array(each), float(np.mean([s / (600 - s) for s in sizes])), 0.95)
    assert [found["endpoints"]["auroc"][k] for k in ("value", "lo", "hi")] == pytest.approx([expected.value, expected.lo, expected.hi])
    assert "Nadeau-Bengio over 10 folds" in found["endpoints"]["auroc"]["method"]
    assert "Nadeau-Bengio" in found["comparisons"]["linear"]["auroc"]["method"]
    pooled = float(auroc(own.filter(pl.col("repeat") == 0)["risk"].to_numpy(), own.filter(pl.col("repeat") == 0)["outcome"].to_numpy()))
    assert found["endpoints"]["auroc"]["value"] > pooled + 0.02
    assert (found["n"]["rows"], found["n"]["folds"], found["n"]["repeats"]) == (600, 5, 2)
    assert "these folds" in found["verdict_detail"]["claim"]


def test_r_and_proper_scores_are_pooled_within_a_repeat_then_averaged() -> None:
    rng = np.random.default_rng(0)
    t = in_folds(continuous(equipoise=0.5, linear=2.0), repeats=2, folds=4)
    t = t.with_columns(pl.col("risk") + pl.Series(rng.normal(0, 0.5, t.height)))
    found = judged(t, kind="continuous", role="cross-validation", opening=None)
    own = t.filter(pl.col("model") == "equipoise")
    r = [np.corrcoef(g["risk"].to_numpy(), g["outcome"].to_numpy())[0, 1] for _, g in own.group_by("repeat")]
    rmse = [np.sqrt(((g["risk"] - g["outcome"]) ** 2).mean()) for _, g in own.group_by("repeat")]
    assert found["endpoints"]["pearson_r"]["value"] == pytest.approx(np.mean(r))
    assert found["endpoints"]["rmse"]["value"] == pytest.approx(np.mean(rmse))
    assert "bootstrap" in found["endpoints"]["pearson_r"]["method"]
    assert found["verdict"] == "demonstrated gain"


def test_repeating_the_folds_does_not_count_people_twice() -> None:
    """Two repeats of the same predictions hold no more people: the intervals must stay as wide."""
    t = continuous(equipoise=0.5, linear=2.0)
    once, twice = (judged(in_folds(t, repeats=k, folds=4), kind="continuous", role="cross-validation", opening=None) for k in (1, 2))
    for name in ("pearson_r", "crps"):
        one, two = (f["comparisons"]["linear"][name] for f in (once, twice))
        assert [two[k] for k in ("difference", "lo", "hi")] == pytest.approx([one[k] for k in ("difference", "lo", "hi")])


def test_folds_with_one_class_only_are_left_out_and_counted() -> None:
    t = in_folds(binary(200, equipoise=0.3, linear=0.8), repeats=1, folds=4)
    t = t.with_columns(pl.when(pl.col("fold") == 0).then(0.0).otherwise(pl.col("outcome")).alias("outcome"))
    found = judged(t, role="cross-validation", opening=None)
    assert found["endpoints"]["auroc"]["note"] == "1 folds with one class only were left out"
    assert "over 3 folds" in found["endpoints"]["auroc"]["method"]


def test_a_table_of_several_tasks_is_judged_one_at_a_time() -> None:
    t = binary(300, equipoise=0.2, linear=0.9)
    both = pl.concat([t.with_columns(pl.lit("risk").alias("task")), t.with_columns(pl.lit("other").alias("task"), (1 - pl.col("risk")).alias("risk"))])
    assert judged(both)["endpoints"] == judged(t)["endpoints"]
    assert judged(both, task="other")["endpoints"]["auroc"]["value"] < 0.5


def test_intervals_of_predictions_are_summarised_with_what_they_are() -> None:
    t = continuous(equipoise=0.3, linear=2.0).with_columns(
        (pl.col("risk") - 2.1).alias("lo"), (pl.col("risk") + 2.1).alias("hi"), pl.lit(0.1).alias("epistemic")
    )
    found = judged(t, kind="continuous", interval={"kind": "predictive", "level": 0.95})["uncertainty"]
    assert found["median_width"] == pytest.approx(4.2)
    assert found["mean_epistemic"] == pytest.approx(0.1)
    assert found["mean_aleatoric"] is None
    assert 0.92 < found["coverage"] < 0.98
    assert judged(t, kind="continuous", interval={"kind": "credible_mean", "level": 0.9})["uncertainty"].get("coverage") is None
    assert judged(continuous(equipoise=0.3, linear=1.0), kind="continuous")["uncertainty"]["estimated"] is False


def test_a_spread_without_an_interval_is_estimated_and_says_why_there_is_none() -> None:
    t = continuous(equipoise=0.3, linear=2.0).with_columns(pl.lit(0.1).alias("epistemic"))
    note = "4 draws of the risk; an interval of 90% needs at least 19"
    found = judged(t, kind="continuous", interval={"kind": None, "level": 0.9, "of": "the risk", "note": note})["uncertainty"]
    assert (found["interval"], found["median_width"], found["estimated"], found["note"]) == ("not estimated", None, True, note)


EVERYTHING = {
    "binary": (lambda: binary(300, equipoise=0.0, linear=0.9), "binary"),
    "binary in clusters": (lambda: binary(300, rows_a_cluster=3, equipoise=0.0, linear=0.9), "binary"),
    "binary in folds": (lambda: in_folds(binary(300, equipoise=0.0, linear=0.9), repeats=2, folds=3, shift=0.4), "binary"),
    "multiclass": (lambda: multiclass(equipoise=0.2, linear=0.6), "multiclass"),
    "continuous": (lambda: continuous(equipoise=0.3, linear=1.0), "continuous"),
    "time to event": (lambda: survival(300, equipoise=0.0, linear=1.0), "time_to_event"),
    "treatment effect": (lambda: effects(300), "treatment_effect"),
}


@pytest.mark.parametrize("case", EVERYTHING)
def test_every_interval_of_every_endpoint_holds_its_estimate(case: str) -> None:
    """The law: lo <= value <= hi, for values and for differences; an endpoint without an interval says why."""
    make, kind = EVERYTHING[case]
    extra = {"binary": ["e50", "e90", "event1", "event2"], "continuous": ["mae"]}.get(kind, [])
    found = judged(make(), kind=kind, protocol=protocol(extra_endpoints=extra, loess_bootstrap=40))
    lines = [(n, e, e["value"]) for t in (found, found["comparators"]["linear"]) for n, e in t["endpoints"].items()]
    lines += [(n, e, e["difference"]) for n, e in found["comparisons"]["linear"].items()]
    with_interval = set()
    for name, line, value in lines:
        if line["lo"] is None:
            assert line["hi"] is None
            assert "difference" in line or line.get("note"), name
        else:
            assert line["lo"] <= value <= line["hi"], (name, line)
            with_interval.add(name)
    assert with_interval >= set(found["endpoints"]) - {"e50", "e90", "event2"}

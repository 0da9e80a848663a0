"""Subgroups: a group's numbers are those of its rows alone, small cells show nothing, decisions equal scikit-learn's, planted heterogeneity is found."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn.metrics import precision_score, recall_score

from equipoise.trial.small_cells import hidden_groups
from trial.simulated_predictions import binary, judged, protocol, table


def divided(n: int = 600, seed: int = 3, **over: float) -> pl.DataFrame:
    made = binary(n, seed, **({"equipoise": 0.3, "linear": 1.0} | over))
    number = pl.col("subject_id").str.slice(1).cast(pl.Int64)
    return made.with_columns(sex=pl.when(number % 3 == 0).then(pl.lit("m")).otherwise(pl.lit("f")), age=(number * 7919) % 97)


def results(made: pl.DataFrame, *columns: str, **over: Any) -> dict[str, Any]:
    kind = over.pop("kind", "binary")
    return judged(made, kind, protocol=protocol(subgroups=list(columns), **over))


def test_a_group_has_the_endpoints_of_its_own_rows() -> None:
    made = divided()
    found = results(made, "sex", "age")
    alone = results(made.filter(pl.col("sex") == "m"))
    group = found["subgroups"]["sex"]["groups"]["m"]
    assert group["n"] == {"rows": alone["n"]["rows"], "clusters": 200, "events": alone["n"]["events"], "non_events": 200 - alone["n"]["events"]}
    assert set(group["endpoints"]) == {"log_score", "auroc", "calibration_slope", "calibration_in_the_large", "net_benefit"}
    for name, entry in group["endpoints"].items():
        assert entry["value"] == pytest.approx(alone["endpoints"][name]["value"], rel=1e-12)
    assert group["endpoints"]["auroc"]["lo"] == pytest.approx(alone["endpoints"]["auroc"]["lo"], rel=1e-12)
    difference = group["differences"]["linear"]["log_score"]
    assert difference["difference"] == pytest.approx(alone["comparisons"]["linear"]["log_score"]["difference"], rel=1e-12)
    assert difference["lo"] == pytest.approx(alone["comparisons"]["linear"]["log_score"]["lo"], abs=0.1 * abs(difference["hi"] - difference["lo"]))
    assert list(found["subgroups"]["age"]["groups"]) == sorted(found["subgroups"]["age"]["groups"], key=lambda g: float(g.split()[1].replace("below", "0")))
    json.dumps(found["subgroups"], allow_nan=False)


def test_decisions_by_group_equal_scikit_learn_and_differ_from_the_largest_group() -> None:
    made = divided()
    found = results(made, "sex", threshold=0.3)["subgroups"]["sex"]
    assert found["largest"] == "f"
    own = made.filter(pl.col("model") == "equipoise")
    by: dict[str, dict[str, float]] = {}
    for sex in ("f", "m"):
        part = own.filter(pl.col("sex") == sex)
        y, alert = part["outcome"].to_numpy().astype(int), (part["risk"].to_numpy() >= 0.3).astype(int)
        by[sex] = {
            "sensitivity": recall_score(y, alert),
            "specificity": recall_score(y, alert, pos_label=0),
            "ppv": precision_score(y, alert),
            "selection_rate": float(alert.mean()),
        }
        for name, value in by[sex].items():
            line = found["groups"][sex]["fairness"][name]
            assert line["value"] == pytest.approx(value, rel=1e-12)
            assert line["method"] == "Wilson"
            assert line["lo"] < value < line["hi"]
    for name in by["m"]:
        line = found["groups"]["m"]["fairness"][name]
        assert line["difference"] == pytest.approx(by["m"][name] - by["f"][name], rel=1e-9)
        assert line["difference_lo"] < line["difference"] < line["difference_hi"]
    assert "difference" not in found["groups"]["f"]["fairness"]["ppv"]
    assert "cannot all be equal" in found["note"]


def test_small_cells_show_nothing_and_cannot_be_found_from_the_total() -> None:
    number = pl.col("subject_id").str.slice(1).cast(pl.Int64)
    made = divided().with_columns(
        ward=pl.when(number < 6).then(pl.lit("tiny")).when(number < 150).then(pl.lit("middle")).when(number < 350).then(pl.lit("big"))
    )
    groups = results(made, "ward")["subgroups"]["ward"]["groups"]
    assert groups["tiny"] == {"suppressed": "fewer than 10"}
    assert groups["middle"] == {"suppressed": "not shown: a smaller group could be found from the total"}
    assert groups["big"]["n"]["rows"] == 200
    assert groups["not known"]["n"]["rows"] == 250
    assert results(made, "ward", min_cell=5)["subgroups"]["ward"]["groups"]["middle"]["suppressed"].startswith("not shown")


def test_hidden_groups_together_are_never_small() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        counts = rng.integers(0, 40, (int(rng.integers(1, 7)), 3))
        hidden = hidden_groups(counts, 10)
        assert ((counts < 10).any(1) <= (hidden > 0)).all()
        if 0 < (hidden > 0).sum() < len(hidden):
            assert (hidden > 0).sum() > 1
            assert (counts[hidden > 0].sum(0) >= 10).all()


def test_a_gain_in_one_group_only_is_found_and_adjusted_over_columns() -> None:
    rng = np.random.default_rng(5)
    n = 1500
    truth = rng.normal(-0.5, 1.3, n)
    y = (rng.random(n) < expit(truth)).astype(float)
    group = np.arange(n) % 3
    noise = rng.normal(0, 1, n) * 1.5
    risks = {"equipoise": expit(truth), "linear": expit(truth + np.where(group == 0, noise, 0.05 * noise))}
    found = results(table(risks, y, group=[f"g{g}" for g in group], coin=rng.integers(0, 2, n).astype(str)), "group", "coin")["subgroups"]
    tested, other = found["group"]["interaction"]["linear"], found["coin"]["interaction"]["linear"]
    assert tested["df"] == 2
    assert tested["p_adjusted"] == pytest.approx(2 * tested["p"])
    assert tested["p_adjusted"] < 0.001
    assert other["p_adjusted"] == pytest.approx(max(other["p"], tested["p_adjusted"]))
    assert other["p"] > 0.01


def test_the_worst_group_is_the_least_good_and_its_interval_is_wider_than_its_own() -> None:
    found = results(divided(1200), "age")["subgroups"]["age"]
    for name, worst in found["worst"].items():
        values = {g: e["endpoints"][name]["value"] if name in e["endpoints"] else e["fairness"][name]["value"] for g, e in found["groups"].items()}
        bad = {"higher": lambda v: -v, "lower": lambda v: v, "zero": abs, "one": lambda v: abs(v - 1)}[worst["better"]]
        assert worst["group"] == max(values, key=lambda g: bad(values[g]))
        assert worst["lo"] < worst["value"] < worst["hi"]
    own = found["groups"][found["worst"]["log_score"]["group"]]["endpoints"]["log_score"]
    assert found["worst"]["log_score"]["hi"] - found["worst"]["log_score"]["lo"] > own["hi"] - own["lo"]


def test_every_kind_of_outcome_has_subgroups() -> None:
    rng = np.random.default_rng(1)
    n = 240
    x = rng.normal(size=n)
    y = x + rng.normal(size=n)
    sex = np.where(np.arange(n) % 2 == 0, "f", "m")
    frame = table({"equipoise": x, "linear": 0.5 * x}, y, total=np.ones(n), sex=sex)
    found = results(frame, "sex", kind="continuous")["subgroups"]["sex"]
    assert set(found["groups"]["f"]["endpoints"]) == {"crps", "pearson_r", "calibration_slope", "calibration_in_the_large"}
    assert found["groups"]["f"]["n"] == {"rows": 120, "clusters": 120}
    assert found["interaction"]["linear"]["p"] is not None

    time = rng.exponential(np.exp(-x), n)
    frame = table({"equipoise": expit(x), "linear": expit(0.5 * x)}, np.full(n, np.nan), time_days=100 * time, event=(rng.random(n) < 0.8).astype(int), sex=sex)
    found = results(frame.with_columns(target=pl.lit("h=50")), "sex", kind="time_to_event")["subgroups"]["sex"]
    assert {"ipcw_brier@h=50", "uno_c@h=50", "observed_expected@h=50"} <= set(found["groups"]["m"]["endpoints"])
    assert found["interaction"]["linear"]["p"] is not None

    treated = rng.integers(0, 2, n)
    y = x + treated * np.where(sex == "f", 2.0, 0.0) + rng.normal(size=n)
    parts = [
        table({"equipoise": risk, "linear": risk}, np.where(arm, y, np.nan), treatment=treated, total=np.ones(n), sex=sex).with_columns(target=pl.lit(label))
        for label, risk, arm in (("mu0", x, treated == 0), ("mu1", x + 1, treated == 1), ("effect", np.ones(n), np.zeros(n, dtype=bool)))
    ]
    found = results(pl.concat(parts), "sex", kind="treatment_effect")["subgroups"]["sex"]
    assert found["groups"]["f"]["endpoints"]["average_effect"]["value"] == pytest.approx(2, abs=0.5)
    assert found["interaction"]["average_effect"]["p"] < 0.001
    assert found["groups"]["f"]["n"]["treated"] == int(treated[sex == "f"].sum())


def test_groups_without_rows_or_without_a_second_one_are_said() -> None:
    found = results(divided().with_columns(one=pl.lit("x")), "one")["subgroups"]["one"]
    assert found["interaction"]["linear"]["note"] == "fewer than two groups are shown"
    assert found["worst"] == {}
    assert results(divided())["subgroups"] == {}

"""What a site sends: aggregates that equal its results, and nothing about few people."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.contract.errors import UserError
from equipoise.trial.site_summary import site_summary, write_site_summary
from trial.simulated_predictions import protocol
from trial.simulated_sites import judged, predictions, summary


def question(made: dict[str, Any]) -> dict[str, Any]:
    return made["questions"]["risk"]


def numbers(node: Any) -> list[float]:
    if isinstance(node, dict | list):
        return [x for v in (node.values() if isinstance(node, dict) else node) for x in numbers(v)]
    return [float(node)] if isinstance(node, int | float) and not isinstance(node, bool) else []


def test_values_and_errors_are_those_of_the_results() -> None:
    rows = predictions(500, 1)
    results = judged(rows)
    made = question(site_summary(results, rows, site="north"))
    assert made["exported"]
    assert made["primary"] == "log_score"
    assert made["required"] == ["linear"]
    assert made["n"]["events"] == results["n"]["events"]
    assert made["n"]["rows"] == 500
    for name, entry in made["endpoints"]["equipoise"].items():
        assert (entry["value"], entry["se"]) == (results["endpoints"][name]["value"], results["endpoints"][name]["se"])
    for name, entry in made["differences"]["linear"].items():
        assert (entry["value"], entry["se"]) == (results["comparisons"]["linear"][name]["difference"], results["comparisons"]["linear"][name]["se"])


def test_no_identifier_and_no_patients_risk_is_in_the_file() -> None:
    rows = predictions(500, 2)
    made = site_summary(judged(rows), rows, site="north")
    text = json.dumps(made)
    assert not any(subject in text for subject in rows["subject_id"].unique())
    assert not set(rows["risk"]) & set(numbers(made["questions"]))


def test_a_patients_risk_within_a_group_moves_means_alone() -> None:
    rows = predictions(500, 3)
    before = question(site_summary(judged(rows), rows, site="north"))
    edges = before["cells"]["equipoise"]["edges"]
    at = rows.with_row_index().filter((pl.col("model") == "equipoise") & (pl.col("risk") > edges[-2]))["index"][0]
    risk = rows["risk"].to_numpy().copy()
    risk[at] = (edges[-2] + 1) / 2
    moved = rows.with_columns(pl.Series("risk", risk))
    after = question(site_summary(judged(moved), moved, site="north"))
    assert after["n"] == before["n"]
    assert after["withheld"] == before["withheld"]
    assert after["decision"] == before["decision"]
    for key in ("edges", "rows", "events", "weight", "observed"):
        assert after["cells"]["equipoise"][key] == before["cells"]["equipoise"][key]
    assert after["cells"]["equipoise"]["risk"] != before["cells"]["equipoise"]["risk"]


@pytest.mark.parametrize("n_events", [0, 3, 9])
def test_a_site_with_few_events_sends_nothing_but_why(n_events: int) -> None:
    rows = predictions(300, 4)
    first = rows.filter(pl.col("model") == "equipoise").with_row_index()["index"]
    outcome = np.tile((first.to_numpy() < n_events).astype(float), 2)
    rows = rows.with_columns(pl.Series("outcome", outcome))
    made = question(site_summary(judged(rows), rows, site="north"))
    assert not made["exported"]
    assert set(made) == {"kind", "target", "unit", "model", "role", "opening", "exported", "reason"}
    assert str(n_events) not in made["reason"].replace("10", "")


def test_ten_rows_of_three_people_are_few() -> None:
    rows = predictions(300, 5)
    people = np.tile(np.arange(300) // 40, 2)
    times = np.tile(np.arange(300), 2)
    rows = rows.with_columns(
        pl.Series("subject_id", [f"p{p}" for p in people]), prediction_time=pl.from_epoch(pl.Series(times * 3600), "s").cast(pl.Datetime("us"))
    )
    rows = rows.drop("cluster", strict=False)
    assert not question(site_summary(judged(rows), rows, site="north"))["exported"]


def test_a_comparator_that_misses_few_people_sends_its_differences_alone() -> None:
    rows = predictions(500, 6)
    at = rows.with_row_index().filter(pl.col("model") == "linear")["index"][:3]
    lacking = rows.with_row_index().with_columns(pl.when(pl.col("index").is_in(at.implode())).then(None).otherwise(pl.col("risk")).alias("risk")).drop("index")
    made = question(site_summary(judged(lacking), lacking, site="north"))
    assert "linear" not in made["endpoints"]
    assert "linear" not in made["cells"]
    assert "linear" not in made["decision"]
    assert "log_score" in made["differences"]["linear"]
    assert "linear" in made["withheld"]
    assert 497 not in numbers(made)
    assert 3 not in numbers(made["n"])


def test_few_missing_outcomes_and_silent_rows_are_not_counted() -> None:
    rows = predictions(500, 7)
    outcome = rows["outcome"].to_numpy().copy()
    outcome[[0, 500]] = np.nan
    risk = rows["risk"].to_numpy().copy()
    risk[[7, 8, 507, 508]] = np.nan
    rows = rows.with_columns(pl.Series("outcome", outcome), pl.Series("risk", risk))
    n = question(site_summary(judged(rows), rows, site="north"))["n"]
    assert n["outcome_missing"] is None
    assert n["abstained"] is None
    assert n["rows"] == 497


def test_counts_in_disguise_are_withheld() -> None:
    rows = predictions(500, 8)
    made = question(site_summary(judged(rows, protocol(n_bootstrap=100, extra_endpoints=["event1"])), rows, site="north"))
    assert "event1" not in made["endpoints"]["equipoise"]
    assert "event1" not in made["differences"]["linear"]
    assert "event1 (equipoise)" in made["withheld"]


def test_select_rows_are_no_validation() -> None:
    assert not question(summary(9, role="select", opening=None))["exported"]


def test_the_site_has_a_name_that_is_no_patients(tmp_path: Any) -> None:
    rows = predictions(200, 1)
    results = judged(rows)
    for name in ("", " ", "patient1-7"):
        with pytest.raises(UserError, match="site"):
            site_summary(results, rows, site=name)
    at = write_site_summary(tmp_path, results, rows, site="north")
    assert json.loads(at.read_text())["site"] == "north"


def test_a_time_to_event_is_summarised_at_the_primary_horizon() -> None:
    rng = np.random.default_rng(0)
    n = 500
    hazard = np.exp(rng.normal(0, 1, n))
    event_time, censored = rng.exponential(900 / hazard), rng.uniform(200, 1500, n)
    frames = []
    for model, noise in (("equipoise", 0.2), ("linear", 1.0)):
        guess = hazard * np.exp(rng.normal(0, noise, n))
        for h in (180.0, 365.0):
            frames.append(
                pl.DataFrame(
                    {
                        "subject_id": [f"p{i}" for i in range(n)],
                        "model": model,
                        "target": f"h={h:g}",
                        "risk": 1 - np.exp(-guess * h / 900),
                        "time_days": np.minimum(event_time, censored),
                        "event": (event_time <= censored).astype(int),
                        "outcome": pl.Series([None] * n, dtype=pl.Float64),
                    }
                )
            )
    rows = pl.concat(frames)
    made = question(site_summary(judged(rows, kind="time_to_event"), rows, site="north"))
    assert made["exported"]
    assert made["primary"] == "ipcw_brier@h=365"
    assert min(made["cells"]["equipoise"]["events"]) >= 10
    assert "net_benefit@h=180" not in made["endpoints"]["equipoise"]
    assert "td_auc@h=180" in made["endpoints"]["equipoise"]
    assert made["prevalence"] == pytest.approx(np.average(made["cells"]["equipoise"]["observed"], weights=made["cells"]["equipoise"]["weight"]), rel=1e-12)

"""Sections on referral, coverage by group and utility: they come, and their tables hold what the results hold."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.report import write_report
from trial.simulated_predictions import binary, judged, protocol, table

COSTS = {"true_positive": 30.0, "false_positive": 10.0, "false_negative": 100.0, "true_negative": 0.0}


def read(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "tables" / f"{name}.csv").read_text())))


def written(results: dict[str, Any], folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    write_report(folder, results, {})
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    return (folder / "report.html").read_text()


def test_a_binary_page_shows_referral_and_utility(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = binary(600, equipoise=0.3, linear=1.0).with_columns(total=pl.col("risk") * (1 - pl.col("risk")))
    results = judged(made, protocol=protocol(referral_cost=0.01, threshold=0.3, unit_costs=COSTS, relative_risk_reduction=0.2))
    html = written(results, tmp_path, caplog)
    for anchor in ("referral", "utility"):
        assert f'id="{anchor}"' in html
    assert "Declared unit costs: true positive 30" in html
    assert f'value="{results["utility"]["endpoints"]["cost_per_person"]["value"]!r}"' in html
    points = [line for line in read(tmp_path, "referral") if line["kind"] == "loss"]
    assert [float(p["value"]) for p in points] == results["referral"]["curves"]["total"]["loss"]
    assert {line["to"] for line in read(tmp_path, "referral") if line["kind"] == "net_benefit"} == {"linear", "treat all"}
    assert {line["model"] for line in read(tmp_path, "utility")} == {"equipoise", "linear"}


def test_a_continuous_page_shows_coverage_by_group(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    made = table(
        {"equipoise": x, "linear": 0.5 * x}, x + rng.normal(size=200), total=np.exp(rng.normal(0, 0.1, 200)), site=["a"] * 4 + ["b"] * 96 + ["c"] * 100
    )
    results = judged(made, "continuous", protocol=protocol(subgroups=["site"]))
    html = written(results, tmp_path, caplog)
    assert "Share of outcomes inside" in html
    assert "CRPS of the kept rows" in html
    lines = read(tmp_path, "coverage")
    assert {(line["group"], bool(line["note"])) for line in lines} == {("all", False), ("a", True), ("b", True), ("c", False)}
    whole = results["uncertainty"]["by_group"]["groups"]["all"]["all"]
    assert float(lines[0]["coverage"]) == whole["coverage"]
    assert not (tmp_path / "tables" / "utility.csv").exists()


def test_a_page_shows_conformal_sets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = binary(400, equipoise=0.4, linear=1.0).with_columns(set_event=pl.col("risk") > 0.2, set_no_event=pl.col("risk") < 0.6)
    results = judged(made, sets={"level": 0.9, "of": "the outcome of a new row"})
    html = written(results, tmp_path, caplog)
    assert "Conformal sets (the outcome of a new row, level 90" in html
    assert "the model cannot tell" in html
    (line,) = read(tmp_path, "coverage")
    assert float(line["set_size"]) == results["uncertainty"]["sets"]["groups"]["all"]["all"]["set_size"]

"""Every design's script runs on a small cohort and says what its page promises."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

TOP = Path(__file__).resolve().parent.parent
DESIGNS = ("target_trial", "optimism", "internal_external", "temporal", "silent_replay", "external")
SMALL = (
    "cohort.n=500",
    "cohort.genome.variants=100",
    "modality=[clinical,biomarker]",
    "comparator=[linear_clinical]",
    "calibration=none",
    "d_model=8",
    "learner.max_epochs=2",
    "trial.n_bootstrap=100",
)


def run(design: str, *words: object) -> str:
    made = subprocess.run(
        [sys.executable, str(TOP / "scripts" / f"{design}.py"), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert made.returncode == 0, made.stderr[-3000:]
    return made.stdout


def test_every_design_has_its_section() -> None:
    told = (TOP / "docs" / "designs.md").read_text() + (TOP / "docs" / "target_trial.md").read_text()
    assert [d for d in DESIGNS if f"scripts/{d}.py" not in told] == []


def test_a_replay_reads_no_outcome_before_its_time() -> None:
    spec = importlib.util.spec_from_file_location("silent_replay", TOP / "scripts" / "silent_replay.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    first = datetime(2020, 1, 10)
    rows = pl.DataFrame(
        {"prediction_time": [first, first + timedelta(days=40), first + timedelta(days=41)], "risk": [0.2, 0.8, 0.6], "outcome": [0.0, 1.0, None]}
    )
    months = script.replay(rows, 365.0, 0.5)
    assert months.filter(pl.col("month") < first + timedelta(days=365) - timedelta(days=10))["matured"].sum() == 0
    assert months["predictions"].to_list()[:2] == [1, 2]
    assert months["alerts"].sum() == 2
    assert months["matured"].to_list()[-2:] == [1, 1]  # the third outcome never became known
    last = months.row(-1, named=True)
    assert (last["observed"], last["alerts_right"]) == (1.0, 1)
    assert last["z"] == pytest.approx((1 - 0.8) / (0.8 * 0.2) ** 0.5)


@pytest.mark.slow
def test_target_trial(tmp_path: Path) -> None:
    said = run("target_trial", "--n", 1500, "--out", tmp_path)
    made = json.loads((tmp_path / "emulation.json").read_text())
    worst = {when: max(abs(b[when]) for b in made["balance"]) for when in ("before", "after")}
    assert worst["after"] < worst["before"] / 3
    assert "about" in said
    assert "items are answered by an artefact of this run" in (tmp_path / "target.md").read_text()
    absent = subprocess.run(
        [sys.executable, str(TOP / "scripts/target_trial.py"), "--actg175", "no.csv", "--out", str(tmp_path)], capture_output=True, text=True
    )
    assert absent.returncode == 1
    assert "no file no.csv" in absent.stderr


@pytest.mark.slow
def test_temporal_and_its_replay(tmp_path: Path) -> None:
    run("temporal", "--known-after-days", 365, "--out", tmp_path / "t", *SMALL)
    table = pl.read_parquet(tmp_path / "t" / "predictions.parquet")
    drift = pl.read_csv(tmp_path / "t" / "drift.csv")
    assert drift["rows"].sum() == table.filter(pl.col("model") == "equipoise").height
    assert set(table["scenario"]) == {"all"}
    said = run("silent_replay", "--predictions", tmp_path / "t" / "predictions.parquet", "--horizon-days", 1095, "--threshold", 0.15, "--out", tmp_path / "r")
    months = pl.read_csv(tmp_path / "r" / "replay.csv", try_parse_dates=True)
    assert months["predictions"].sum() == drift["rows"].sum()
    assert "first outcomes known" in said


@pytest.mark.slow
def test_internal_external(tmp_path: Path) -> None:
    run("internal_external", "--out", tmp_path, *SMALL)
    made = json.loads((tmp_path / "internal_external.json").read_text())
    assert len(made["sites"]) == 6
    pooled = made["endpoints"]["equipoise"]["log_score"]
    assert pooled["prediction_lo"] <= pooled["lo"] < pooled["value"] < pooled["hi"] <= pooled["prediction_hi"]
    assert (tmp_path / "forest.svg").read_text().lstrip().startswith("<svg")


@pytest.mark.slow
def test_optimism_goes_on_where_it_stopped(tmp_path: Path) -> None:
    run("optimism", "--resamples", 2, "--out", tmp_path, *SMALL)
    first = tmp_path / "resample_0000" / "fit.json"
    made_at = first.stat().st_mtime_ns
    run("optimism", "--resamples", 3, "--out", tmp_path, *SMALL)
    assert first.stat().st_mtime_ns == made_at
    made = pl.read_csv(tmp_path / "optimism.csv")
    assert (made["resamples"] == 3).all()
    assert made.filter(pl.col("measure") == "auroc").height == 2
    assert (made["apparent"] - made["optimism"] - made["corrected"]).abs().max() < 1e-9


@pytest.mark.slow
def test_external(tmp_path: Path) -> None:
    run("external", "--out", tmp_path, *SMALL)
    table = pl.read_parquet(tmp_path / "table.parquet")
    assert table.columns == ["patient", "score", "died", "hospital", "comparator_linear_clinical"]
    results = json.loads((tmp_path / "trial" / "results.json").read_text())
    assert set(results["recalibration_ladder"]["rungs"]) == {"in_the_large", "intercept_and_slope"}
    assert (tmp_path / "trial" / "report.html").is_file()

"""Trainings on resampled rows, from the command to the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise.cli import main
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.resampled import check_resampled, drawn

SMALL = ["cohort.n=800", "cohort.genome.variants=30", "modality=[clinical]", "comparator=[linear]", "learner.max_epochs=1", "d_model=4", "calibration=none"]


def test_whole_clusters_are_drawn_within_roles_and_the_evaluated_ones_stay() -> None:
    cluster = np.repeat(np.arange(40), 2)
    split = Split(np.arange(40), np.arange(40, 50), np.arange(50, 60), np.arange(60, 80))
    one, same, other = drawn(split, cluster, 0, 1), drawn(split, cluster, 0, 1), drawn(split, cluster, 0, 2)
    for role in ("train", "select", "calibrate"):
        rows = one.rows(role)  # type: ignore[arg-type]
        assert rows.size == split.rows(role).size  # type: ignore[arg-type]
        assert set(rows) <= set(split.rows(role))  # type: ignore[arg-type]
        times = np.bincount(rows, minlength=80)
        assert (times[::2] == times[1::2]).all(), "both rows of a cluster, as often"
    assert np.array_equal(one.train, same.train)
    assert not np.array_equal(one.train, other.train)
    assert np.array_equal(one.held_out, split.held_out)


def test_what_cannot_be_done_is_refused_before_training() -> None:
    check_resampled({"validation": {"resampled": 0, "folds": "given"}})
    with pytest.raises(UserError, match="at least 5"):
        check_resampled({"validation": {"resampled": 3, "folds": None}})
    with pytest.raises(UserError, match="cross-validation"):
        check_resampled({"validation": {"resampled": 8, "folds": "given"}})


@pytest.mark.slow
def test_a_run_reports_its_way_and_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*SMALL, "validation.resampled=5", "validation.masked=false", "trial.n_bootstrap=100", "trainer.progress=false", "paths.ledger=ledger"]
    assert main(["run", *words, "trial.about=way", "run_dir=r"]) == 0
    table, results = pl.read_parquet("r/predictions.parquet"), json.loads(Path("r/results.json").read_text())
    assert set(table["scenario"]) == {"all", *(f"resampled:{k}" for k in range(5))}
    assert results["way"]["linear"]["trainings"] == 5
    assert "about this way of making a model" in results["verdict_detail"]["sentence"]
    assert "This model, and this way of making it" in Path("r/report.html").read_text()
    assert main(["verify", "r"]) == 0
    rehearsed = ["rehearse.model=fast", "rehearse.twins=2", "rehearse.gains=[0.0]", "run_dir=h"]
    assert main(["rehearse", *words, "trial.about=way", *rehearsed]) == 0

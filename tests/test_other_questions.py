"""From sources to report for every other kind of question: one network with all tasks, and a cross-validation of a flat table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise.cli import main

TASKS = ("risk", "multiclass", "regression", "time_to_event", "treatment_effect")
SMALL = ["d_model=8", "learner.max_epochs=2", "trial.n_bootstrap=100", "validation.masked=false", "trainer.progress=false", "comparator=[prevalence]"]


def test_one_network_with_every_task_is_judged_on_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "cohort.n=500", f"task=[{','.join(TASKS)}]", "calibration=none", *SMALL, "run_dir=r"]) == 0
    results = json.loads(Path("r/results.json").read_text())
    made = {results["task"]: results, **results["tasks"]}
    assert set(made) == set(TASKS)
    for task, primary in {"risk": "log_score", "multiclass": "log_score", "regression": "crps", "treatment_effect": "log_score"}.items():
        assert made[task]["endpoints"][primary]["value"] is not None, task
    survival = {name.partition("@")[0] for name, e in made["time_to_event"]["endpoints"].items() if e["value"] is not None}
    assert "ipcw_brier" in survival
    for name in ("accuracy",):
        assert 0 <= made["multiclass"]["endpoints"][name]["value"] <= 1
    for name in ("pearson_r", "r2", "rmse", "crps"):
        assert name in made["regression"]["endpoints"]
    page = Path("r/report.html").read_text()
    for task in TASKS:
        assert made[task]["target"] in page


def write_table(path: Path) -> None:
    rng = np.random.default_rng(3)
    x, z = rng.standard_normal((2, 200))
    table = {"id": [f"s{i}" for i in range(200)], "x": x, "z": z, "weight": 70 + 5 * x + 2 * rng.standard_normal(200)}
    pl.DataFrame(table).write_csv(path)


def test_a_cross_validation_judges_every_row_once_and_counts_the_configurations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EQUIPOISE_LEDGER", str(tmp_path / "ledger"))
    write_table(tmp_path / "w.csv")
    assert main(["init", "w.csv", "--outcome", "weight"]) == 0
    folds = "cohort.folds={_target_: equipoise.cohort.splits.RandomFolds, folds: 3, repeats: 1, stratum: null, seed: 0}"
    words = ["experiments=001_w/run", folds, "validation=folds", "calibration=none", *SMALL]
    assert main(["run", *words, "run_dir=first"]) == 0
    table = pl.read_parquet("first/predictions.parquet").filter(pl.col("model") == "equipoise")
    assert table.height == table["subject_id"].n_unique() == 200
    assert sorted(p.name for p in Path("first").glob("fold_*")) == ["fold_0_0", "fold_0_1", "fold_0_2"]
    assert "this is opening 1 of these rows" in Path("first/report.html").read_text()
    assert main(["run", *words, "seed=1", "run_dir=second"]) == 0
    assert "this is opening 2 of these rows" in Path("second/report.html").read_text()
    assert json.loads(Path("second/results.json").read_text())["verdict_detail"]["exploratory"]
    # Two sets of rows were opened at once: all of them, and those that the roles hold out.
    assert len(json.loads(Path("second/claims.json").read_text())["seal"]["ledger"]) == 2
    assert main(["verify", "second"]) == 0
    assert main(["evaluate", "run_dir=second", "trial.primary=rmse"]) == 0
    # The folds held every row out once, so the rows that the roles hold out have been seen too: twice, and once more by another protocol.
    assert main(["run", *[w for w in words if w != "validation=folds"], "seed=2", "run_dir=third"]) == 0
    assert json.loads(Path("third/results.json").read_text())["verdict_detail"]["opening"] == 4

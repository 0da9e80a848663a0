"""Tables that Equipoise did not make: their columns named, every kind of outcome, and scikit-learn's alone from script to verified report."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from equipoise.cli import main
from equipoise.contract.errors import UserError
from equipoise.contract.tables import PREDICTIONS
from equipoise.foreign import evaluate_foreign
from equipoise.stats.ipcw import ipcw_brier
from trial.simulated_predictions import protocol

TOP = Path(__file__).resolve().parent.parent
FEW = {"n_bootstrap": 100, "loess_bootstrap": 0, "min_cell": 1000}
RUN = yaml.safe_load((TOP / "configs" / "run.yaml").read_text())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def evaluated(table: str, folder: str, *, kind: str | None = None, endpoints: list[str] | None = None, **columns: str) -> dict[str, Any]:
    """Results of a table by the default protocol with few resamples and without curves."""
    trial = protocol().as_dict() | FEW | {"endpoints": endpoints}
    config = {
        "predictions": table,
        "kind": kind,
        "columns": RUN["columns"] | columns,
        "statements": {},
        "site": None,
        "trial": {k: v for k, v in trial.items() if k != "hash"},
    }
    return evaluate_foreign(config, Path(folder), f"equipoise evaluate predictions={table}")


def test_columns_of_the_config_are_columns_of_the_predictions_table() -> None:
    assert set(RUN["columns"]) <= set(PREDICTIONS)
    assert set(RUN["columns"].values()) == {None}


def test_a_table_of_scikit_learn_alone_is_tried_and_verified(capsys: pytest.CaptureFixture[str]) -> None:
    script = TOP / "scripts" / "sklearn_table.py"
    assert "equipoise" not in script.read_text().split('"""')[2]
    runpy.run_path(str(script))["held_out_predictions"](0).to_parquet("cancer.parquet")
    (command,) = re.findall(r"equipoise (evaluate .*)", script.read_text())
    words = [w.replace("runs/cancer", "cancer") for w in command.split()]
    assert main([*words, *(f"trial.{k}={v}" for k, v in FEW.items()), "trial.endpoints=[auroc,brier]"]) == 0
    from sklearn.metrics import brier_score_loss, roc_auc_score

    table, made = pl.read_parquet("cancer.parquet"), json.loads(Path("cancer/results.json").read_text())
    y, p = table["malignant"].to_numpy(), table["score"].to_numpy()
    assert made["endpoints"]["auroc"]["value"] == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert made["endpoints"]["brier"]["value"] == pytest.approx(brier_score_loss(y, p), abs=1e-12)
    assert made["verdict_detail"]["against"] == ["boosting"]
    assert set(made["recalibration_ladder"]["rungs"]) == {"in_the_large", "intercept_and_slope"}
    assert made["target"] == "malignant"
    page = Path("cancer/report.html").read_text()
    assert "Does the model predict malignant better than boosting" in page
    assert "no seal was kept" in page
    claims = json.loads(Path("cancer/claims.json").read_text())
    assert claims["seal"] == {"kept": False, "why": "no seal was kept over these rows: their table came from a file"}
    capsys.readouterr()
    assert main(["verify", "cancer"]) == 0
    assert "no seal was kept over these rows" in capsys.readouterr().out


def test_classes_horizons_and_arms_stand_in_columns_of_their_own() -> None:
    rng = np.random.default_rng(0)
    n = 240
    p = rng.dirichlet([2, 2, 2], n)
    kind = np.array(["a", "b", "c"])[[rng.choice(3, p=row) for row in p]]
    table = pl.DataFrame({"subject_id": np.arange(n), "stage": kind} | {f"prob@{c}": p[:, i] for i, c in enumerate("bca")})
    table.with_columns(pl.lit(1 / 3).alias(f"comparator_flat@{c}") for c in "abc").write_csv("classes.csv")
    made = evaluated("classes.csv", "classes", kind="multiclass", endpoints=["log_score"], risk="prob", outcome="stage")
    at = np.array(["bca".index(c) for c in kind])
    assert made["endpoints"]["log_score"]["value"] == pytest.approx(-np.log(p[np.arange(n), at]).mean(), abs=1e-12)
    assert made["comparisons"]["flat"]["log_score"]["n"] == n
    assert json.loads(Path("classes/claims.json").read_text())["questions"][0]["asked"]["classes"] == ["b", "c", "a"]

    x = rng.normal(0, 1, n)
    died, censored = rng.exponential(500 / np.exp(x)), rng.uniform(100, 900, n)
    follow_up = {"days": np.minimum(died, censored), "status": (died <= censored).astype(int)}
    risks = {f"risk@h={h}": 1 - np.exp(-h / 500 * np.exp(x)) for h in (180, 365)}
    pl.DataFrame({"subject_id": np.arange(n), **follow_up, **risks}).write_csv("times.csv")
    made = evaluated("times.csv", "times", kind="time_to_event", endpoints=["ipcw_brier"], time_days="days", event="status")
    for h in (180, 365):
        expected = ipcw_brier(risks[f"risk@h={h}"], follow_up["days"], follow_up["status"], h)
        assert made["endpoints"][f"ipcw_brier@h={h}"]["value"] == pytest.approx(float(expected), abs=1e-12)

    treated = rng.integers(0, 2, n)
    y = (rng.random(n) < np.where(treated, 0.3, 0.5)).astype(int)
    arms = {"risk@mu0": np.full(n, 0.5), "risk@mu1": np.full(n, 0.3), "treatment": treated, "propensity": 0.5}
    pl.DataFrame({"subject_id": np.arange(n), "outcome": y, **arms}).write_csv("arms.csv")
    made = evaluated("arms.csv", "arms", kind="treatment_effect", endpoints=["average_effect"])
    assert made["endpoints"]["average_effect"]["value"] == pytest.approx(y[treated == 1].mean() - y[treated == 0].mean(), abs=0.02)


def flat(**columns: object) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    risk = rng.uniform(0.1, 0.9, 120)
    return pl.DataFrame({"subject_id": np.arange(120), "outcome": (rng.random(120) < risk).astype(int), "risk": risk} | columns)


@pytest.mark.parametrize(
    ("columns", "given", "said"),
    [
        ({}, {"risk": "scroe"}, "no column 'scroe' (for risk)"),
        ({}, {"kind": "binarry"}, "did you mean binary?"),
        ({}, {"kind": "multiclass"}, "risk@<class> for each class"),
        ({}, {"kind": "time_to_event"}, "risk@h=<days>"),
        ({"risk@x": 0.5, "time_days": 5.0, "event": 1}, {"kind": "time_to_event"}, "risk@x names no horizon"),
        ({"risk@yes": 0.5}, {"kind": "multiclass"}, "none of the classes in 120 rows"),
        ({"model": ["a", "b"] * 60}, {}, "does not say which model is on trial"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(columns: dict[str, object], given: dict[str, str], said: str, tmp_path: Path) -> None:
    flat(**columns).write_csv("t.csv")
    with pytest.raises(UserError, match=re.escape(said)):
        evaluated("t.csv", "r", **given)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_a_misspelt_column_key_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    flat().write_csv("t.csv")
    assert main(["evaluate", "predictions=t.csv", "run_dir=r", "columns.rsk=risk"]) == 2
    assert "did you mean risk" in capsys.readouterr().err


def test_a_table_with_one_named_model_has_that_one_on_trial() -> None:
    flat(model="glmnet", prediction_time="2020-01-31", ward=["x", "y"] * 60).write_csv("t.csv")
    made = evaluated("t.csv", "r", endpoints=["brier"], cluster="ward", site="ward")
    assert (made["model"], made["n"]["clusters"]) == ("glmnet", 2)


def test_a_run_and_the_users_own_table_are_not_written_over() -> None:
    Path("run").mkdir()
    Path("run/config.yaml").write_text("name: x\n")
    flat().write_csv("t.csv")
    with pytest.raises(UserError, match="holds a run"):
        evaluated("t.csv", "run")
    flat().write_parquet("predictions.parquet")
    before = Path("predictions.parquet").read_bytes()
    with pytest.raises(UserError, match="would be written over"):
        evaluated("predictions.parquet", ".")
    assert Path("predictions.parquet").read_bytes() == before

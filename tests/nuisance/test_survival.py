"""Pseudo-outcomes of a time to event: cross-fitted, weighted for censoring within arms, against a known truth; and a run from a table to the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from equipoise.cli import main
from equipoise.cohort.draft import TargetTable
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.nuisance import CrossFits
from equipoise.stats.pseudo_outcomes import PseudoOutcomes
from nuisance.effect_cohorts import columns_cohort, config_of, effect_target, settings

H = 300.0


def world(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, a, time, event, true difference of risks by H; treatment by x0, censoring by arm."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2))
    a = (rng.random(n) < 1 / (1 + np.exp(-x[:, 0]))).astype(np.int64)
    rates = [np.exp(0.5 * x[:, 0] - 0.8 * arm) / 500 for arm in (0, 1)]
    time, left = rng.exponential(1 / np.where(a == 1, rates[1], rates[0])), rng.exponential(np.where(a == 1, 400.0, 1500.0))
    truth = np.exp(-rates[0] * H) - np.exp(-rates[1] * H)
    return x, a, np.minimum(time, left), (time <= left).astype(np.int64), truth


def target_of(a: np.ndarray, time: np.ndarray, event: np.ndarray, **further: np.ndarray) -> TargetTable:
    return effect_target((event > 0).astype(float), a, time_days=time, event=event, **further)


def made(folder: Path, x: np.ndarray, target: TargetTable, **changed: object) -> tuple[PseudoOutcomes, Split, dict[str, object]]:
    cohort = columns_cohort(folder / "c", x, {"effect": target}, (0.8, 0.2, 0.0, 0.0))
    config = config_of("effect_learner_survival", nuisance=settings(**changed), task__effect_learner_survival__horizon_days=H)
    pseudo = CrossFits(cohort).of(config, Split.of(cohort), folder)()["effect_learner_survival"]
    return pseudo, Split.of(cohort), json.loads((folder / "nuisance.json").read_text())["effect_learner_survival"]


def test_their_mean_is_the_true_difference_of_risks_whoever_was_treated_and_censored(tmp_path: Path) -> None:
    x, a, time, event, truth = world(8_000, 0)
    pseudo, split, record = made(tmp_path, x, target_of(a, time, event))
    assert (record["horizon_days"], record["censoring"], record["late_entries_left_out"]) == (H, "Kaplan-Meier within each arm", 0)
    for part in (split.train, split.train[x[split.train, 0] > 0.5], split.train[x[split.train, 0] < -0.5]):
        gap = pseudo.value[part] - truth[part]
        assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(part.size)
    known = (event == 1) | (time >= H)
    crude = [((time <= H) & (event == 1))[known & (a == arm)].mean() for arm in (0, 1)]
    assert abs((crude[1] - crude[0]) - truth.mean()) > 0.05


def test_everybody_censored_in_an_arm_or_a_late_entry(tmp_path: Path) -> None:
    x, a, time, event, _ = world(400, 1)
    late = np.where(np.arange(400) < 30, 0.5 * time, 0.0)
    pseudo, _, record = made(tmp_path / "late", x, target_of(a, time, event, entry_days=late))
    assert record["late_entries_left_out"] == 30
    assert not pseudo.known[:30].any()
    assert pseudo.known[30:].all()
    pseudo, _, _ = made(tmp_path / "none", x, target_of(a, time, event * (a == 0)))
    assert np.isfinite(pseudo.value).all()
    with pytest.raises(UserError, match="cannot be answered by a comparator"):
        made(tmp_path / "early", x, target_of(a, np.where(a == 1, np.minimum(time, 5.0), time), event * (a == 0)))


def test_large_weights_are_cut_and_counted(tmp_path: Path) -> None:
    x, a, time, event, _ = world(800, 2)
    _, _, record = made(tmp_path, x, target_of(a, time, event), censoring_truncation=1.5)
    assert int(str(record["truncated_weights"])) > 0


WORDS = ["d_model=8", "learner.max_epochs=2", "trial.n_bootstrap=100", "validation.masked=false", "trainer.progress=false", "calibration=none"]


def experiment(path: Path, inputs: list[str]) -> None:
    """Asks what `init` wrote about a table for the effect by 300 days."""
    node = yaml.safe_load(path.read_text())
    node["defaults"] = [{**line, "override /task": ["effect_learner_survival"]} if "override /task" in line else line for line in node["defaults"]]
    node["cohort"]["evidence"]["clinical"]["columns"] = inputs
    node["cohort"]["labels"]["targets"] = {"effect": {"kind": "treatment_effect", "time": "days", "event": "died", "treatment": "arm"}}
    node["cohort"]["roles"]["stratum"] = "effect"
    node["task"] = {"effect_learner_survival": {"target": "effect", "horizon_days": 300}}
    path.write_text("# @package _global_\n# Effect on death by 300 days\n" + yaml.safe_dump(node, sort_keys=False))


@pytest.mark.slow
def test_from_a_table_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Task, comparators, trial, verification, and another horizon refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EQUIPOISE_LEDGER", str(tmp_path / "ledger"))
    x, a, time, event, _ = world(500, 3)
    columns = {"id": [f"p{i}" for i in range(500)], "x": x[:, 0], "z": x[:, 1], "arm": a, "days": time, "died": event}
    pl.DataFrame(columns).write_csv(tmp_path / "w.csv")
    assert main(["init", "w.csv", "--outcome", "died"]) == 0
    experiment(Path("experiments/001_w/run.yaml"), inputs=["x", "z", "arm"])
    words = ["experiments=001_w/run", "comparator=[prevalence,linear]", *WORDS]
    assert main(["run", *words, "trial.horizon_days=300", "run_dir=none"]) == 2  # the treatment is no input
    assert "arm" in capsys.readouterr().err
    experiment(Path("experiments/001_w/run.yaml"), inputs=["x", "z"])
    assert main(["run", *words, "run_dir=none"]) == 2
    assert "trial.horizon_days=300" in capsys.readouterr().err
    assert not Path("none").exists()
    assert main(["run", *words, "trial.horizon_days=300", "run_dir=r"]) == 0
    results = json.loads(Path("r/results.json").read_text())
    assert all(results["endpoints"][k]["value"] is not None for k in ("average_effect", "effect_loss", "log_score", "effect_slope"))
    assert "risks by 300 days" in results["verdict_detail"]["analysis"]["censoring"]
    table = pl.read_parquet("r/predictions.parquet")
    assert set(table["target"]) == {"mu0", "mu1", "effect"}
    assert set(table["model"]) == {"equipoise", "prevalence", "linear"}
    mu = table.filter(table["target"] != "effect")
    assert mu["risk"].is_between(0, 1).all()
    assert set(mu["outcome"].drop_nulls()) == {0.0, 1.0}
    assert json.loads(Path("r/fit.json").read_text())["nuisance"][0]["effect_learner_survival"]["horizon_days"] == 300
    assert main(["verify", "r"]) == 0
    assert main(["evaluate", "run_dir=r", "trial.horizon_days=100"]) == 2
    assert "not about the protocol's horizon" in capsys.readouterr().err

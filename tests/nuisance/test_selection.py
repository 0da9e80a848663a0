"""What chooses between effects: R- and DR-loss of select rows with nuisances from train rows, in training, tuning and sweeps; never the outcome's fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from equipoise import sweep
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.fit import fit_split, joined_notes, with_known_propensity
from equipoise.learner.train import train_member
from equipoise.nuisance import CrossFits
from equipoise.nuisance.regressions import Regressions
from equipoise.nuisance.settings import Settings
from equipoise.nuisance.targets import Outcomes
from equipoise.predict import predict_rows
from equipoise.stats.pseudo_outcomes import PseudoOutcomes, effect_loss, pseudo_outcomes
from equipoise.tune import tuned
from nuisance.effect_cohorts import columns_cohort, config_of, effect_target, settings

N = 300
TASKS = ("treatment_effect", "tarnet", "dragonnet", "effect_learner")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    rng = np.random.default_rng(0)
    x, a = rng.standard_normal((N, 3)), rng.integers(0, 2, N)
    y = 2 * x[:, 1] + a * (1 + x[:, 0]) + rng.standard_normal(N)
    return columns_cohort(tmp_path_factory.mktemp("selection") / "c", x, {"effect": effect_target(y, a)})


def predicted(path: Path, cohort: Cohort, rows: np.ndarray) -> np.ndarray:
    table = predict_rows([path], cohort, rows, draws=1).table
    return table.filter(table["target"] == "effect")["risk"].to_numpy()


def taken(pseudo: PseudoOutcomes, rows: np.ndarray) -> PseudoOutcomes:
    return PseudoOutcomes(pseudo.value[rows], pseudo.weight[rows])


@pytest.mark.parametrize("by", ["r", "dr"])
@pytest.mark.parametrize("task", TASKS)
def test_the_epoch_is_chosen_by_the_loss_of_the_predicted_effects(cohort: Cohort, tmp_path: Path, task: str, by: str) -> None:
    config, split = config_of(task, nuisance=settings(select_by=by), learner__max_epochs=4), Split.of(cohort)
    given = CrossFits(cohort).of(config, split, tmp_path)
    path = train_member(config, cohort, split, seed=0, folder=tmp_path / "m", loggers=[], pseudo=given)
    history = json.loads((tmp_path / "m" / "history.json").read_text())
    sd = float(torch.tensor(cohort.target("effect").table["outcome"].to_numpy()[split.train]).std(correction=0))
    found = effect_loss(taken(given()[task], split.select), predicted(path, cohort, split.select), np.ones(split.select.size))
    assert min(history["select_loss"]) == pytest.approx(0.5 * found / sd**2, rel=1e-4)
    assert "select/effect_loss" in (tmp_path / "m" / "metrics.csv").read_text()


@pytest.mark.parametrize("task", TASKS)
def test_training_without_pseudo_outcomes_is_a_mistake_of_the_caller(cohort: Cohort, tmp_path: Path, task: str) -> None:
    with pytest.raises(ValueError, match="needs pseudo-outcomes of"):
        train_member(config_of(task), cohort, Split.of(cohort), seed=0, folder=tmp_path / "m", loggers=[])


def test_tuning_takes_the_value_of_least_effect_loss(cohort: Cohort, tmp_path: Path) -> None:
    config = config_of("treatment_effect", learner__max_epochs=3)
    config["tune"] = {"grid": {"optimizer.lr": [0.0001, 0.05]}, "folds": 2}
    rows = Split.of(cohort).train
    chosen, record = tuned(config, cohort, rows, tmp_path)
    losses = {t["values"]["optimizer.lr"]: t["select_nll"] for t in record["tried"]}
    assert record["chosen"]["optimizer.lr"] == min(losses, key=lambda lr: losses[lr]) == chosen["optimizer"]["lr"]
    records = [json.loads((tmp_path / "tune" / at / "nuisance.json").read_text())["treatment_effect"] for at in ("00_0", "01_1")]
    assert [own["selected_by"] for own in records] == ["r", "r"]
    assert sum(own["select_rows"] for own in records) == rows.size


def test_jobs_of_a_sweep_are_ranked_by_the_loss_of_the_ensembles_effects(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from small_config import small_config
    from trial.simulated_predictions import protocol

    config = config_of("treatment_effect", learner__max_epochs=2) | {"comparator": {}, "trial": protocol().as_dict(), "calibration": NOTHING, "members": 2}
    config["trial"].pop("hash")
    config["validation"] = {**small_config()["validation"], "masked": False}
    split = Split.of(cohort)
    fit = fit_split(config, cohort, split, "select", tmp_path / "job", repeat=0, fold=0, loggers=[])
    pseudo = CrossFits(cohort).of(config, split, tmp_path)()["treatment_effect"]
    own = fit.table.filter(fit.table["target"] == "effect")
    expected = effect_loss(taken(pseudo, split.select), own["risk"].to_numpy(), np.ones(split.select.size))
    assert fit.notes["chosen_by"] == {"name": "r_loss", "value": pytest.approx(expected), "n_rows": split.select.size}
    assert [n["member"] for n in fit.notes["nuisance"]] == [0, 1]
    results: dict[str, Any] = {"verdict_detail": {"primary": "log_score"}, "endpoints": {"log_score": {"value": 9.0}}}
    monkeypatch.setattr(sweep, "run_verb", lambda *a, **k: results | {"chosen_by": fit.notes["chosen_by"]})
    assert sweep.run_job("run", {}, tmp_path / "0", command="", overrides=[]) == pytest.approx(expected)
    monkeypatch.setattr(sweep, "run_verb", lambda *a, **k: results | {"chosen_by": None})
    assert sweep.run_job("run", {}, tmp_path / "1", command="", overrides=[]) == 9.0
    assert sweep.end_sweep(tmp_path) == 0
    assert "r_loss" in (tmp_path / "sweep.csv").read_text()
    assert fit_split(config, cohort, split, "held_out", tmp_path / "run", repeat=0, fold=0, loggers=[]).notes["chosen_by"] is None


def test_a_sweeps_folds_are_averaged_by_their_rows() -> None:
    one = {"questions": [], "training": [], "tuned": {}, "comparators": {}, "not_run": {}, "prediction": {"reader_notes": {}}, "nuisance": [{"member": 0}]}
    folds = [one | {"chosen_by": {"name": "r_loss", "value": v, "n_rows": n}} for v, n in ((1.0, 10), (4.0, 20))]
    assert joined_notes(folds)["chosen_by"] == {"name": "r_loss", "value": 3.0, "n_rows": 30}
    assert len(joined_notes(folds)["nuisance"]) == 2
    assert joined_notes([one | {"chosen_by": None}] * 2)["chosen_by"] is None


def test_a_declared_propensity_stands_in_the_predictions() -> None:
    table = pl.DataFrame({"propensity": [0.3, None]}, schema={"propensity": pl.Float64})
    assert with_known_propensity({"nuisance": settings(propensity=0.75)}, table)["propensity"].to_list() == [0.75, None]
    assert with_known_propensity({"nuisance": settings()}, table) is table


NOTHING = {"_target_": "equipoise.calibration.none.NoCalibration"}


def two_models(seed: int, folder: Path) -> dict[str, tuple[float, float]]:
    """What each criterion says of two models of one effect, 1 + x1, on select rows: trees that hardly look at the treatment; a line in each arm.

    The outcome is curved in x0 and x2, the treatment follows x1. The line is a bad model of the outcome and the better one of the effect.
    """
    rng, n = np.random.default_rng(seed), 1200
    x = rng.uniform(-2, 2, (n, 3))
    a = (rng.random(n) < 1 / (1 + np.exp(-0.7 * x[:, 1]))).astype(np.int64)
    truth = 1 + x[:, 1]
    y = 4 * np.sin(2 * x[:, 0]) + 3 * np.abs(x[:, 2]) + a * truth + rng.standard_normal(n)
    cohort = columns_cohort(folder, x, {"effect": effect_target(y, a)}, (0.6, 0.4, 0.0, 0.0))
    split = Split.of(cohort)
    train, select = split.train, split.select
    trees = HistGradientBoostingRegressor(max_iter=40, max_leaf_nodes=4).fit(np.c_[x, a][train], y[train])
    lines = [LinearRegression().fit(x[train][a[train] == arm], y[train][a[train] == arm]) for arm in (0, 1)]
    answers = [
        np.stack([trees.predict(np.c_[x, np.full(n, arm)]) for arm in (0, 1)], 1)[select],
        np.stack([line.predict(x) for line in lines], 1)[select],
    ]
    node = config_of("treatment_effect", nuisance=settings(("linear", "boosting")))
    outcomes = Outcomes(cohort.target("effect"), None, train)
    read = Regressions.fit(cohort, outcomes, ("biomarker",), train, Settings.of(node)).read(select)
    found = {"fit": [np.mean((y[select] - mu[np.arange(select.size), a[select]]) ** 2) for mu in answers]}
    for by in ("r", "dr"):
        pseudo = pseudo_outcomes(by, y[select], a[select], read.mu0, read.mu1, read.propensity)
        found[by] = [effect_loss(pseudo, mu[:, 1] - mu[:, 0], np.ones(select.size)) for mu in answers]
    found["truth"] = [np.mean((mu[:, 1] - mu[:, 0] - truth[select]) ** 2) for mu in answers]
    return {k: (float(v[0]), float(v[1])) for k, v in found.items()}


@pytest.mark.slow
def test_outcome_fit_takes_the_worse_effect_and_r_and_dr_loss_the_better(tmp_path: Path) -> None:
    runs = [two_models(seed, tmp_path / f"{seed}") for seed in range(5)]
    right = {k: sum(one[k][1] < one[k][0] for one in runs) for k in runs[0]}
    print(f"of {len(runs)} the better effect was taken by: {right}")
    assert right["truth"] == len(runs)
    assert right["fit"] == 0
    assert right["r"] >= len(runs) - 1
    assert right["dr"] >= len(runs) - 1

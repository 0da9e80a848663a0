from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.cohort.draft import ColumnStore, Draft, EventStore
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.cohort.split import Split
from equipoise.conformed import check_conformal, halves
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.contract.tables import PREDICTION_KEY, PREDICTIONS
from equipoise.learner.train import train_member
from equipoise.model import Model
from equipoise.nuisance import CrossFits
from equipoise.predict import Ensemble, predict_rows, write_predictions
from equipoise.predict_table import outcomes, prediction_table
from equipoise.testing.cohorts import tiny_cohort, tiny_draft
from small_config import small_config

TASKS = ("risk", "multiclass", "regression", "time_to_event", "treatment_effect")
VIEWS = ("ehr", "genotype", "biomarker", "clinical")
KEY = list(PREDICTION_KEY)
NUMBERS = ["risk", "risk_raw", "lo", "hi", "aleatoric", "epistemic", "total"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("predict") / "cohort", n=240)


@pytest.fixture(scope="module")
def paths(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two members of every task."""
    folder = tmp_path_factory.mktemp("members")
    config, split = small_config(views=VIEWS, tasks=TASKS, learner__max_epochs=8, optimizer__lr=0.01), Split.of(cohort)
    pseudo = CrossFits(cohort).of(config, split, folder)
    return [train_member(config, cohort, split, seed=i, folder=folder / f"member_{i}", loggers=[], pseudo=pseudo) for i in range(2)]


@pytest.fixture(scope="module")
def point(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = small_config(views=VIEWS, tasks=("risk", "regression"), head="point", learner__max_epochs=1)
    return train_member(config, cohort, Split.of(cohort), seed=0, folder=tmp_path_factory.mktemp("point") / "member_0", loggers=[])


def wide(table: pl.DataFrame, task: str, value: str = "risk") -> np.ndarray:
    """(n, L) of one task, rows in table order."""
    own = table.filter(pl.col("task") == task)
    labels = own["target"].n_unique()
    return own[value].to_numpy().reshape(-1, labels)


def all_rows(cohort: Cohort) -> np.ndarray:
    return np.arange(cohort.size)


def test_the_table_has_the_contracts_columns_and_a_unique_key(cohort: Cohort, paths: list[Path]) -> None:
    table = predict_rows(paths, cohort, all_rows(cohort), draws=8).table
    evidences = ["ehr", "genotype", "biomarker", "clinical"]
    assert table.columns == [*PREDICTIONS, *(f"present_{e}" for e in evidences)]
    assert {k: table.schema[k] for k in PREDICTIONS} == PREDICTIONS
    assert table.select(KEY).n_unique() == table.height
    assert table.height == cohort.size * (1 + 3 + 1 + 2 + 3)
    assert not any(table[c].is_nan().any() for c in NUMBERS)
    shown = wide(table.with_columns(pl.col("present_ehr").cast(pl.Float64)), "risk", "present_ehr")[:, 0]
    assert (shown == cohort.present_in("ehr")).all()


def test_predictions_depend_neither_on_the_order_of_rows_nor_on_the_batch(cohort: Cohort, paths: list[Path]) -> None:
    rows = all_rows(cohort)
    whole = predict_rows(paths, cohort, rows, draws=20).table.sort(KEY)
    shuffled = np.random.default_rng(0).permutation(rows)
    others = predict_rows(paths, cohort, shuffled, draws=20, batch_rows=7).table.sort(KEY)
    assert whole.select(KEY).equals(others.select(KEY), null_equal=True)
    for name in NUMBERS:
        a, b = whole[name], others[name]
        assert a.is_null().equals(b.is_null())
        scale = max(float(a.abs().max()), 1.0)
        assert float((a - b).abs().max()) < 2e-6 * scale, name
    some = predict_rows(paths, cohort, rows[5:9], draws=20).table.sort(KEY)
    same = whole.join(some, on=KEY, how="semi", nulls_equal=True)
    assert np.allclose(same["risk"].to_numpy(), some["risk"].to_numpy(), atol=1e-6, equal_nan=True)


def test_more_draws_are_told_apart_by_the_seed_alone(cohort: Cohort, paths: list[Path]) -> None:
    rows = np.arange(20)
    a, b, c = (wide(predict_rows(paths, cohort, rows, draws=8, seed=s).table, "risk") for s in (0, 0, 1))
    assert np.array_equal(a, b, equal_nan=True)
    assert not np.allclose(a[2:], c[2:], atol=1e-9)


def test_members_are_joined_with_equal_shares(cohort: Cohort, paths: list[Path]) -> None:
    rows = np.arange(2, 40)
    made = predict_rows(paths, cohort, rows, draws=8)
    assert made.manifest["draws"] == 8
    assert made.manifest["members"] == 2
    assert made.manifest["model_hashes"] == [Model.load(p).hash() for p in paths]
    assert made.manifest["interval"]["kind"] is None, "eight draws show no interval of 90 %"
    assert predict_rows(paths, cohort, rows, draws=20).manifest["interval"]["kind"] == "credible_mean"
    joint = Ensemble.of(paths)._answers(cohort, rows, 8, 0, frozenset(), "cpu", 256)
    nothing, each = ~joint.present.any(1), joint.by_task["risk"].mean
    assert each.shape == (8, rows.size, 1)
    expected = (each[:4].mean(0) + each[4:].mean(0)) / 2
    assert np.allclose(wide(made.table, "risk")[~nothing], expected[~nothing], atol=1e-12)
    assert predict_rows(paths, cohort, rows, draws=1).manifest["draws"] == 2, "every member gives at least one"


def test_more_members_know_how_much_they_differ(cohort: Cohort, paths: list[Path]) -> None:
    rows = np.arange(2, 100)
    alone = wide(predict_rows(paths[:1], cohort, rows, draws=64).table, "risk", "epistemic")
    both = wide(predict_rows(paths, cohort, rows, draws=64).table, "risk", "epistemic")
    assert np.nanmean(both) > np.nanmean(alone)


def test_a_row_with_nothing_present_abstains(cohort: Cohort, paths: list[Path]) -> None:
    made = predict_rows(paths, cohort, all_rows(cohort), draws=4)
    nothing = ~cohort.present[:, [0, 1, 2, 4]].any(1)
    assert nothing[0]
    assert made.manifest["abstained"] == nothing.sum()
    subject, when = cohort.rows["subject_id"][0], cohort.rows["prediction_time"][0]
    own = made.table.filter((pl.col("subject_id") == subject) & (pl.col("prediction_time") == when))
    assert set(own["abstain_reason"]) == {"no modality present"}
    assert all(own[c].null_count() == own.height for c in [*NUMBERS, "propensity"])
    assert own.filter(pl.col("task") == "risk")["outcome"].null_count() in (0, 1)
    assert made.table["abstain_reason"].is_not_null().sum() == nothing.sum() * 10


def test_hidden_evidence_is_as_if_it_were_not_there(cohort: Cohort, paths: list[Path], tmp_path: Path) -> None:
    rows = all_rows(cohort)
    hidden = predict_rows(paths, cohort, rows, draws=4, scenario="masked:ehr", hidden=frozenset({"ehr"})).table
    draft = tiny_draft(n=240)
    draft.present[:, 0] = False
    absent = predict_rows(paths, freeze(draft, tmp_path / "absent", "absent", {}), rows, draws=4).table
    assert np.allclose(wide(hidden, "risk"), wide(absent, "risk"), atol=1e-6, equal_nan=True)
    assert not hidden["present_ehr"].any()
    assert set(hidden["scenario"]) == {"masked:ehr"}
    shown = wide(predict_rows(paths, cohort, rows, draws=4).table, "risk")
    assert np.nanmax(np.abs(shown - wide(hidden, "risk"))) > 0.02


def test_a_point_head_gives_a_risk_and_no_uncertainty_but_a_predictive_variance(cohort: Cohort, point: Path) -> None:
    made = predict_rows([point], cohort, np.arange(2, 50), draws=32)
    assert made.manifest["draws"] == 1
    assert made.manifest["interval"]["kind"] is None
    risk = made.table.filter((pl.col("task") == "risk") & pl.col("abstain_reason").is_null())
    assert risk["risk"].null_count() == 0
    assert all(risk[c].null_count() == risk.height for c in ("lo", "hi", "aleatoric", "epistemic", "total"))
    weight = made.table.filter((pl.col("task") == "regression") & pl.col("abstain_reason").is_null())
    assert all(weight[c].null_count() == weight.height for c in ("lo", "hi", "epistemic"))
    assert weight["total"].null_count() == 0


def test_two_point_members_disagree_and_count_alike(cohort: Cohort, point: Path, tmp_path: Path) -> None:
    config = small_config(views=VIEWS, tasks=("risk", "regression"), head="variational", learner__max_epochs=1)
    other = train_member(config, cohort, Split.of(cohort), seed=5, folder=tmp_path / "m", loggers=[])
    rows = np.arange(2, 30)
    both = wide(predict_rows([point, other], cohort, rows, draws=8).table, "risk")
    ensemble = Ensemble.of([point, other])
    joint = ensemble._answers(cohort, rows, 8, 0, frozenset(), "cpu", 256)
    nothing, each = ~joint.present.any(1), joint.by_task["risk"].mean
    assert each.shape[0] == 8
    assert np.ptp(each[:4], axis=0).max() == 0.0, "the point member's one draw stands for four"
    assert np.allclose(both[~nothing], each.mean(0)[~nothing])


def test_four_point_members_differ_but_show_no_interval(cohort: Cohort, point: Path, tmp_path: Path) -> None:
    """The range of four draws is no interval of 90 %: bounds are not estimated, the members' spread is, and the manifest says why."""
    config = small_config(views=VIEWS, tasks=("risk", "regression"), head="point", learner__max_epochs=1)
    others = [train_member(config, cohort, Split.of(cohort), seed=s, folder=tmp_path / f"m{s}", loggers=[]) for s in (1, 2, 3)]
    made = predict_rows([point, *others], cohort, np.arange(2, 40), draws=64)
    own = made.table.filter((pl.col("task") == "risk") & pl.col("abstain_reason").is_null())
    assert own["lo"].null_count() == own["hi"].null_count() == own.height
    assert (own["epistemic"] > 0).all()
    assert made.manifest["interval"]["kind"] is None
    assert made.manifest["interval"]["note"] == "4 draws of the risk; an interval of 90% needs at least 19"


CALIBRATION = {"_target_": "equipoise.calibration.logistic.LogisticCalibration", "min_events": 2, "prior_scale": 2.5}


def test_recalibration_is_kept_with_the_ensemble_and_applies_to_the_joint_risk(cohort: Cohort, paths: list[Path], tmp_path: Path) -> None:
    ensemble = Ensemble.of(paths)
    rows = all_rows(cohort)
    raw = ensemble.predict(cohort, rows, draws=20)
    assert raw.manifest["calibration"] == {}
    ensemble.calibrate(cohort, np.union1d(cohort.rows_in("calibrate"), cohort.rows_in("select")), CALIBRATION, draws=8)
    ensemble.save(tmp_path / "ensemble.pt")
    made = Ensemble.load(tmp_path / "ensemble.pt").predict(cohort, rows, draws=20)
    assert made.manifest["calibration"]["risk"].startswith("LogisticCalibration")
    assert np.allclose(wide(made.table, "risk", "risk_raw"), wide(raw.table, "risk"), equal_nan=True)
    assert made.table.equals(ensemble.predict(cohort, rows, draws=20).table, null_equal=True)
    before, after = wide(raw.table, "risk")[:, 0], wide(made.table, "risk")[:, 0]
    seen = np.isfinite(before)
    assert not np.allclose(before[seen], after[seen])
    assert (np.diff(after[seen][np.argsort(before[seen])]) >= 0).all(), "monotone"
    classes = wide(made.table, "multiclass")
    assert np.allclose(classes[seen].sum(1), 1.0)
    for task in ("risk", "multiclass", "regression", "time_to_event"):
        lo, hi = (wide(made.table, task, c)[seen] for c in ("lo", "hi"))
        assert (lo <= hi).all()
    inside = (wide(made.table, "risk", "lo")[seen, 0] <= after[seen]) & (after[seen] <= wide(made.table, "risk", "hi")[seen, 0])
    assert inside.mean() > 0.95, "the interval went through the same map"


def test_without_calibrate_rows_the_risk_is_the_raw_one(cohort: Cohort, paths: list[Path]) -> None:
    ensemble = Ensemble.of(paths)
    ensemble.calibrate(cohort, np.empty(0, np.int64), CALIBRATION, draws=4)
    table = ensemble.predict(cohort, np.arange(30), draws=4).table
    assert table["risk"].equals(table["risk_raw"], null_equal=True)


@pytest.mark.parametrize(
    ("target", "tasks", "columns"),
    [
        ("split.SplitConformal", {"regression"}, ("lo", "hi")),
        ("quantile.QuantileConformal", {"regression"}, ("lo", "hi")),
        ("adaptive_sets.AdaptiveSets", {"risk", "multiclass"}, ("set_event",)),
        ("lower_bound.LowerTimeBound", {"time_to_event"}, ("time_lo_days",)),
    ],
)
def test_conformal_options_answer_their_tasks_and_are_kept(
    cohort: Cohort, paths: list[Path], tmp_path: Path, target: str, tasks: set[str], columns: tuple[str, ...]
) -> None:
    ensemble, rows = Ensemble.of(paths), all_rows(cohort)
    node = {"_target_": f"equipoise.conformal.{target}", "level": 0.5, "by": None} | ({"penalty": 0.0, "free": 1} if "Sets" in target else {})
    raw = ensemble.predict(cohort, rows, draws=20)
    ensemble.calibrate(cohort, rows, CALIBRATION, node, draws=20)
    made = ensemble.predict(cohort, rows, draws=20)
    assert set(made.manifest["conformal"]) == tasks
    shown = made.table.filter(pl.all_horizontal(pl.col(c).is_not_null() for c in columns) & pl.col("abstain_reason").is_null())
    assert set(shown["task"]) == tasks if "lo" not in columns else tasks <= set(shown["task"])
    assert made.table.filter(pl.col("abstain_reason").is_not_null())[columns[0]].null_count() == made.table["abstain_reason"].count()
    if "lo" in columns:
        own = made.table.filter((pl.col("task") == "regression") & pl.col("outcome").is_not_null() & pl.col("lo").is_not_null())
        inside = (own["lo"] <= own["outcome"]) & (own["outcome"] <= own["hi"])
        assert 0.3 < float(inside.mean()) < 0.8  # type: ignore[arg-type]
        other = made.table.filter(pl.col("task") == "risk")["lo"]
        assert other.null_count() == raw.table.filter(pl.col("task") == "risk")["lo"].null_count()
    ensemble.save(tmp_path / "ensemble.pt")
    assert Ensemble.load(tmp_path / "ensemble.pt").predict(cohort, rows, draws=20).table.equals(made.table, null_equal=True)


def test_rows_that_recalibrate_are_not_those_of_the_sets_and_clusters_stay_whole() -> None:
    cluster = np.repeat(np.arange(40), 3)
    node, logistic = ({"_target_": f"equipoise.{t}"} for t in ("conformal.split.SplitConformal", "calibration.logistic.LogisticCalibration"))
    node |= {"level": 0.9, "by": None}
    logistic |= {"min_events": 1, "prior_scale": 1.0}
    one, other = halves(node, logistic, cluster, 0)
    assert not (one & other).any()
    assert (one | other).all()
    assert one.sum() == 60
    assert not set(cluster[one]) & set(cluster[other])
    assert all(x.all() for x in halves(node, {"_target_": "equipoise.calibration.none.NoCalibration"}, cluster, 0))
    every, none = halves({"_target_": "equipoise.conformal.none.NoConformal"}, logistic, cluster, 0)
    assert every.all()
    assert not none.any()


def test_a_conformal_option_that_could_do_nothing_is_refused() -> None:
    node = {"_target_": "equipoise.conformal.split.SplitConformal", "level": 0.9, "by": None}
    check_conformal(node, {"risk": "binary", "weight": "continuous"}, 30)
    with pytest.raises(UserError, match="answers none of the tasks"):
        check_conformal(node, {"risk": "binary"}, 30)
    with pytest.raises(UserError, match="needs calibrate rows"):
        check_conformal(node, {"weight": "continuous"}, 0)
    check_conformal({"_target_": "equipoise.conformal.none.NoConformal"}, {"risk": "binary"}, 0)


def newcomers() -> Draft:
    """People of tomorrow: a code nobody knows, a column and an evidence fewer, other levels, no outcomes, no roles."""
    draft = tiny_draft(n=40, seed=9)
    draft.targets, draft.scores, draft.folds = {}, {}, None
    draft.rows = draft.rows.with_columns(role=pl.lit(None, pl.String), subject_id="N" + pl.col("subject_id"), cluster="N" + pl.col("cluster"))
    ehr, clinical = draft.stores["ehr"], draft.stores["clinical"]
    assert isinstance(ehr, EventStore)
    assert isinstance(clinical, ColumnStore)
    draft.stores["ehr"] = replace(ehr, codes=("brand//new", *ehr.codes[1:]))
    draft.stores["clinical"] = replace(clinical, numbers=clinical.numbers[:1], number=clinical.number[:, :1])
    column = list(draft.stores).index("biomarker")
    del draft.stores["biomarker"]
    draft.present = np.delete(draft.present, column, axis=1)
    return draft


def test_new_people_with_unknown_codes_missing_columns_and_no_outcomes_are_predicted_and_counted(paths: list[Path], tmp_path: Path) -> None:
    draft = newcomers()
    draft.counts = {"evidence": {"clinical": {"notes": ["3 values were dropped"]}}}
    cohort = freeze(draft, tmp_path / "new", "new", {})
    made = predict_rows(paths, cohort, all_rows(cohort), draws=4)
    assert made.manifest["cohort_notes"] == ["evidence clinical: 3 values were dropped"]
    notes = made.manifest["reader_notes"]
    assert notes["ehr"]["unknown_codes"] >= 1
    assert notes["clinical"]["missing_columns"] == ["bmi"]
    assert notes["biomarker"] == {"missing_evidence": "biomarker"}
    table = made.table
    assert table.height == 40 * 10
    assert all(table[c].null_count() == table.height for c in ("outcome", "time_days", "event", "treatment", "weight", "role"))
    assert not table["present_biomarker"].any()
    has = table.filter(pl.col("abstain_reason").is_null())
    assert has["risk"].is_finite().all()
    assert has.height >= 39 * 10 - 10


def test_what_is_written_is_read_again_with_its_manifest(cohort: Cohort, paths: list[Path], tmp_path: Path) -> None:
    made = predict_rows(paths, cohort, np.arange(10), draws=4)
    path = write_predictions(tmp_path, made)
    assert pl.read_parquet(path).equals(made.table, null_equal=True)
    assert json.loads((tmp_path / "predictions.json").read_text()) == made.manifest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["predictions.json", "predictions.parquet"]
    text = json.dumps(made.manifest)
    assert not any(s in text for s in cohort.rows["subject_id"].unique())


def test_models_of_other_questions_do_not_join(paths: list[Path], point: Path) -> None:
    with pytest.raises(UserError, match="do not answer the same questions"):
        Ensemble.of([paths[0], point])
    with pytest.raises(UserError, match="at least one model"):
        Ensemble.of([])


def test_a_torn_ensemble_or_a_model_in_its_place_is_named(paths: list[Path], tmp_path: Path) -> None:
    ensemble = Ensemble.of(paths)
    ensemble.save(tmp_path / "ensemble.pt")
    held = (tmp_path / "ensemble.pt").read_bytes()
    (tmp_path / "ensemble.pt").write_bytes(held[:-500])
    with pytest.raises(UserError, match=r"ensemble\.pt cannot be read"):
        Ensemble.load(tmp_path / "ensemble.pt")
    with pytest.raises(UserError, match=r"is not of kind equipoise\.ensemble"):
        Ensemble.load(paths[0])
    with pytest.raises(UserError, match="no rows"):
        ensemble.predict(tiny_cohort(tmp_path / "c", n=20), np.empty(0, np.int64), draws=2)


def test_a_byte_that_changed_inside_an_ensemble_is_noticed(paths: list[Path], tmp_path: Path) -> None:
    Ensemble.of(paths).save(tmp_path / "ensemble.pt")
    held = bytearray((tmp_path / "ensemble.pt").read_bytes())
    weights = next(v for v in Model.load(paths[0]).network.state_dict().values() if v.dtype == torch.float32 and v.numel() > 64)
    at = held.index(weights.contiguous().numpy().tobytes())
    held[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "ensemble.pt").write_bytes(held)
    with pytest.raises(UserError, match=r"ensemble\.pt is damaged"):
        Ensemble.load(tmp_path / "ensemble.pt")


def test_outcomes_of_every_label_are_what_was_observed(cohort: Cohort, paths: list[Path]) -> None:
    table = predict_rows(paths, cohort, all_rows(cohort), draws=2).table
    severity = cohort.target("severity").table["outcome"].to_numpy()
    one_hot = np.where(np.isnan(severity)[:, None], np.nan, severity[:, None] == np.arange(3))
    assert np.array_equal(wide(table, "multiclass", "outcome"), one_hot, equal_nan=True)
    response = cohort.target("response").table
    arm, y = response["treatment"].to_numpy(), response["outcome"].to_numpy()
    expected = np.stack([np.where(arm == 0, y, np.nan), np.where(arm == 1, y, np.nan), np.full(y.size, np.nan)], 1)
    assert np.array_equal(wide(table, "treatment_effect", "outcome"), expected, equal_nan=True)
    own = table.filter(pl.col("task") == "treatment_effect")
    assert own.filter(pl.col("abstain_reason").is_null())["propensity"].is_between(0, 1).all()


def test_status_at_a_horizon_is_known_only_where_it_is(tmp_path: Path) -> None:
    draft = tiny_draft(n=20)
    survival = draft.targets["survival"]
    days = [10.0, 100.0, 10.0, 30.0, 30.0, 30.5]
    event = [1, 1, 0, 2, 1, 0]
    entry = [0.0, 0.0, 0.0, 0.0, 0.0, 40.0]
    pad = 20 - len(days)
    survival.table = survival.table.with_columns(
        time_days=pl.Series([*days, *[5.0] * pad]), event=pl.Series([*event, *[0] * pad]), entry_days=pl.Series([*entry, *[0.0] * pad])
    )
    cohort = freeze(draft, tmp_path / "c", "c", {})
    question = Question(task="t", target="survival", kind="time_to_event", evidences=("ehr",), horizons_days=(30.0,))
    risk = np.full((7, 1), 0.5)
    table = prediction_table(question, cohort, np.arange(7), model="m", risk_raw=risk, risk=risk)
    # event in time; event later; censored before; competing event; event on the day itself; entered after; censored before
    assert table["outcome"].to_list() == [1.0, 0.0, None, 0.0, 1.0, None, None]
    assert table["target"].to_list() == ["h=30"] * 7


def test_classes_in_another_order_find_their_outcomes(tmp_path: Path) -> None:
    draft = tiny_draft(n=30)
    severity = draft.targets["severity"]
    names = [None if np.isnan(v) else severity.classes[int(v)] for v in severity.table["outcome"]]
    other = ("severe", "unheard of", "mild", "moderate")
    renumbered = [np.nan if n is None else float(other.index(n)) for n in names]
    severity.table, severity.classes = severity.table.with_columns(outcome=pl.Series(renumbered)), other
    cohort = freeze(draft, tmp_path / "c", "c", {})
    question = Question(task="multiclass", target="severity", kind="multiclass", evidences=("ehr",), classes=("mild", "moderate", "severe"))
    outcome, observed = outcomes(cohort, question, np.arange(30))
    found = [None if np.isnan(v) else question.classes[int(v)] for v in outcome]
    assert found == names
    assert observed.tolist() == [n is not None for n in names]


def test_a_comparators_forecast_makes_the_same_table(cohort: Cohort) -> None:
    question = Question(task="risk", target="outcome", kind="binary", evidences=("ehr", "clinical"))
    rows = np.arange(50)
    risk = np.linspace(0.01, 0.99, 50)[:, None]
    risk[3] = np.nan
    table = prediction_table(question, cohort, rows, model="linear", scenario="masked:ehr", risk_raw=risk, risk=risk, role="held_out")
    assert set(table["model"]) == {"linear"}
    assert table["abstain_reason"].to_list() == [None] * 3 + ["no prediction"] + [None] * 46
    assert table["risk"].null_count() == 1
    assert not table["present_ehr"].any()
    assert set(table["role"]) == {"held_out"}
    assert table["cluster"].to_list() == cohort.rows["cluster"][:50].to_list()
    with pytest.raises(ValueError, match="must be"):
        prediction_table(question, cohort, rows, model="linear", risk_raw=risk[:, 0], risk=risk[:, 0])


def test_the_table_is_made_without_torch_and_predictions_without_lightning() -> None:
    code = (
        "import sys, equipoise.predict_table; assert 'torch' not in sys.modules, 'torch';"
        "import equipoise.predict; assert 'pytorch_lightning' not in sys.modules, 'lightning'; assert 'wandb' not in sys.modules, 'wandb'"
    )
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""The main job end to end, small: sources to report, sweep, new people, foreign tables, and what goes wrong on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from equipoise import fit as fit_module
from equipoise.cli import main
from equipoise.cohort.frozen import Cohort, open_cohort
from equipoise.cohort.split import Split
from equipoise.comparator.linear import Linear
from equipoise.contract.question import Question

SMALL = [
    "cohort.n=400",
    "calibration=none",
    "d_model=8",
    "learner.max_epochs=2",
    "trial.n_bootstrap=100",
    "comparator=[linear,prevalence]",
    "trainer.progress=false",
    "comparator.linear.variants=[0]",
    "comparator.linear.folds=3",
]
LIGHT = [*SMALL, "validation.masked=false"]
AXES = ["fusion=concat,late", "validation.min_events_train=10,100000"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with one finished small run in ``first``."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("EQUIPOISE_LEDGER", str(folder / "ledger"))
        assert main(["run", *SMALL, "run_dir=first"]) == 0
    return folder


@pytest.fixture(scope="module")
def second(home: Path) -> Path:
    """Another model on the same rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("EQUIPOISE_LEDGER", str(home / "ledger"))
        assert main(["run", *LIGHT, "seed=7", "run_dir=second"]) == 0
    return home / "second"


@pytest.fixture(scope="module")
def swept(home: Path, second: Path) -> tuple[Path, dict[Path, str]]:
    """A sweep of which every second job fails, and the ledgers before it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("EQUIPOISE_LEDGER", str(home / "ledger"))
        ledgers = {p: p.read_text() for p in (home / "ledger").glob("*.jsonl")}
        assert main(["run", "-m", *LIGHT, *AXES, "run_dir=sweep"]) == 1
    return home / "sweep", ledgers


@pytest.fixture(autouse=True)
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("EQUIPOISE_LEDGER", str(home / "ledger"))


def test_a_run_leaves_config_model_predictions_results_report_and_manifest(home: Path) -> None:
    run = home / "first"
    for name in ("config.yaml", "ensemble.pt", "predictions.parquet", "results.json", "report.html", "manifest.json", "run.log"):
        assert (run / name).stat().st_size > 0, name
    assert not list(run.rglob("*.part"))
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["opening"]) == ("done", 1)


def test_results_have_the_promised_keys(home: Path) -> None:
    results = json.loads((home / "first" / "results.json").read_text())
    for metric in ("auroc", "auprc", "brier", "log_score", "calibration_slope", "calibration_in_the_large"):
        assert {"value", "lo", "hi"} <= set(results["endpoints"][metric])
        assert {"difference", "lo", "hi"} <= set(results["comparisons"]["linear"][metric])
    assert results["verdict"] in ("demonstrated gain", "non-inferior", "no demonstrated gain", "demonstrated loss", "not evaluable")
    masked = {f"masked:{e}" for e in ("ehr", "genotype", "biomarker", "lifestyle", "clinical")}
    assert masked <= set(results["scenarios"])


def test_held_out_rows_are_predicted_once_and_serve_no_other_role(home: Path) -> None:
    table = pl.read_parquet(home / "first" / "predictions.parquet").filter(pl.col("scenario") == "all")
    assert set(table["role"]) == {"held_out"}
    assert set(table["model"]) == {"equipoise", "linear", "prevalence"}
    assert table.select("model", "subject_id", "target").is_unique().all()


def test_the_same_command_reads_a_finished_run_and_opens_nothing_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = pl.read_parquet(home / "first" / "predictions.parquet")
    assert main(["run", *SMALL, "run_dir=first"]) == 0
    out = capsys.readouterr().out.strip().splitlines()
    assert out[-1] == f"report: {home / 'first' / 'report.html'}"
    assert pl.read_parquet(home / "first" / "predictions.parquet").equals(before)
    assert json.loads((home / "first" / "manifest.json").read_text())["opening"] == 1


def test_another_config_does_not_overwrite_a_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL, "seed=7", "run_dir=first"]) == 2
    assert "holds a run of another config" in capsys.readouterr().err


def test_a_second_model_on_the_same_rows_is_exploratory(second: Path) -> None:
    results = json.loads((second / "results.json").read_text())
    assert results["verdict_detail"]["opening"] == 2
    assert results["verdict_detail"]["exploratory"] is True
    assert "opening 2" in (second / "report.html").read_text()


@pytest.mark.slow
def test_a_sweep_keeps_held_out_rows_sealed_builds_one_cohort_and_survives_a_failing_job(home: Path, swept: tuple[Path, dict[Path, str]]) -> None:
    sweep, ledgers = swept
    jobs = [json.loads((sweep / str(i) / "job.json").read_text()) for i in range(4)]
    assert [j["status"] == "done" for j in jobs] == [True, False, True, False]
    assert set(pl.read_parquet(sweep / "0" / "predictions.parquet")["role"]) == {"select"}
    assert json.loads((sweep / "2" / "results.json").read_text())["verdict"] == "not evaluable"
    assert {p: p.read_text() for p in (home / "ledger").glob("*.jsonl")} == ledgers
    assert len({json.loads((sweep / str(i) / "notes.json").read_text())["cohort"]["hash"] for i in (0, 2)}) == 1
    assert pl.read_csv(sweep / "sweep.csv").height == 4


def test_a_fit_of_another_role_is_not_read(swept: tuple[Path, dict[Path, str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *LIGHT, "fusion=concat", "validation.min_events_train=10", "run_dir=sweep/0"]) == 2
    assert "finished fit of another cohort, role, config or version" in capsys.readouterr().err


def test_a_sweep_judges_no_row_that_a_comparator_or_its_tuning_learnt_from(home: Path) -> None:
    """With few epochs and rotation asked for: a comparator that had seen the select rows would look better on them than on others."""
    fitted: list[np.ndarray] = []
    fit, trained = Linear.fit, fit_module.train_member

    def watched(self: Linear, cohort: Cohort, rows: np.ndarray, question: Question) -> None:
        fitted.append(rows)
        fit(self, cohort, rows, question)

    def seen(config: Any, cohort: Cohort, split: Split, **further: Any) -> Path:
        fitted.append(split.train)
        return trained(config, cohort, split, **further)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Linear, "fit", watched)
        patch.setattr(fit_module, "train_member", seen)
        assert main(["run", *LIGHT, "sealed=true", "members=2", "validation.rotate_select=true", "run_dir=apart"]) == 0
    notes = json.loads((home / "apart" / "notes.json").read_text())
    cohort = open_cohort(home / "cohorts" / notes["cohort"]["hash"])
    judged = cohort.rows_in("select")
    assert len(fitted) == 3
    assert all(not np.intersect1d(rows, judged).size for rows in fitted)
    assert set(pl.read_parquet(home / "apart" / "predictions.parquet")["role"]) == {"select"}


def test_debug_and_sealed_runs_open_nothing(home: Path) -> None:
    ledgers = {p: p.read_text() for p in (home / "ledger").glob("*.jsonl")}
    assert main(["run", *LIGHT, "debug=fast", "run_dir=debugged"]) == 0
    assert json.loads((home / "debugged" / "results.json").read_text())["verdict"] == "not evaluable"
    assert {p: p.read_text() for p in (home / "ledger").glob("*.jsonl")} == ledgers


def test_a_run_judged_again_keeps_its_opening_and_by_another_protocol_gets_a_new_one_beside_it(second: Path) -> None:
    before = (second / "results.json").read_bytes()
    assert main(["evaluate", "run_dir=second"]) == 0
    assert (second / "results.json").read_bytes() == before
    assert main(["evaluate", "run_dir=second", "trial.primary=brier"]) == 0
    (beside,) = second.glob("evaluated_*")
    again = json.loads((beside / "results.json").read_text())
    assert again["verdict_detail"]["primary"] == "brier"
    assert again["verdict_detail"]["opening"] == 3
    assert again["verdict_detail"]["exploratory"]
    assert (second / "results.json").read_bytes() == before
    assert json.loads((beside / "claims.json").read_text())["seal"]["ledger"][0]["opening"] == 3
    assert main(["verify", str(beside)]) == 0


def test_a_torn_predictions_table_is_named(second: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torn = shutil.copytree(second, tmp_path / "torn")
    table = torn / "predictions.parquet"
    table.write_bytes(table.read_bytes()[:-100])
    assert main(["evaluate", f"run_dir={torn}"]) == 2
    assert "predictions.parquet cannot be read" in capsys.readouterr().err


def test_a_finished_run_is_judged_as_it_was_made(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "run_dir=first", "seed=5"]) == 2
    assert "takes no seed" in capsys.readouterr().err


def test_an_endpoint_that_the_outcome_does_not_have_is_refused_before_training_and_leaves_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL, "trial.primary=aurocc", "run_dir=misspelt"]) == 2
    assert "aurocc" in capsys.readouterr().err
    assert not (home / "misspelt").exists()


def test_predicting_puts_no_outcome_beside_a_prediction(home: Path) -> None:
    assert main(["predict", *SMALL, "model=first", "run_dir=unopened"]) == 0
    told = pl.read_parquet(home / "unopened" / "predictions.parquet")
    assert told.height > 300
    assert told["outcome"].null_count() == told.height


def test_predicting_is_not_swept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "-m", "seed=1,2", "run_dir=swept"]) == 2
    assert "cannot be swept" in capsys.readouterr().err


def test_rows_that_taught_are_not_judged_in_a_table_from_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(6)
    risk = rng.uniform(0.05, 0.6, 300)
    table = pl.DataFrame({"subject_id": [f"p{i}" for i in range(300)], "outcome": (rng.random(300) < risk).astype(int), "risk": risk})
    table.with_columns(pl.Series("role", ["train"] * 100 + ["held_out"] * 200)).write_csv("roles.csv")
    assert main(["evaluate", "predictions=roles.csv", "run_dir=roles", "trial.n_bootstrap=100"]) == 0
    assert json.loads((home / "roles" / "results.json").read_text())["n"]["rows"] == 200
    table.with_columns(pl.lit("train").alias("role")).write_csv("taught.csv")
    assert main(["evaluate", "predictions=taught.csv", "run_dir=taught"]) == 2
    assert "no held-out row" in capsys.readouterr().err


def test_a_table_of_another_tool_goes_through_the_same_trial(home: Path) -> None:
    rng = np.random.default_rng(5)
    risk = rng.uniform(0.05, 0.6, 300)
    outcome = (rng.random(300) < risk).astype(int)
    pl.DataFrame({"subject_id": [f"p{i}" for i in range(300)], "outcome": outcome, "risk": risk, "comparator_old": np.full(300, outcome.mean())}).write_csv(
        "foreign.csv"
    )
    assert main(["evaluate", "predictions=foreign.csv", "run_dir=foreign", "trial.n_bootstrap=100"]) == 0
    results = json.loads((home / "foreign" / "results.json").read_text())
    from sklearn.metrics import roc_auc_score

    assert results["endpoints"]["auroc"]["value"] == pytest.approx(roc_auc_score(outcome, risk), abs=1e-12)
    assert set(results["comparisons"]) == {"old"}


def write_flat(path: Path, n: int = 240, **columns: object) -> None:
    rng = np.random.default_rng(11)
    x, z = rng.standard_normal((2, n))
    died = (rng.random(n) < 1 / (1 + np.exp(-(1.5 * x - 0.5)))).astype(int)
    table = {"id": [f"s{i}" for i in range(n)], "x": x, "z": z, "group": rng.choice(["a", "b"], n), "died": died} | columns
    pl.DataFrame(table).write_csv(path)


QUICK = ["d_model=8", "learner.max_epochs=2", "calibration=none", "comparator=[prevalence]", "trainer.progress=false", "trial.n_bootstrap=100"]


def test_init_writes_an_experiment_that_runs_and_predicts_new_people(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_flat(home / "my.csv", spoilt=[None] * 240)
    assert main(["init", "my.csv", "--outcome", "died"]) == 0
    assert "left out: spoilt: empty" in capsys.readouterr().out
    assert main(["run", "experiments=001_my/run", *QUICK, "run_dir=mine"]) == 0
    new = pl.DataFrame({"id": ["n1", "n2", "n3"], "x": [0.1, None, 2.0], "group": ["a", "never seen", None]})
    new.write_csv(home / "new.csv")
    assert main(["predict", "experiments=001_my/predict", "model=mine", "new=new.csv", "run_dir=told"]) == 0
    said = capsys.readouterr().out
    assert "missing columns" in said
    assert "unknown levels" in said
    told = pl.read_parquet(home / "told" / "predictions.parquet")
    assert told["subject_id"].to_list() == ["n1", "n2", "n3"]
    assert told["outcome"].null_count() == 3
    assert told["risk"].is_between(0, 1).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"died": [0] * 240}, "has 1 value"),
        ({"id": ["same"] * 240}, "repeats identifiers"),
        ({"x": [None] * 240, "z": [1.0] * 240, "group": ["a"] * 240}, "No column can be an input"),
    ],
    ids=["one class", "duplicate subjects", "nothing to learn from"],
)
def test_a_flat_table_that_cannot_be_used_is_refused_and_nothing_is_written(
    home: Path, change: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_flat(home / "bad.csv", **change)
    before = sorted((home / "experiments").glob("*")) if (home / "experiments").exists() else []
    assert main(["init", "bad.csv", "--outcome", "died", "--id", "id"]) == 2
    assert said in capsys.readouterr().err
    assert (sorted((home / "experiments").glob("*")) if (home / "experiments").exists() else []) == before


@pytest.mark.parametrize(
    ("values", "event", "why", "positive"),
    [
        ((0, 1), "1", "of 0 and 1", None),
        ((2, 1), "1", "no word for yes, so the rarer of the two", "1"),
        (("alive", "Dead"), "Dead", "a word for yes", "Dead"),
        ((True, False), "True", "a word for yes", "True"),
    ],
    ids=["0 and 1", "coded 2 and 1", "words", "true and false"],
)
def test_init_says_which_value_is_the_event_and_the_cohort_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], values: tuple[object, object], event: str, why: str, positive: object
) -> None:
    monkeypatch.chdir(tmp_path)
    write_flat(tmp_path / "my.csv", died=[values[i % 3 == 0] for i in range(240)])
    assert main(["init", "my.csv", "--outcome", "died"]) == 0
    n = sum(str(values[i % 3 == 0]) == event for i in range(240))
    expected = f"died = {event} ({why}), {n} of 240 rows; if it is "
    assert f"event: {expected}" in capsys.readouterr().out
    assert expected in (tmp_path / "experiments" / "001_my" / "README.md").read_text()
    said = yaml.safe_load((tmp_path / "experiments" / "001_my" / "run.yaml").read_text())
    assert said["cohort"]["labels"]["targets"]["outcome"].get("positive") == positive
    assert main(["cohort", "experiments=001_my/run"]) == 0
    target = open_cohort(Path(capsys.readouterr().out.strip().splitlines()[-1].removeprefix("cohort: "))).target("outcome")
    assert int(target.table["outcome"].sum()) == n


def test_a_damaged_cohort_is_named_and_nothing_is_trained(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["cohort.n=300", *SMALL[1:]]
    assert main(["cohort", *small]) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1].removeprefix("cohort: "))
    array = folder / "evidence" / "biomarker" / "number.npy"
    whole = array.read_bytes()
    array.chmod(0o644)
    array.write_bytes(whole[:-8])
    assert main(["run", *small, "run_dir=damaged"]) == 2
    error = capsys.readouterr().err
    assert "number.npy is damaged" in error
    assert "build the cohort again" in error
    assert not (home / "damaged" / "ensemble.pt").exists()


def test_too_few_calibrate_events_are_refused_before_anything_is_trained(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL, "calibration=logistic", "run_dir=uncalibrated"]) == 2
    assert "calibrate rows" in capsys.readouterr().err
    assert not (home / "uncalibrated").exists()


def test_too_few_events_are_refused_with_the_count(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL, "validation.min_events_train=100000", "run_dir=rare"]) == 2
    assert "100000" in capsys.readouterr().err
    assert not (home / "rare").exists()

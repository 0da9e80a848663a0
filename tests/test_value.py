"""The arms behind the worth of evidences: nested refits and placebos, their folders and columns; and what the trial says of them where the truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from equipoise import value as value_module
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.contract.tables import PREDICTION_KEY
from equipoise.fit import SplitFit, fit_split
from equipoise.testing.cohorts import tiny_cohort
from equipoise.testing.known_truth import known_cohort
from equipoise.trial.evaluate import evaluate
from equipoise.trial.protocol import protocol_of
from equipoise.trial.value import AMONG, POPULATION
from equipoise.value import base_columns, check_value, valued, with_value
from small_config import CONFIGS, small_config

VIEWS = ("clinical", "genotype", "biomarker")


def config_of(views: tuple[str, ...] = VIEWS, **trial: Any) -> dict[str, Any]:
    default = yaml.safe_load((CONFIGS / "trial" / "default.yaml").read_text()) | {"n_bootstrap": 100, "loess_bootstrap": 0}
    return small_config(views=views, learner__max_epochs=1) | {"calibration": _none(), "comparator": {}, "trial": default | trial}


def _none() -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / "calibration" / "none.yaml").read_text())


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("value") / "cohort", n=300)


def fitted(config: dict[str, Any], cohort: Cohort, folder: Path, role: Any = "held_out") -> SplitFit:
    split = Split.of(cohort)
    fit = fit_split(config, cohort, split, role, folder, repeat=0, fold=0, loggers=[])
    return with_value(config, cohort, split, role, folder, fit, repeat=0, fold=0)


def test_arms_are_fitted_once_judged_on_the_same_rows_and_read_on_resume(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(value_of=["genotype"], placebo_repeats=2, subsets="all")
    made = fitted(config, cohort, tmp_path)
    table = made.table
    assert set(table["scenario"]) >= {"all", "refit:clinical+biomarker", "placebo:genotype", "placebo:genotype@2", "masked:clinical+genotype"}
    assert table.select(PREDICTION_KEY).n_unique() == table.height
    rows = {s: t.select("subject_id", "prediction_time", "outcome") for (s,), t in table.group_by("scenario", maintain_order=True)}
    assert all(t.equals(rows["all"]) for t in rows.values())
    risk = {s: table.filter(pl.col("scenario") == s)["risk"].to_numpy() for s in ("all", "placebo:genotype", "placebo:genotype@2")}
    assert (risk["placebo:genotype"] != risk["placebo:genotype@2"]).any()
    present = table.filter(pl.col("scenario") == "placebo:genotype")["present_genotype"]
    assert present.to_list() == table.filter(pl.col("scenario") == "all")["present_genotype"].to_list()
    assert {"base_age", "base_sex", "stratum_ancestry", "site_unseen"} <= set(table.columns)
    assert not table["site_unseen"].any()
    assert made.notes["permuted"]["placebo:genotype"]["kept_their_own"] == 0
    assert sorted(p.name for p in (tmp_path / "value").iterdir()) == ["placebo_genotype_1", "placebo_genotype_2", "without_genotype"]

    def refuse(*given: object, **named: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("equipoise.fit.train_member", refuse)
    assert fitted(config, cohort, tmp_path).table.equals(table)
    results = evaluate(table, protocol_of(config["trial"]), kind="binary", task="risk", required=[], role="held_out", opening=1)
    entry = results["value"]["evidences"]["genotype"]
    assert set(entry["estimands"][AMONG]["gains"]) == {"total", "content", "presence"}
    assert results["value"]["base"]["kept"] == ["age", "sex"]
    assert results["value"]["not_claimed"] == ["clinical", "biomarker"]


def test_select_rows_and_no_claim_need_no_further_fit(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = SplitFit(pl.DataFrame(), {})
    monkeypatch.setattr(value_module, "fit_split", None)
    for config, role in ((config_of(value_of=["all"]), "select"), (config_of(), "held_out")):
        assert with_value(config, cohort, Split.of(cohort), role, tmp_path, fit, repeat=0, fold=0) is fit


def test_the_arm_without_an_evidence_loses_whatever_names_it(cohort: Cohort) -> None:
    config = config_of(value_of=["genotype"])
    config["tune"] = {"folds": 2, "grid": {"modality.genotype.screen": [1, 2], "d_model": [4, 8]}}
    config["learner"]["evidence_dropout"] = {"genotype": 0.2, "biomarker": 0.1}
    config["fusion"] = {"_target_": "equipoise.fusion.additive.Additive", "first": ["genotype", "clinical"], "mapped": True, "prior_scale": 1.0}
    arm = value_module._without(config, "genotype")
    assert set(arm["modality"]) == {"clinical", "biomarker"}
    assert arm["tune"]["grid"] == {"d_model": [4, 8]}
    assert arm["learner"]["evidence_dropout"] == {"biomarker": 0.1}
    assert arm["fusion"] == {**config["fusion"], "first": ["clinical"]}
    assert valued(arm, cohort) == []


def test_evidences_that_hold_the_base_columns_are_not_claimed(cohort: Cohort) -> None:
    config = config_of(value_of=["all"])
    assert base_columns(config, cohort) == {"age": "clinical", "sex": "clinical"}
    assert valued(config, cohort) == ["genotype", "biomarker"]
    config["modality"]["clinical"]["columns"] = ["bmi"]
    assert valued(config, cohort) == ["clinical", "genotype", "biomarker"]


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        ({"value_of": ["genotypes"]}, "names 'genotypes'.*genotype"),
        ({"value_of": ["clinical"]}, r"every nested model keeps \(age, sex\)"),
        ({"value_of": ["genotype"], "placebo_strata": ["batch"]}, "placebo_strata names 'batch'"),
    ],
)
def test_a_mistake_is_named_before_training(cohort: Cohort, trial: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_value(config_of(**trial), cohort)
    check_value(config_of(value_of=["genotype"], placebo_strata=["site", "ancestry", "region"], subsets="all"), cohort)


SMALL = (
    "experiments=004_known_truth/value", "cohort.n=2000", "cohort.genome.variants=100", "encoder@modality.clinical.encoder=linear", "comparator=[prevalence]",
    "trial.value_base=[age,sex]", "trial.endpoints=[log_score]", "trial.loess_bootstrap=0", "learner.max_epochs=15", "optimizer.lr=0.01", "d_model=8",
)  # fmt: skip

# Priors so wide that a genome without content is overfitted, and one with content learnt.
GENOME = ("modality=[clinical,genotype]", "modality.genotype.encoder.prior_scale=20.0", "fusion.prior_scale=20.0")


def _worth(folder: Path, evidence: str, *overrides: str) -> dict[str, Any]:
    known = known_cohort([*SMALL, f"trial.value_of=[{evidence}]", *overrides], folder)
    table = fitted(known.config, known.cohort, folder / "fit").table
    protocol = protocol_of(known.config["trial"])
    return evaluate(table, protocol, kind="binary", task="risk", required=[], role="held_out", opening=1)["value"]["evidences"][evidence]


def _gain(entry: dict[str, Any], population: str, of: str) -> dict[str, Any]:
    return entry["estimands"][population]["gains"][of]["log_score"]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["null_genome", "null_genome_ancestry"])
def test_no_content_is_claimed_of_a_genome_that_tells_ancestry_at_most(tmp_path: Path, option: str) -> None:
    """Without deprivation and site in the model the second genome predicts, through ancestry: neither may be claimed."""
    made = _worth(tmp_path, "genotype", f"cohort={option}", *GENOME, "modality.clinical.columns=[age,sex]")
    assert made["verdict"] == "no demonstrated gain", made["sentence"]


@pytest.mark.slow
def test_a_planted_genome_is_claimed_by_its_content_and_not_its_presence(tmp_path: Path) -> None:
    planted = ("cohort.outcome.weights=[2.5,0.0,0.0]", "cohort.state.heritability=0.9", "cohort.outcome.interaction=0.0", "cohort.genome.polygenicity=0.05")
    made = _worth(tmp_path, "genotype", *GENOME, *planted)
    assert made["verdict"] == "demonstrated gain", made["sentence"]
    assert _gain(made, AMONG, "content")["lo"] > 0.02
    assert abs(_gain(made, POPULATION, "presence")["gain"]) < 0.25 * _gain(made, POPULATION, "content")["gain"]


@pytest.mark.slow
def test_a_biomarker_that_is_measured_in_the_sick_adds_by_presence_and_not_by_content(tmp_path: Path) -> None:
    process = (
        "cohort.presence.biomarker.share=0.5", "cohort.presence.biomarker.mechanism=mnar", "cohort.presence.biomarker.strength=3.0",
        "cohort.biomarker.signal=0.0", "cohort.outcome.weights=[0.0,0.0,2.5]", "cohort.outcome.interaction=0.0",
    )  # fmt: skip
    made = _worth(tmp_path, "biomarker", "modality=[clinical,biomarker]", *process)
    assert made["verdict"] == "no demonstrated gain", made["sentence"]
    assert _gain(made, POPULATION, "presence")["lo"] > 0.01
    assert abs(_gain(made, POPULATION, "content")["gain"]) < 0.2 * _gain(made, POPULATION, "presence")["gain"]
    at_random = made["absence"]["at_random"]
    assert at_random["observed"]["lo"] > 0 > at_random["random"]["gain"]


def test_arrays_of_strata_are_row_aligned(cohort: Cohort) -> None:
    made = value_module.strata_of(protocol_of(config_of(placebo_strata=["region", "site"])["trial"]), cohort, np.arange(cohort.size))
    assert list(made) == ["region", "site"]
    assert set(made["region"]) == {"a", "b", "c", None}
    assert (made["site"] == cohort.rows["site"].to_numpy()).all()

"""The real data sets as cohorts: what their READMEs say must come out. Skipped where the data are not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from equipoise.cohort.build import build_cohort
from equipoise.cohort.draft import ColumnStore, EventStore, GenotypeStore
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.outcomes import check_events
from equipoise.cohort.roles import check_disjoint, fold_split, folds_of
from equipoise.cohort.split import Split
from equipoise.contract.make import make
from equipoise.places import find_data

TOP = Path(__file__).resolve().parents[2]


def data(name: str) -> Path:
    found = find_data()
    if found is None or not (found / name).is_dir():
        pytest.skip(f"the data set {name} is not on this machine; set EQUIPOISE_DATA to the folder that holds {name}/")
    return found


def option(name: str) -> dict[str, Any]:
    folder = data(name)
    return yaml.safe_load((TOP / "configs" / "cohort" / f"{name}.yaml").read_text().replace("${paths.data}", str(folder)))


def build(node: dict[str, Any], folder: Path) -> Cohort:
    return build_cohort(make(node), folder / "cohorts")


RANDOM = {"_target_": "equipoise.cohort.splits.RandomRoles", "shares": {"train": 0.7, "held_out": 0.3}}
NOTHING = {"folds": None, "clusters": None, "relatives": None, "kinship": None, "site": None, "scores": {}, "predict_only": False, "where": None}


def node(id_type: str, evidence: dict[str, Any], labels: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"_target_": "equipoise.cohort.files.Files", "id_type": id_type, "evidence": evidence, "labels": labels, "roles": RANDOM, **NOTHING, **more}


def table(path: Path, id_column: str, **more: Any) -> dict[str, Any]:
    return {"_target_": "equipoise.cohort.table.Table", "path": str(path), "id": id_column, **more}


def labels(path: Path, id_column: str, **targets: Any) -> dict[str, Any]:
    return {"_target_": "equipoise.cohort.labels.TableLabels", "path": str(path), "id": id_column, "targets": targets}


def test_physionet2012_is_what_its_readme_says(tmp_path: Path) -> None:
    given = option("physionet2012")
    started = time.perf_counter()
    cohort = build(given, tmp_path)
    assert time.perf_counter() - started < 60
    assert cohort.manifest["roles"] == {"train": 3200, "select": 400, "calibrate": 400, "held_out": 4000}
    assert cohort.present.all()
    outcome, role = cohort.target("in_hospital_death").table["outcome"].to_numpy(), cohort.rows["role"].to_numpy()
    assert outcome[role == "held_out"].mean() == pytest.approx(0.1420, abs=1e-4)
    assert outcome[role != "held_out"].mean() == pytest.approx(0.1385, abs=1e-4)
    assert abs(outcome[role == "select"].sum() - outcome[role == "calibrate"].sum()) <= 1
    ehr = cohort.store("ehr")
    assert isinstance(ehr, EventStore)
    assert (len(ehr.code), len(ehr.codes)) == (3_508_010, 49)
    declared = given["evidence"]["ehr"]["ranges"]
    assert set(ehr.codes) - set(declared) == {c for c in ehr.codes if c.startswith(("STATIC//Gender", "STATIC//ICUType"))}
    for code, (lo, hi) in declared.items():
        value = ehr.value[ehr.code == ehr.codes.index(code)]
        value = value[np.isfinite(value)].astype(np.float64)
        assert value.size
        assert lo - 1e-6 <= value.min() <= value.max() <= hi + 1e-6
    dropped = cohort.manifest["counts"]["evidence"]["ehr"]["ranges"]
    assert dropped["MEAS//pH"]["above"] == 10
    assert all(c["below"] + c["above"] < 0.01 * c["values"] for c in dropped.values())
    assert not any("saps" in c.lower() or "sofa" in c.lower() for c in ehr.codes)
    assert set(cohort.scores) == {"saps_i", "sofa"}
    assert 0.9 < np.isfinite(cohort.scores["saps_i"]).mean() < 1
    check_events(cohort.target("in_hospital_death"), Split.of(cohort), min_train=10, min_held_out=5)


def test_hsmice_is_what_its_readme_says(tmp_path: Path) -> None:
    given = option("hsmice")
    started = time.perf_counter()
    cohort = build(given, tmp_path)
    assert time.perf_counter() - started < 15
    assert cohort.size == 1814
    assert cohort.rows["cluster"].n_unique() == 169
    genotype, clinical, biomarker = (cohort.store(e) for e in ("genotype", "clinical", "biomarker"))
    assert isinstance(genotype, GenotypeStore)
    assert isinstance(clinical, ColumnStore)
    assert isinstance(biomarker, ColumnStore)
    assert (genotype.packed.shape, genotype.variants.height) == ((1814, 2587), 10346)
    bed = np.fromfile(data("hsmice") / "hsmice" / "hsmice.bed", np.uint8)[3:].reshape(10346, -1)
    raw = ((bed[:, :, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3).reshape(10346, -1)[:, :1814]
    mine = ((genotype.packed[:, :, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3).reshape(1814, -1)[:, :10346]
    fam = [line.split()[1] for line in (data("hsmice") / "hsmice" / "hsmice.fam").read_text().splitlines()]
    place = {name: i for i, name in enumerate(fam)}
    order = np.array([place[s] for s in cohort.rows["subject_id"]])
    assert (mine[genotype.index] == raw.T[order]).all()
    inputs = {c.name for c in (*clinical.numbers, *clinical.categories, *biomarker.numbers)}
    assert len(biomarker.numbers) == 16
    assert not inputs & {"biochem_endnormalbw", "obesity_endnormalbw", "obesity_bmi", "obesity_bodylength", "family", "cage"}
    weight, coat = cohort.target("body_weight"), cohort.target("coat_colour")
    assert weight.table["outcome"].mean() == pytest.approx(23.9969, abs=1e-3)
    assert (len(coat.classes), coat.classes[int(coat.table["outcome"].mode()[0])]) == (9, "chocolate")
    cluster = cohort.rows["cluster"].to_numpy()
    assert cohort.folds is not None
    for fold in folds_of(cohort, 0):
        split = fold_split(cohort, 0, fold, select_share=0.15, calibrate_share=0.0, seed=0)
        check_disjoint(cluster, split)
        check_events(coat, split, min_train=10, min_held_out=5)
        assert abs(split.select.size / (1814 - split.held_out.size) - 0.15) < 0.03


def test_tcga_is_several_tables_with_published_folds(tmp_path: Path) -> None:
    at = data("tcga") / "tcga"
    clinical = table(at / "kirc_clinical.parquet", "case_id", columns=["age", "is_female", "oncotree_code"])
    evidence = {"clinical": clinical, "rna": table(at / "kirc_rna.parquet", "case_id"), "mut": table(at / "kirc_mut.parquet", "case_id")}
    survival = {"kind": "time_to_event", "time": "survival_months", "time_unit": "months", "event": "event"}
    folds = {
        "_target_": "equipoise.cohort.splits.GivenFolds",
        "path": str(at / "kirc_splits.parquet"),
        "id": "case_id",
        "fold": "fold",
        "part": "part",
        "held_out": "val",
    }
    site = {"_target_": "equipoise.cohort.lookup.Lookup", "path": str(at / "kirc_clinical.parquet"), "id": "case_id", "column": "site"}
    cohort = build(node("str", evidence, labels(at / "kirc_clinical.parquet", "case_id", death=survival), folds=folds, site=site), tmp_path)
    assert cohort.size == 345
    assert int((cohort.target("death").table["event"] > 0).sum()) == 92
    assert folds_of(cohort, 0) == [0, 1, 2, 3, 4]
    assert cohort.rows["site"].null_count() == 0


def test_metabric_keeps_its_published_split(tmp_path: Path) -> None:
    at = data("metabric") / "metabric" / "metabric.parquet"
    genes = table(at, "id", columns=["EGFR", "PGR", "ERBB2", "MKI67"])
    clinical = table(at, "id")
    roles = {"_target_": "equipoise.cohort.splits.GivenRoles", "path": str(at), "id": "id", "column": "split"}
    divide = {"train": {"train": 0.85, "select": 0.15}, "test": "held_out"}
    survival = {"kind": "time_to_event", "time": "time_months", "time_unit": "months", "event": "event"}
    cohort = build(node("int", {"genes": genes, "clinical": clinical}, labels(at, "id", death=survival), roles={**roles, "divide": divide}), tmp_path)
    assert cohort.manifest["roles"]["held_out"] == 381
    assert cohort.manifest["roles"]["train"] + cohort.manifest["roles"]["select"] == 1523
    store = cohort.store("clinical")
    assert isinstance(store, ColumnStore)
    assert not {"event", "time_months", "split", "id"} & {c.name for c in (*store.numbers, *store.categories)}


def test_actg175_has_survival_and_an_effect_of_treatment(tmp_path: Path) -> None:
    at = data("actg175") / "actg175" / "actg175.csv"
    after = ["offtrt", "cd420", "cd820", "cd496", "r"]
    clinical = table(at, "pidnum", exclude=[*after, "arms", "zprior"], categories=["strat"])
    survival = {"kind": "time_to_event", "time": "days", "event": "cens", "treatment": "arms"}
    effect = {"kind": "treatment_effect", "column": "cd420", "treatment": "treat"}
    folds = {"_target_": "equipoise.cohort.splits.GivenFolds", "path": str(at.parent / "folds.parquet"), "id": "pidnum", "fold": "fold", "repeat": "repeat"}
    cohort = build(node("int", {"clinical": clinical}, labels(at, "pidnum", event=survival, cd4=effect), folds=folds), tmp_path)
    cd4 = cohort.target("cd4").table
    arm = cd4.group_by("treatment").agg(pl.col("outcome").mean()).sort("treatment")["outcome"]
    assert arm[1] - arm[0] == pytest.approx(46.8105, abs=1e-3)
    store = cohort.store("clinical")
    assert isinstance(store, ColumnStore)
    assert not {"cens", "days", "treat", "arms", "cd420"} & {c.name for c in store.numbers}


def test_wheat_is_a_fileset_with_one_given_partition(tmp_path: Path) -> None:
    at = data("wheat") / "wheat"
    evidence = {"genotype": {"_target_": "equipoise.cohort.plink.Plink", "path": str(at / "wheat")}}
    targets = {f"yield{k}": {"kind": "continuous", "column": f"yield_env{k}"} for k in range(1, 5)}
    folds = {"_target_": "equipoise.cohort.splits.GivenFolds", "path": str(at / "phenotypes.parquet"), "id": "iid", "fold": "cv_set"}
    cohort = build(node("str", evidence, labels(at / "phenotypes.parquet", "iid", **targets), folds=folds), tmp_path)
    assert (cohort.size, folds_of(cohort, 0)) == (599, list(range(1, 11)))
    genotype = cohort.store("genotype")
    assert isinstance(genotype, GenotypeStore)
    assert genotype.variants.height == 1279

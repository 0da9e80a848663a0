"""A cohort from files, whole: the join, the flow, the rows, and one mistake after another."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort.written_sources import T0, World, files, table_labels, write_meds
from equipoise.cohort.build import build_cohort
from equipoise.cohort.draft import ColumnStore, EventStore, GenotypeStore
from equipoise.cohort.labels import Unlabelled
from equipoise.cohort.lookup import Lookup
from equipoise.cohort.meds import Meds
from equipoise.cohort.plink import Plink
from equipoise.cohort.roles import check_disjoint
from equipoise.cohort.split import Split
from equipoise.cohort.splits import GivenRoles, RandomFolds
from equipoise.cohort.table import Table
from equipoise.contract.errors import UserError
from equipoise.contract.make import make


def test_three_evidences_are_joined_with_the_labels(tmp_path: Path) -> None:
    world = World(tmp_path)
    cohort = build_cohort(world.source(folds=RandomFolds(folds=4, stratum="died")), tmp_path / "cohorts")
    assert cohort.rows["subject_id"].to_list() == world.ids
    assert cohort.rows["prediction_time"].unique().to_list() == [T0 + timedelta(hours=48)]
    assert cohort.evidences == ("ehr", "clinical", "genotype")
    assert cohort.present.all()
    ehr, clinical, genotype = (cohort.store(e) for e in cohort.evidences)
    assert isinstance(ehr, EventStore)
    assert isinstance(clinical, ColumnStore)
    assert isinstance(genotype, GenotypeStore)
    np.testing.assert_array_equal(clinical.number[:, 0], world.age)
    assert genotype.packed.shape == (40, 3)
    limit = int((T0 + timedelta(hours=48)).timestamp() * 1e6)
    for row in range(40):
        assert (ehr.time_us[ehr.start[row] : ehr.stop[row]] <= limit).all()
    assert cohort.target("died").table["outcome"].to_list() == world.died.tolist()
    check_disjoint(cohort.rows["cluster"].to_numpy(), Split.of(cohort))
    assert cohort.folds is not None
    assert cohort.folds.height == 40
    assert [line["step"] for line in cohort.manifest["flow"]] == ["labels", "rows with ehr", "rows with clinical", "rows with genotype", "included"]
    assert {s["name"] for s in cohort.manifest["sources"]} >= {"evidence.genotype: geno.bed", "labels: labels/labels.csv"}


def test_people_without_evidence_stay_and_people_without_labels_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path)
    labels = pl.read_csv(tmp_path / "labels.csv", infer_schema=False)
    stranger = labels.head(1).with_columns(pl.lit("999").alias("id"))
    pl.concat([stranger, labels.head(30)]).write_csv(tmp_path / "labels.csv")
    with caplog.at_level(logging.INFO):
        cohort = build_cohort(world.source(), tmp_path / "cohorts")
    assert cohort.size == 31
    assert not cohort.present[0].any()
    assert cohort.present[1:].all()
    genotype = cohort.store("genotype")
    assert isinstance(genotype, GenotypeStore)
    assert genotype.packed.shape[0] == 30
    assert genotype.index.tolist() == [-1, *range(30)]
    ids = cohort.manifest["counts"]["evidence"]["genotype"]["ids"]
    assert (ids["matched"], ids["unmatched"], ids["without"]) == (30, 10, 1)
    assert {"step": "rows with nothing present", "n_rows": 1, "n_subjects": 1, "note": "kept"} in cohort.manifest["flow"]
    assert (
        "flow: rows with ehr: 30 rows, 30 subjects (30 of 40 subjects of the source matched, 10 unmatched, 1 of the rows' subjects not in the source)"
        in caplog.text
    )
    assert "999" not in caplog.text


def test_what_was_dropped_is_said_at_every_opening_and_not_at_the_building_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path)
    pl.DataFrame({"id": world.ids, "glucose": [5.0] * 40, "unit": ["mmol/L"] * 37 + ["stone"] * 3}).write_csv(tmp_path / "glucose.csv")
    table = Table(path=str(tmp_path / "glucose.csv"), id="id", units={"glucose": "mmol/L"}, unit_columns={"glucose": "unit"})
    said = []
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            cohort = build_cohort(world.source(evidence={"lab": table}), tmp_path / "cohorts")
        said.append([record.getMessage() for record in caplog.records])
    assert said[0] == said[1] == cohort.notes
    assert cohort.notes == ["evidence lab: 3 values are in units without a declared conversion and were dropped, of glucose"]


def test_subjects_that_a_source_lacks_or_repeats_are_in_the_flow(tmp_path: Path) -> None:
    world = World(tmp_path)
    lines = {"id": [*world.ids[:30], *world.ids[:4]], "when": ["2019-01-01"] * 30 + ["2019-06-01"] * 4, "x": range(34)}
    pl.DataFrame(lines).write_csv(tmp_path / "visits.csv")
    cohort = build_cohort(world.source(evidence={"visits": Table(path=str(tmp_path / "visits.csv"), id="id", time="when")}), tmp_path / "cohorts")
    note = next(line["note"] for line in cohort.manifest["flow"] if line["step"] == "rows with visits")
    assert note == "30 of 30 subjects of the source matched, 0 unmatched, 10 of the rows' subjects not in the source, 4 on more than one line"


def test_rows_outside_the_given_splits_are_left_out_of_everything(tmp_path: Path) -> None:
    world = World(tmp_path)
    pl.DataFrame({"id": world.ids[5:], "split": ["train"] * 20 + ["held_out"] * 15}).write_csv(tmp_path / "splits.csv")
    roles = GivenRoles(path=str(tmp_path / "splits.csv"), id="id", column="split", divide={"train": {"train": 0.8, "select": 0.2}, "held_out": "held_out"})
    cohort = build_cohort(world.source(roles=roles, folds=RandomFolds(folds=3)), tmp_path / "cohorts")
    assert cohort.rows["subject_id"].to_list() == world.ids[5:]
    assert cohort.rows["row_id"].to_list() == list(range(35))
    assert cohort.target("died").table["outcome"].to_list() == world.died[5:].tolist()
    assert Split.of(cohort).sizes() == {"train": 16, "select": 4, "calibrate": 0, "held_out": 15}
    clinical = cohort.store("clinical")
    assert isinstance(clinical, ColumnStore)
    np.testing.assert_array_equal(clinical.number[:, 0], world.age[5:])
    assert cohort.manifest["flow"][1] == {"step": "left out: in no split", "n_rows": 5, "n_subjects": 5}


def test_families_sites_and_scores_are_looked_up_and_no_inputs(tmp_path: Path) -> None:
    world = World(tmp_path)
    extra = {"family": [f"F{i // 4}" if i < 36 else None for i in range(40)], "site": ["north", "south"] * 20, "saps": list(range(40))}
    pl.read_csv(tmp_path / "clinical.csv", infer_schema=False).with_columns(**{k: pl.Series(v) for k, v in extra.items()}).write_csv(tmp_path / "clinical.csv")
    at = str(tmp_path / "clinical.csv")
    keys = {c: Lookup(path=at, id="id", column=c) for c in extra}
    cohort = build_cohort(world.source(clusters=keys["family"], site=keys["site"], scores={"saps": keys["saps"]}), tmp_path / "cohorts")
    clinical = cohort.store("clinical")
    assert isinstance(clinical, ColumnStore)
    assert [c.name for c in (*clinical.numbers, *clinical.categories)] == ["age", "smoker"]
    assert cohort.rows["cluster"].n_unique() == 9 + 4
    assert cohort.manifest["counts"]["clusters"] == {"rows_without": 4}
    assert cohort.rows["site"].to_list() == extra["site"]
    assert cohort.scores["saps"].tolist() == list(range(40))
    check_disjoint(cohort.rows["cluster"].to_numpy(), Split.of(cohort))


def test_one_flat_table_can_hold_inputs_and_outcome(tmp_path: Path) -> None:
    world = World(tmp_path)
    flat = pl.DataFrame({"age": world.age, "smoker": ["yes", "no"] * 20, "died": world.died})
    flat.write_csv(tmp_path / "flat.csv")
    at = str(tmp_path / "flat.csv")
    cohort = build_cohort(files({"clinical": Table(path=at, id=None)}, table_labels(Path(at), id=None)), tmp_path / "cohorts")
    clinical = cohort.store("clinical")
    assert isinstance(clinical, ColumnStore)
    assert [c.name for c in (*clinical.numbers, *clinical.categories)] == ["age", "smoker"]
    np.testing.assert_array_equal(clinical.number[:, 0], world.age)
    assert cohort.target("died").table["outcome"].to_list() == world.died.tolist()


def test_a_treatment_is_an_input_where_it_is_named_and_its_effect_not_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    flat = pl.DataFrame({"id": world.ids, "age": world.age, "arm": [0, 1] * 20, "died": world.died})
    flat.write_csv(tmp_path / "flat.csv")
    at = tmp_path / "flat.csv"
    prognosis = table_labels(at, targets={"died": {"kind": "binary", "column": "died", "treatment": "arm"}})
    for columns, names in ((None, ["age"]), (["age", "arm"], ["age", "arm"])):
        store = files({"clinical": Table(path=str(at), id="id", columns=columns)}, prognosis).draft().stores["clinical"]
        assert isinstance(store, ColumnStore)
        assert [c.name for c in store.numbers] == names
    effect = table_labels(at, targets={"died": {"kind": "treatment_effect", "column": "died", "treatment": "arm"}})
    with pytest.raises(UserError, match=r"Column 'arm' .* is an outcome"):
        files({"clinical": Table(path=str(at), id="id", columns=["age", "arm"])}, effect).draft()


def test_people_to_predict_for_have_rows_and_neither_outcomes_nor_roles(tmp_path: Path) -> None:
    world = World(tmp_path)
    trained = build_cohort(world.source(folds=RandomFolds(folds=4)), tmp_path / "cohorts")
    pl.read_csv(tmp_path / "labels.csv", infer_schema=False).drop("died").head(12).write_csv(tmp_path / "new.csv")
    for source in (
        world.source(labels=Unlabelled(path=str(tmp_path / "new.csv"), id="id", time="when")),
        world.source(labels=table_labels(tmp_path / "new.csv", time="when"), predict_only=True, folds=RandomFolds(folds=4)),
    ):
        cohort = build_cohort(source, tmp_path / "cohorts")
        assert cohort.hash != trained.hash
        assert cohort.size == 12
        assert cohort.rows["role"].null_count() == 12
        assert cohort.manifest["targets"] == {}
        assert cohort.folds is None
        assert cohort.present.all()


def test_a_missing_file_is_named_with_its_key_and_where_to_get_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "geno.bim").unlink()
    with pytest.raises(UserError, match=r"Config key cohort\.evidence\.genotype\.path names .*geno\.bim.*no such file.*ask the laboratory"):
        build_cohort(world.source(), tmp_path / "cohorts")
    with pytest.raises(UserError, match=r"cohort\.evidence\.ehr\.path names .*nowhere/data/\*\.parquet"):
        build_cohort(world.source(evidence={"ehr": Meds(path=str(tmp_path / "nowhere"))}), tmp_path / "cohorts")
    assert not (tmp_path / "cohorts").exists()


def test_a_path_that_was_not_given_is_named(tmp_path: Path) -> None:
    nowhere: Any = None
    with pytest.raises(UserError, match=r"cohort\.labels\.path is null.*new=FILE"):
        World(tmp_path).source(labels=Unlabelled(path=nowhere, id="id"))


def test_whatever_is_wrong_with_the_files_leaves_nothing_behind(tmp_path: Path) -> None:
    world = World(tmp_path)
    breaks = {
        "geno.bed": (lambda p: p.write_bytes(p.read_bytes()[:-4]), "truncated"),
        "clinical.csv": (lambda p: p.write_text(p.read_text() + "100,50,yes\n"), "more than one line"),
        "labels.csv": (lambda p: p.write_text(p.read_text().replace("2020-01-03T00:00:00", "2019-01-03T00:00:00")), "before any event"),
    }
    for name, (damage, message) in breaks.items():
        content = (tmp_path / name).read_bytes()
        damage(tmp_path / name)
        with pytest.raises(UserError, match=message):
            build_cohort(world.source(), tmp_path / "cohorts")
        (tmp_path / name).write_bytes(content)
        assert [p for p in (tmp_path / "cohorts").iterdir() if not p.name.endswith(".lock")] == []
    assert build_cohort(world.source(), tmp_path / "cohorts").size == 40


def test_an_empty_column_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path)
    table = pl.read_csv(tmp_path / "clinical.csv", infer_schema=False).with_columns(pl.lit("NaN").alias("crp"))
    table.write_csv(tmp_path / "clinical.csv")
    cohort = build_cohort(world.source(), tmp_path / "cohorts")
    assert "evidence clinical: 1 columns hold no value for any row and are left out: crp" in caplog.text
    assert cohort.manifest["counts"]["evidence"]["clinical"]["columns_without_values"] == ["crp"]


def test_identifiers_without_a_match_say_so_with_both_spellings(tmp_path: Path) -> None:
    world = World(tmp_path)
    labels = pl.read_csv(tmp_path / "labels.csv", infer_schema=False)
    labels.with_columns(("0" + pl.col("id")).alias("id")).write_csv(tmp_path / "labels.csv")
    with pytest.raises(
        UserError, match=r"None of the 40 subjects of MEDS folder .* is among the 40 subjects.*'100', '101', '102' against '0100', '0101', '0102'"
    ):
        build_cohort(world.source(), tmp_path / "cohorts")


def test_a_part_in_the_wrong_place_is_named(tmp_path: Path) -> None:
    plink = Plink(path="g")
    with pytest.raises(UserError, match=r"cohort\.roles is Plink.*a part of kind Roles"):
        files({"g": plink}, table_labels(tmp_path / "l.csv"), roles=plink)
    with pytest.raises(UserError, match=r"cohort\.evidence is empty"):
        files({}, table_labels(tmp_path / "l.csv"))
    with pytest.raises(UserError, match=r"id_type is 'uuid'"):
        files({"g": plink}, table_labels(tmp_path / "l.csv"), id_type="uuid")
    with pytest.raises(UserError, match=r"Name '\.\./g'"):
        files({"../g": plink}, table_labels(tmp_path / "l.csv"))


def test_the_same_cohort_is_said_in_yaml(tmp_path: Path) -> None:
    import yaml

    world = World(tmp_path)
    sentence = f"""
      _target_: equipoise.cohort.files.Files
      id_type: str
      evidence:
        ehr: {{_target_: equipoise.cohort.meds.Meds, path: {tmp_path}/meds}}
        clinical: {{_target_: equipoise.cohort.table.Table, path: {tmp_path}/clinical.csv, id: id}}
        genotype: {{_target_: equipoise.cohort.plink.Plink, path: {tmp_path}/geno}}
      labels:
        _target_: equipoise.cohort.labels.TableLabels
        path: {tmp_path}/labels.csv
        id: id
        time: when
        targets: {{died: {{kind: binary, column: died}}}}
      roles: {{_target_: equipoise.cohort.splits.RandomRoles, shares: {{train: 0.5, select: 0.1, calibrate: 0.1, held_out: 0.3}}}}
      folds: null
      clusters: null
      relatives: null
      kinship: null
      site: null
      scores: {{}}
      predict_only: false
      where: null
    """
    made = make(yaml.safe_load(sentence))
    assert made.fingerprint() == world.source().fingerprint()


def test_two_prediction_times_of_one_person_see_different_pasts_and_share_a_role(tmp_path: Path) -> None:
    write_meds(tmp_path / "m", [(i, float(h), "k", float(h)) for i in range(30) for h in range(10)])
    rows = [(i, (T0 + timedelta(hours=h)).isoformat(), (i + h) % 2) for i in range(30) for h in (2, 7)]
    pl.DataFrame(rows, schema=["id", "when", "died"], orient="row").write_csv(tmp_path / "l.csv")
    source = files({"ehr": Meds(path=str(tmp_path / "m"))}, table_labels(tmp_path / "l.csv", time="when"), id_type="int")
    cohort = build_cohort(source, tmp_path / "cohorts")
    ehr = cohort.store("ehr")
    assert isinstance(ehr, EventStore)
    assert (ehr.stop - ehr.start).tolist() == [3, 8] * 30
    assert len(ehr.code) == 30 * 8
    assert cohort.manifest["counts"]["evidence"]["ehr"]["events"]["after_last_prediction_time"] == 60
    role = cohort.rows["role"].to_list()
    assert role[::2] == role[1::2]

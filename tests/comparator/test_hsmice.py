"""Real mice: GBLUP and the screened linear model reach the accuracies measured before on the same whole-family folds (see the data's README)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise.cohort.draft import Column, ColumnStore, Draft, GenotypeStore, TargetTable
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.comparator.gblup import Gblup
from equipoise.comparator.linear import Linear
from equipoise.contract.question import Question
from equipoise.testing.cohorts import pack_calls

DATA = Path(os.environ.get("EQUIPOISE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "hsmice"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (DATA / "hsmice.bed").is_file(), reason="the hsmice data are not there (EQUIPOISE_DATA)")]

BLOOD = [
    "albumin", "alp", "alt", "ast", "calcium", "chloride", "creatinine", "glucose",
    "hdl", "ldl", "phosphorous", "sodium", "tot_cholesterol", "tot_protein", "triglycerides", "urea",
]  # fmt: skip
SUMMARY = {"min_rows": 1, "statistics": ["last"], "max_codes": None, "halves": False}


def read_bed(people: int) -> GenotypeStore:
    bim = pl.read_csv(
        DATA / "hsmice.bim",
        separator="\t",
        has_header=False,
        new_columns=["chromosome", "variant_id", "cm", "position", "counted_allele", "other_allele"],
        infer_schema=False,
    ).with_columns(pl.col("position").cast(pl.Int64))
    raw = np.fromfile(DATA / "hsmice.bed", np.uint8)[3:].reshape(bim.height, -1)
    code = np.stack([(raw >> shift) & 3 for shift in (0, 2, 4, 6)], axis=2).reshape(bim.height, -1)[:, :people]
    return GenotypeStore(pack_calls(code.T), np.arange(people), bim.drop("cm"))


def columns(table: pl.DataFrame, numbers: list[str], categories: list[str]) -> ColumnStore:
    levels = {c: tuple(sorted(table[c].drop_nulls().unique())) for c in categories}
    code = [np.array([levels[c].index(v) if v is not None else -1 for v in table[c]], np.int32) for c in categories]
    return ColumnStore(
        tuple(Column(c, "number") for c in numbers),
        tuple(Column(c, "category", levels=levels[c]) for c in categories),
        np.stack([table[c].cast(pl.Float64).fill_null(np.nan).to_numpy() for c in numbers], 1),
        np.stack(code, 1) if code else np.zeros((table.height, 0), np.int32),
    )


def target(kind: str, outcome: np.ndarray, classes: tuple[str, ...] = ()) -> TargetTable:
    n = len(outcome)
    table = {"outcome": outcome, "observed": ~np.isnan(outcome), "time_days": np.full(n, np.nan), "event": np.full(n, -1), "entry_days": np.zeros(n)}
    return TargetTable(kind, pl.DataFrame({**table, "treatment": np.full(n, -1), "weight": np.ones(n)}), classes)


@pytest.fixture(scope="module")
def mice(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    iid = pl.Series("iid", [line.split()[1] for line in (DATA / "hsmice.fam").read_text().splitlines()])
    table = pl.DataFrame({"iid": iid}).join(pl.read_parquet(DATA / "phenotypes.parquet"), on="iid", how="left", maintain_order="left")
    n = table.height
    folds = pl.read_parquet(DATA / "folds_family.parquet").join(pl.DataFrame({"iid": iid, "row_id": np.arange(n)}), on="iid")
    coats = tuple(sorted(table["coat_colour"].drop_nulls().unique()))
    coat = np.array([coats.index(c) if c is not None else np.nan for c in table["coat_colour"]])
    stores = {
        "clinical": columns(table, ["cage_density", "litter"], ["sex", "obesity_date_season"]),
        "biomarker": columns(table, [f"biochem_{b}" for b in BLOOD], []),
        "genotype": read_bed(n),
    }
    rows = pl.DataFrame(
        {
            "row_id": np.arange(n),
            "subject_id": iid,
            "prediction_time": pl.Series([None] * n, dtype=pl.Datetime("us")),
            "cluster": table["family"],
            "site": pl.Series([None] * n, dtype=pl.String),
            "role": pl.Series([None] * n, dtype=pl.String),
        }
    )
    weight = target("continuous", table["obesity_endnormalbw"].fill_null(np.nan).to_numpy())
    draft = Draft(rows, np.ones((n, 3), bool), stores, {"weight": weight, "coat": target("multiclass", coat, coats)}, folds=folds)
    return freeze(draft, tmp_path_factory.mktemp("mice") / "cohort", "mice", {})


def out_of_fold(mice: Cohort, make: object, question: Question, repeat: int) -> np.ndarray:
    assert mice.folds is not None
    here = mice.folds.filter(pl.col("repeat") == repeat)
    fold = np.full(mice.size, -1)
    fold[here["row_id"].to_numpy()] = here["fold"].to_numpy()
    risk = np.full((mice.size, len(question.labels)), np.nan)
    for f in range(5):
        comparator = make()  # type: ignore[operator]
        comparator.fit(mice, np.flatnonzero((fold >= 0) & (fold != f)), question)
        risk[fold == f] = comparator.predict(mice, np.flatnonzero(fold == f)).risk
    return risk


def gblup() -> Gblup:
    return Gblup(name="gblup", required=True, seed=0, max_fixed_share=0.05, max_rows=5000, **SUMMARY)


def correlation(mice: Cohort, evidences: tuple[str, ...], repeat: int) -> float:
    risk = out_of_fold(mice, gblup, Question("regression", "weight", "continuous", evidences), repeat)[:, 0]
    y = mice.target("weight").table["outcome"].to_numpy()
    known = ~np.isnan(y) & ~np.isnan(risk)
    return float(np.corrcoef(y[known], risk[known])[0, 1])


def test_gblup_of_body_weight_from_all_evidences_correlates_as_measured_before(mice: Cohort) -> None:
    r = correlation(mice, ("clinical", "biomarker", "genotype"), 0)
    assert r == pytest.approx(0.762, abs=0.005)


def test_gblup_of_body_weight_from_the_genome_alone_correlates_as_measured_before(mice: Cohort) -> None:
    assert correlation(mice, ("genotype",), 0) == pytest.approx(0.3137, abs=0.025)


def test_the_heritability_of_body_weight_given_the_covariates_is_as_measured_before(mice: Cohort) -> None:
    comparator = gblup()
    comparator.fit(mice, np.arange(mice.size), Question("regression", "weight", "continuous", ("clinical", "genotype")))
    (h2,) = comparator.notes()["heritability"]  # type: ignore[misc]
    assert h2 == pytest.approx(0.40, abs=0.04)


def test_screened_variants_tell_coat_colour(mice: Cohort) -> None:
    def make() -> Linear:
        penalties = [0.1, 0.03, 0.01, 0.003]
        return Linear(name="l", required=True, seed=0, evidences=None, penalties=penalties, variants=[300], n_components=0, folds=2, **SUMMARY)  # type: ignore[arg-type]

    risk = out_of_fold(mice, make, Question("multiclass", "coat", "multiclass", ("genotype",), classes=mice.target("coat").classes), 0)
    y = mice.target("coat").table["outcome"].to_numpy()
    known = ~np.isnan(y) & ~np.isnan(risk).any(axis=1)
    assert float((risk[known].argmax(axis=1) == y[known]).mean()) > 0.86

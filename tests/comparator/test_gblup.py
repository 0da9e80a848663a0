"""Genomic BLUP on cohorts with a known polygenic truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise.cohort.draft import Column, ColumnStore, Draft, GenotypeStore, TargetTable
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.comparator.gblup import Gblup
from equipoise.contract.question import Question
from equipoise.contract.tables import REFUSED
from equipoise.testing.cohorts import pack_calls

N, FAMILIES, VARIANTS = 700, 70, 300


def make_gblup(**settings: object) -> Gblup:
    return Gblup(
        **{  # type: ignore[arg-type]
            **{"name": "gblup", "required": True, "seed": 0, "max_fixed_share": 0.05, "max_rows": 5000},
            **{"min_rows": 1, "statistics": ["last"], "max_codes": None, "halves": False, **settings},
        }
    )


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    """Families of ten sibs; polygenic value of variance 1, environment of variance 1, and a covariate's effect."""
    rng = np.random.default_rng(11)
    family = np.repeat(np.arange(FAMILIES), N // FAMILIES)
    frequency = rng.uniform(0.1, 0.9, VARIANTS)
    parents = rng.random((FAMILIES, 4, VARIANTS)) < frequency
    pick = rng.integers(0, 2, (N, 2, VARIANTS))
    place = np.arange(VARIANTS)
    copies = sum(parents[family[:, None], 2 * side + pick[:, side], place] for side in (0, 1)).astype(np.int64)
    polygenic = (copies - 2 * frequency) @ rng.standard_normal(VARIANTS)
    polygenic = (polygenic - polygenic.mean()) / polygenic.std()
    covariate = rng.standard_normal(N)
    return {"family": family, "copies": copies, "polygenic": polygenic, "covariate": covariate, "noise": rng.standard_normal(N)}


@pytest.fixture(scope="module")
def cohort(truth: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    rng = np.random.default_rng(12)
    value = 10 + truth["polygenic"] + 1.5 * truth["covariate"] + truth["noise"]
    liability = truth["polygenic"] + 0.3 * truth["noise"]
    empty = {"time_days": np.full(N, np.nan), "event": np.full(N, -1), "entry_days": np.zeros(N), "treatment": np.full(N, -1), "weight": np.ones(N)}

    def target(kind: str, outcome: np.ndarray, classes: tuple[str, ...] = ()) -> TargetTable:
        return TargetTable(kind, pl.DataFrame({"outcome": outcome, "observed": np.ones(N, bool), **empty}), classes)

    present = np.ones((N, 3), bool)
    present[rng.random(N) < 0.2, 0] = False
    index = np.where(present[:, 0], np.arange(N), -1)
    code = np.array([3, 2, 0])[truth["copies"]].astype(np.uint8)
    names = pl.DataFrame({"variant_id": [f"rs{v}" for v in range(VARIANTS)], "position": np.arange(VARIANTS)}).with_columns(
        chromosome=pl.lit("1"), counted_allele=pl.lit("A"), other_allele=pl.lit("G")
    )
    noise = rng.standard_normal((N, 60))
    stores = {
        "genotype": GenotypeStore(pack_calls(code), index, names),
        "clinical": ColumnStore((Column("x", "number"),), (), truth["covariate"][:, None], np.zeros((N, 0), np.int32)),
        "wide": ColumnStore(tuple(Column(f"n{i}", "number") for i in range(60)), (), noise, np.zeros((N, 0), np.int32)),
    }
    ids = [str(i) for i in range(N)]
    rows = pl.DataFrame({"row_id": np.arange(N), "subject_id": ids, "cluster": truth["family"].astype(str)}).with_columns(
        prediction_time=pl.lit(None, pl.Datetime("us")), site=pl.lit(None, pl.String), role=pl.lit("train")
    )
    targets = {
        "value": target("continuous", value),
        "high": target("binary", (liability > 0.8).astype(float)),
        "third": target("multiclass", np.digitize(liability, (-0.5, 0.5)).astype(float), ("low", "middle", "high")),
    }
    return freeze(Draft(rows, present, stores, targets), Path(tmp_path_factory.mktemp("gblup")) / "cohort", "gblup", {})


def split() -> tuple[np.ndarray, np.ndarray]:
    """Sibs of the same families on both sides, so that there is something to predict from."""
    return np.flatnonzero(np.arange(N) % 10 < 7), np.flatnonzero(np.arange(N) % 10 >= 7)


def question(kind: str, target: str, *evidences: str, classes: tuple[str, ...] = ()) -> Question:
    return Question("t", target, kind, evidences, classes=classes)  # type: ignore[arg-type]


def test_it_finds_the_heritability_given_the_covariates(cohort: Cohort) -> None:
    comparator = make_gblup()
    comparator.fit(cohort, np.arange(N), question("continuous", "value", "genotype", "clinical"))
    (share,) = comparator.notes()["heritability"]  # type: ignore[misc]
    assert share == pytest.approx(0.5, abs=0.12)


def test_it_predicts_the_polygenic_value_of_new_sibs(cohort: Cohort, truth: dict[str, np.ndarray]) -> None:
    train, test = split()
    comparator = make_gblup()
    comparator.fit(cohort, train, question("continuous", "value", "genotype", "clinical"))
    left = comparator.predict(cohort, test).risk[:, 0] - 1.5 * truth["covariate"][test]
    typed = np.asarray(cohort.present_in("genotype"))[test]
    assert np.corrcoef(left[typed], truth["polygenic"][test][typed])[0, 1] > 0.5


def test_its_predictive_variance_covers_and_is_larger_where_the_genome_is_unknown(cohort: Cohort) -> None:
    train, test = split()
    comparator = make_gblup()
    comparator.fit(cohort, train, question("continuous", "value", "genotype", "clinical"))
    forecast = comparator.predict(cohort, test)
    assert forecast.total is not None
    z = (cohort.target("value").table["outcome"].to_numpy()[test] - forecast.risk[:, 0]) / np.sqrt(forecast.total[:, 0])
    assert (np.abs(z) < 1.96).mean() == pytest.approx(0.95, abs=0.04)
    typed = np.asarray(cohort.present_in("genotype"))[test]
    assert forecast.total[~typed].min() > forecast.total[typed].max()
    hidden = comparator.predict(cohort, test, frozenset({"genotype"}))
    assert hidden.total is not None
    assert (hidden.total[typed] > forecast.total[typed]).all()


def test_rows_without_genotypes_still_teach_the_covariates(cohort: Cohort) -> None:
    """The covariate's effect is nearer the truth with them: here they are nine in ten of the train rows."""
    typed = np.flatnonzero(np.asarray(cohort.present_in("genotype")))[:60]
    bare = np.flatnonzero(~np.asarray(cohort.present_in("genotype")))
    comparator = make_gblup()
    comparator.fit(cohort, np.sort(np.concatenate([typed, bare])), question("continuous", "value", "genotype", "clinical"))
    assert comparator.notes()["n_genotyped"] == 60
    forecast = comparator.predict(cohort, bare, frozenset({"genotype"})).risk[:, 0]
    slope = np.polyfit(cohort.store("clinical").number[bare, 0], forecast, 1)[0]
    assert slope == pytest.approx(1.5, abs=0.25)


def test_many_covariates_become_random_effects_and_noise_among_them_does_little_harm(cohort: Cohort) -> None:
    train, test = split()
    y = cohort.target("value").table["outcome"].to_numpy()[test]
    error = {}
    for share in (0.05, 0.9):
        comparator = make_gblup(max_fixed_share=share)
        comparator.fit(cohort, train, question("continuous", "value", "genotype", "clinical", "wide"))
        error[comparator.notes()["covariates"]] = ((comparator.predict(cohort, test).risk[:, 0] - y) ** 2).mean()
    assert set(error) == {"fixed", "random"}
    assert error["random"] < 1.05 * error["fixed"]


@pytest.mark.parametrize(("kind", "target", "classes"), [("binary", "high", ()), ("multiclass", "third", ("low", "middle", "high"))])
def test_classes_are_told_from_the_genome_as_probabilities(cohort: Cohort, kind: str, target: str, classes: tuple[str, ...]) -> None:
    train, test = split()
    test = test[np.asarray(cohort.present_in("genotype"))[test]]
    comparator = make_gblup()
    comparator.fit(cohort, train, question(kind, target, "genotype", classes=classes))
    risk = comparator.predict(cohort, test).risk
    assert ((risk > 0) & (risk < 1)).all()
    y = cohort.target(target).table["outcome"].to_numpy()[test]
    top = risk[:, -1]
    highest = y == y.max()
    assert top[highest].mean() > top[~highest].mean() + 0.1


def test_it_says_why_it_does_not_apply(cohort: Cohort) -> None:
    assert "no genotypes" in str(make_gblup().applies(cohort, question("continuous", "value", "clinical")))
    assert "time_to_event" in str(make_gblup().applies(cohort, question("time_to_event", "value", "genotype")))
    assert str(make_gblup(max_rows=100).applies(cohort, question("continuous", "value", "genotype"))).startswith(f"{REFUSED}700 train rows")
    assert make_gblup().applies(cohort, question("continuous", "value", "genotype")) is None

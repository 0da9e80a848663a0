from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from equipoise.cohort.features import Features
from equipoise.cohort.frozen import Cohort
from equipoise.testing.cohorts import EVIDENCES, tiny_cohort


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(Path(tmp_path_factory.mktemp("features")) / "cohort", n=120, seed=1)


@pytest.fixture(scope="module")
def features(cohort: Cohort) -> Features:
    made = Features(min_rows=5, statistics=["last", "count"], max_codes=None, halves=False, n_components=3)
    made.fit(cohort, cohort.rows_in("train"), EVIDENCES)
    return made


def column(features: Features, cohort: Cohort, name: str, hidden: frozenset[str] = frozenset()) -> np.ndarray:
    return features.apply(cohort, np.arange(cohort.size), hidden)[:, features.names.index(name)]


def test_each_evidence_brings_its_columns_and_a_presence_flag(features: Features) -> None:
    assert [n for n in features.names if n.startswith("present_")] == [f"present_{e}" for e in EVIDENCES]
    assert "ehr/lab//creatinine|last" in features.names
    assert [n for n in features.names if n.startswith("clinical/")] == [
        "clinical/age", "clinical/bmi", "clinical/sex=female", "clinical/sex=male", "clinical/region=a", "clinical/region=b", "clinical/region=c",
    ]  # fmt: skip
    assert sum(n.startswith("genotype/component_") for n in features.names) == 3


def test_numbers_are_the_stores_and_categories_are_one_hot_with_missing_ones_nan(features: Features, cohort: Cohort) -> None:
    store = cohort.store("clinical")
    np.testing.assert_array_equal(column(features, cohort, "clinical/bmi"), store.number[:, 1])
    region = np.stack([column(features, cohort, f"clinical/region={level}") for level in "abc"], 1)
    missing = np.asarray(store.category[:, 1]) < 0
    assert np.isnan(region[missing]).all()
    np.testing.assert_array_equal(region[~missing].argmax(1), store.category[~missing, 1])
    np.testing.assert_array_equal(region[~missing].sum(1), 1)


def test_a_row_without_an_evidence_has_nan_and_no_presence(features: Features, cohort: Cohort) -> None:
    x = features.apply(cohort, np.array([0]))[0]  # row 0 has nothing present
    flags = np.array([n.startswith("present_") for n in features.names])
    assert (x[flags] == 0).all()
    assert np.isnan(x[~flags]).all()


def test_a_present_row_without_events_has_counts_of_zero(features: Features, cohort: Cohort) -> None:
    assert column(features, cohort, "present_ehr")[1] == 1
    assert column(features, cohort, "ehr/lab//creatinine|count")[1] == 0
    assert np.isnan(column(features, cohort, "ehr/lab//creatinine|last")[1])


def test_hiding_an_evidence_makes_its_rows_absent_and_leaves_the_others(features: Features, cohort: Cohort) -> None:
    seen, unseen = (features.apply(cohort, np.arange(cohort.size), h) for h in (frozenset(), frozenset({"clinical"})))
    mine = np.array([n.startswith("clinical/") or n == "present_clinical" for n in features.names])
    np.testing.assert_array_equal(seen[:, ~mine], unseen[:, ~mine])
    assert (column(features, cohort, "present_clinical", frozenset({"clinical"})) == 0).all()


def test_components_of_few_genotyped_people_do_not_exceed_their_number(cohort: Cohort) -> None:
    made = Features(min_rows=1, statistics=["last"], max_codes=None, halves=False, n_components=10)
    some = np.flatnonzero(np.asarray(cohort.present_in("genotype")))[:4]
    made.fit(cohort, some, ("genotype",))
    assert sum("component" in n for n in made.names) == 3
    assert np.isfinite(made.apply(cohort, some)).all()

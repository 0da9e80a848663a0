from pathlib import Path

import numpy as np
import pytest

from equipoise.cohort.draft import Column, ColumnStore
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.contract.errors import UserError
from equipoise.modality.biomarker import Biomarker
from equipoise.modality.clinical import Clinical
from equipoise.modality.lifestyle import Lifestyle
from equipoise.testing.cohorts import tiny_draft

PLAIN = {"columns": None, "transform": "standardise", "winsorise": None, "log_skewness": None, "n_bins": 4, "conversions": {}}


@pytest.fixture
def draft():
    return tiny_draft(n=60, seed=5)


def _frozen(draft, folder: Path) -> Cohort:
    return freeze(draft, folder, folder.name, {})


def _fitted(view, cohort: Cohort):
    view.fit(cohort, cohort.rows_in("train"))
    return view


def test_columns_are_matched_by_name_in_another_order(draft, tmp_path: Path) -> None:
    view = _fitted(Biomarker(evidence="biomarker", **PLAIN), _frozen(draft, tmp_path / "a"))
    rows = np.arange(60)
    before = view.open(_frozen(draft, tmp_path / "b"))(rows)
    store = draft.stores["biomarker"]
    draft.stores["biomarker"] = ColumnStore(store.numbers[::-1], (), store.number[:, ::-1].copy(), store.category)
    reader = view.open(_frozen(draft, tmp_path / "c"))
    assert (reader(rows).value == before.value).all()
    assert (reader(rows).observed == before.observed).all()
    assert not reader.notes["missing_columns"]


def test_a_missing_column_counts_as_unobserved_and_is_noted(draft, tmp_path: Path) -> None:
    view = _fitted(Biomarker(evidence="biomarker", **PLAIN), _frozen(draft, tmp_path / "a"))
    store = draft.stores["biomarker"]
    draft.stores["biomarker"] = ColumnStore(store.numbers[1:], (), store.number[:, 1:].copy(), store.category)
    reader = view.open(_frozen(draft, tmp_path / "b"))
    assert reader.notes["missing_columns"] == ["crp"]
    part = reader(np.arange(60))
    assert not part.observed[:, 0].any()
    assert part.observed[:, 1:].any()


def test_an_unexpected_unit_counts_as_unobserved_unless_a_conversion_is_declared(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    plain = _fitted(Biomarker(evidence="biomarker", **PLAIN), cohort)
    converting = _fitted(Biomarker(evidence="biomarker", **{**PLAIN, "conversions": {"glucose": {"mg/dL": 1 / 18.016}}}), cohort)
    rows = np.arange(60)
    expected = plain.open(cohort)(rows)
    store = draft.stores["biomarker"]
    number = store.number.copy()
    number[:, 2] *= 18.016
    draft.stores["biomarker"] = ColumnStore((*store.numbers[:2], Column("glucose", "number", "mg/dL")), (), number, store.category)
    new = _frozen(draft, tmp_path / "b")
    reader = plain.open(new)
    assert reader.notes["unexpected_units"] == ["glucose [mg/dL]"]
    assert not reader(rows).observed[:, 2].any()
    assert (reader(rows).value[:, :2] == expected.value[:, :2]).all()
    converted = converting.open(new)
    assert converted.notes["unexpected_units"] == []
    np.testing.assert_allclose(converted(rows).value.numpy(), expected.value.numpy(), rtol=1e-5, atol=1e-6)


def test_a_unit_that_is_not_stated_is_used_and_noted(draft, tmp_path: Path) -> None:
    view = _fitted(Biomarker(evidence="biomarker", **PLAIN), _frozen(draft, tmp_path / "a"))
    store = draft.stores["biomarker"]
    draft.stores["biomarker"] = ColumnStore((Column("crp", "number"), *store.numbers[1:]), (), store.number, store.category)
    reader = view.open(_frozen(draft, tmp_path / "b"))
    assert reader.notes["unstated_units"] == ["crp"]
    assert reader(np.arange(60)).observed[:, 0].any()


def test_levels_are_matched_by_name_and_unknown_ones_are_counted(draft, tmp_path: Path) -> None:
    view = _fitted(Lifestyle(evidence="lifestyle", **PLAIN), _frozen(draft, tmp_path / "a"))
    rows = np.arange(60)
    before = view.open(_frozen(draft, tmp_path / "b"))(rows).category
    assert view.spec.cardinalities == (4,)
    store = draft.stores["lifestyle"]
    renamed = Column("smoking", "category", levels=("current", "vapes", "never", "former"))
    category = np.array([2, 3, 0, -1], np.int32)[store.category]
    category[draft.present[:, 3] & (store.category[:, 0] == 0)] = 1
    draft.stores["lifestyle"] = ColumnStore(store.numbers, (renamed,), store.number, category)
    reader = view.open(_frozen(draft, tmp_path / "c"))
    expected = before.clone()
    expected[before == 1] = 0
    assert (reader(rows).category == expected).all()
    assert reader.notes["unknown_levels"] == int((before == 1).sum()) > 0


def test_a_level_that_no_train_row_has_is_unknown(draft, tmp_path: Path) -> None:
    train = (draft.rows["role"] == "train").to_numpy()
    store = draft.stores["clinical"]
    store.category[train & (store.category[:, 1] == 2), 1] = 0
    cohort = _frozen(draft, tmp_path / "a")
    view = _fitted(Clinical(evidence="clinical", **PLAIN), cohort)
    assert view.spec.cardinalities == (3, 3)
    assert view.open(cohort).notes["unknown_levels"] == int((store.category[:, 1] == 2).sum()) > 0


def test_only_the_named_columns_are_used(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    view = _fitted(Clinical(evidence="clinical", **{**PLAIN, "columns": ["bmi", "sex"]}), cohort)
    assert (view.spec.n_values, view.spec.cardinalities) == (1, (3,))
    with pytest.raises(UserError, match="no column 'weigth'"):
        _fitted(Clinical(evidence="clinical", **{**PLAIN, "columns": ["weigth"]}), cohort)


def test_the_edges_are_quantiles_of_the_scaled_train_values(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    view = _fitted(Biomarker(evidence="biomarker", **PLAIN), cohort)
    part = view.open(cohort)(cohort.rows_in("train"))
    for f in range(3):
        np.testing.assert_allclose(view.spec.edges[f], np.quantile(part.value[:, f][part.observed[:, f]], np.linspace(0, 1, 5)), atol=1e-5)


def test_an_evidence_of_another_kind_is_refused_by_name(draft, tmp_path: Path) -> None:
    cohort = _frozen(draft, tmp_path / "a")
    with pytest.raises(UserError, match="Evidence 'ehr' holds events"):
        _fitted(Biomarker(evidence="ehr", **PLAIN), cohort)
    with pytest.raises(UserError, match="no evidence 'proteome'"):
        _fitted(Biomarker(evidence="proteome", **PLAIN), cohort)

"""The view of molecular measurements and the file that says which of them belong together."""

from pathlib import Path

import numpy as np
import pytest

from equipoise.contract.errors import UserError
from equipoise.modality.feature_groups import feature_groups
from equipoise.modality.omics import Omics
from equipoise.testing.cohorts import tiny_cohort

COLUMNS = ["tp53", "brca1", "egfr", "myc"]
PLAIN = {"columns": None, "transform": "standardise", "winsorise": 0.01, "log_skewness": 2.0, "n_bins": 4, "conversions": {}, "min_found": 0.5}


def _file(folder: Path, text: str) -> Path:
    path = folder / "groups.csv"
    path.write_text(text)
    return path


def test_groups_are_numbers_of_columns_in_order(tmp_path: Path) -> None:
    lines = "group,feature\nrepair,brca1\ngrowth,myc\nrepair,tp53\ngrowth,egfr\ngrowth,tp53\nrepair,tp53\ngrowth,\nabsent,xist\n,myc\n"
    found = feature_groups(_file(tmp_path, lines), COLUMNS, 0.5)
    assert {name: at.tolist() for name, at in found.items()} == {"growth": [0, 2, 3], "repair": [0, 1]}
    assert list(found) == ["growth", "repair"]
    assert all(at.dtype == np.int64 for at in found.values())


def test_a_file_about_other_features_is_refused_with_the_counts(tmp_path: Path) -> None:
    path = _file(tmp_path, "feature,group\ntp53,a\nENSG1,a\nENSG2,b\n")
    with pytest.raises(UserError, match="1 of the file's 3 features are among the view's 4 numbers"):
        feature_groups(path, COLUMNS, 0.5)
    assert list(feature_groups(path, COLUMNS, 0.3)) == ["a"]
    with pytest.raises(UserError, match="0 of the file's 3"):
        feature_groups(path, COLUMNS[1:], 0.0)


def test_a_missing_file_or_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        feature_groups(tmp_path / "none.csv", COLUMNS, 0.5)
    with pytest.raises(UserError, match="no column 'group'"):
        feature_groups(_file(tmp_path, "feature,pathway\ntp53,a\n"), COLUMNS, 0.5)


def test_the_fitted_view_keeps_its_groups_without_the_file(tmp_path: Path) -> None:
    cohort = tiny_cohort(tmp_path / "cohort")
    path = _file(tmp_path, "feature,group\ncrp,inflammation\nglucose,metabolism\ncrp,metabolism\n")
    view = Omics(evidence="biomarker", groups=str(path), **PLAIN)
    view.fit(cohort, cohort.rows_in("train"))
    state = view.state()
    path.unlink()
    other = Omics(evidence="biomarker", groups=str(path), **PLAIN)
    other.load_state(state)
    assert {name: at.tolist() for name, at in other.spec.groups.items()} == {"inflammation": [0], "metabolism": [0, 2]}
    plain = Omics(evidence="biomarker", groups=None, **PLAIN)
    plain.fit(cohort, cohort.rows_in("train"))
    assert plain.spec.groups == {}


def test_a_state_without_groups_still_loads(tmp_path: Path) -> None:
    cohort = tiny_cohort(tmp_path / "cohort")
    view = Omics(evidence="biomarker", groups=None, **PLAIN)
    view.fit(cohort, cohort.rows_in("train"))
    state = view.state()
    del state["spec"]["groups"]
    view.load_state(state)
    assert view.spec.groups == {}

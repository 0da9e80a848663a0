"""Real patients: the tabular comparators are as strong on the tuning rows of set A as summary features allow. Set B is not looked at."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from equipoise.cohort.build import build_cohort
from equipoise.cohort.frozen import Cohort
from equipoise.config.compose import compose_values, search_path
from equipoise.contract.make import make
from equipoise.contract.question import Question
from equipoise.testing.discovery import options

DATA = Path(os.environ.get("EQUIPOISE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (DATA / "physionet2012").is_dir(), reason="the physionet2012 data are not there (EQUIPOISE_DATA)"),
]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    with search_path(None) as search:
        values = compose_values(["cohort=physionet2012", f"paths.data={DATA}"], search).values
    return build_cohort(make(values["cohort"]), Path(tmp_path_factory.mktemp("cohorts")))


@pytest.mark.parametrize(
    ("option", "settings", "auroc", "auprc"),
    [("linear", {}, 0.855, 0.50), ("boosting", {}, 0.855, 0.52), ("published", {"score": "saps_i"}, 0.60, 0.20)],
)
def test_comparators_reach_their_strength_on_tuning_rows(cohort: Cohort, option: str, settings: dict[str, str], auroc: float, auprc: float) -> None:
    question = Question("risk", "in_hospital_death", "binary", ("ehr",))
    comparator = make({**options("comparator")[option], **settings})
    assert comparator.applies(cohort, question) is None
    comparator.fit(cohort, cohort.rows_in("train"), question)
    tuning = np.concatenate([cohort.rows_in("select"), cohort.rows_in("calibrate")])
    risk = comparator.predict(cohort, tuning).risk[:, 0]
    y = cohort.target("in_hospital_death").table["outcome"].to_numpy()[tuning]
    known = ~np.isnan(risk)
    assert known.mean() > 0.9
    assert roc_auc_score(y[known], risk[known]) > auroc
    assert average_precision_score(y[known], risk[known]) > auprc

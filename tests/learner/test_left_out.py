"""Without select rows the spread of a continuous outcome is sized by train rows that inner trainings left out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.learner.estimate import LEFT_OUT
from equipoise.learner.train import train_member
from equipoise.model import Model
from equipoise.predict import Ensemble
from equipoise.testing.cohorts import tiny_cohort
from small_config import small_config

NOBODY = np.empty(0, np.int64)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("left_out") / "c", n=400, n_variants=400)


@pytest.fixture(scope="module")
def split(cohort: Cohort) -> Split:
    whole = Split.of(cohort)
    return Split(whole.train, NOBODY, NOBODY, np.sort(np.concatenate([whole.select, whole.calibrate, whole.held_out])))


def config(**values: Any) -> dict[str, Any]:
    """More variants than people, and a prior that lets them fit every outcome."""
    given = {"modality__genotype__encoder__lr_scale": 3.0, "optimizer__lr": 0.02, "learner__max_epochs": 40, **values}
    return small_config(views=("genotype",), tasks=("regression",), head="point", **given)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said before each training, once, whatever handlers earlier tests of the process have left."""
    return [r.getMessage() for r in {id(r): r for r in caplog.records}.values() if "steps an epoch" in r.getMessage()]


def variance_over_error(path: Path, cohort: Cohort, rows: np.ndarray) -> float:
    """Mean stated variance of new rows over their mean squared error."""
    table = Ensemble.of([path]).predict(cohort, rows, draws=2).table.drop_nulls(["risk", "outcome"])
    return float(table["total"].mean() / (table["outcome"] - table["risk"]).pow(2).mean())  # type: ignore[operator, arg-type]


def test_the_stated_variance_is_that_of_new_rows_errors_and_not_of_train_rows(cohort: Cohort, split: Split, tmp_path: Path) -> None:
    ratio = {
        folds: variance_over_error(
            train_member(config(learner__spread_folds=folds), cohort, split, seed=0, folder=tmp_path / str(folds), loggers=[]), cohort, split.held_out
        )
        for folds in (0, 3)
    }
    assert ratio[0] < 0.4, "train rows are fitted closely, or this test shows nothing"
    assert 0.7 < ratio[3] < 1.4


def test_the_weights_are_those_of_all_train_rows(cohort: Cohort, split: Split, tmp_path: Path) -> None:
    states = [
        Model.load(
            train_member(config(learner__spread_folds=k, learner__max_epochs=2), cohort, split, seed=0, folder=tmp_path / str(k), loggers=[])
        ).network.state_dict()
        for k in (0, 2)
    ]
    assert all((states[0][name] == states[1][name]).all() for name in states[0])


def test_trainings_are_those_that_were_counted_and_finished_ones_are_not_done_again(
    cohort: Cohort, split: Split, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words: dict[str, Any] = {"cohort": cohort, "split": split, "seed": 0, "folder": tmp_path / "fold_0_0" / "member_0", "loggers": []}
    short = config(learner__max_epochs=2) | {"validation": {"rotate_select": False, "select_share": 0.0, "repeats": [0]}}
    with caplog.at_level(logging.INFO, logger="equipoise"):
        logging.getLogger("equipoise").propagate = True
        path = train_member(short, **words)
        said = told(caplog)
        caplog.clear()
        first = Model.load(path).hash()
        path.unlink()
        assert Model.load(train_member(short, **words)).hash() == first
        again = told(caplog)
    assert len(said) == len(list(tmp_path.rglob("model.pt"))) == 4
    assert all("16 trainings: 4 folds x (1 member x (1 + 3 left-out folds))" in line for line in said)
    assert len(again) == 1


@pytest.mark.parametrize("case", ["select rows", "no spread"])
def test_nothing_is_left_out_where_nothing_needs_it(cohort: Cohort, split: Split, tmp_path: Path, case: str) -> None:
    own = Split.of(cohort) if case == "select rows" else split
    one = small_config(views=("genotype",), tasks=("regression",) if case == "select rows" else ("risk",), head="point", learner__max_epochs=1)
    train_member(one, cohort, own, seed=0, folder=tmp_path / "m", loggers=[])
    assert not (tmp_path / "m" / LEFT_OUT).exists()

"""Pretraining reads the records of train and select people and nothing else, and is resumed to equal bits."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.cohort.draft import STATIC_TIME, Draft, EventStore
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Rewound
from equipoise.learner.estimate import Trainings
from equipoise.learner.loggers import Logger
from equipoise.learner.module import Learner
from equipoise.learner.pretrain import last_rows, pretrain
from equipoise.pretrained import People, Pretrained
from equipoise.testing.cohorts import tiny_cohort, tiny_draft
from learner.pretraining_world import topics_cohort
from small_config import small_config

pytestmark = pytest.mark.usefixtures("one_thread")
EPOCHS = 4
ALONE = Trainings(folds=1, grid=0, inner_folds=0, members=1)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("pretrain") / "cohort", n=160)


def config(**values: Any) -> dict[str, Any]:
    """Dropout inside the encoder is on; a checkpoint after every batch."""
    made = small_config(views=("ehr", "clinical"), **{"learner__max_epochs": EPOCHS, "learner__patience": None, "learner__batch_size": 16, **values})
    made["learner"]["checkpoint_minutes"] = 0.0
    return made


def pretrained(cohort: Cohort, folder: Path, made: dict[str, Any] | None = None, loggers: tuple[Logger, ...] = (), split: Split | None = None) -> Pretrained:
    return Pretrained.load(pretrain(made or config(), cohort, split or Split.of(cohort), seed=0, folder=folder, trainings=ALONE, loggers=loggers))


@pytest.fixture(scope="module")
def left_alone(one_thread: None, cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    pretrained(cohort, folder)
    return folder


def same_weights(a: Pretrained, b: Pretrained) -> bool:
    return a.weights.keys() == b.weights.keys() and all(torch.equal(v, b.weights[k]) for k, v in a.weights.items())


class Ear(Logger):
    """Notes what it is told, and raises at an epoch where asked to."""

    def __init__(self, raises: int | None = None) -> None:
        self.raises, self.heard = raises, []

    def open(self, config: Any, folder: Path) -> None:
        pass

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.heard.append((step, dict(metrics)))
        if step == self.raises:
            raise RuntimeError("sabotage")

    def close(self, exit_code: int) -> None:
        pass


def test_it_learns_and_leaves_one_file_and_its_course(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    ear, topics = Ear(), topics_cohort(tmp_path_factory.mktemp("topics") / "cohort", {"train": 600, "select": 150}, seed=0, shared=True)
    made = config(learner__max_epochs=8, optimizer__lr=0.02, learner__batch_size=64, d_model=16)
    found = pretrained(topics, tmp_path / "run", made, (ear,))
    left = sorted(str(p.relative_to(tmp_path / "run")) for p in tmp_path.rglob("*.*"))
    assert left == ["pretrained.pt", "pretraining/history.json", "pretraining/metrics.csv"]
    history = json.loads((tmp_path / "run" / "pretraining" / "history.json").read_text())
    assert min(history["select_loss"]) < history["base_select_loss"] - 0.03, "codes tell of others of their topic"
    assert found.facts["select_nll"] == min(history["select_loss"])
    assert found.facts["base_select_nll"] == history["base_select_loss"]
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert [step for step, _ in ear.heard] == list(range(8))
    assert {"train/nll", "train/loss", "train/kl", "select/nll"} == set(ear.heard[0][1])
    assert found.facts["pretext"] == "NextEvent"


def test_each_subject_teaches_by_the_last_of_its_rows_that_have_a_past(cohort: Cohort, left_alone: Path) -> None:
    found = Pretrained.load(left_alone / "pretrained.pt")
    store = cohort.store("ehr")
    assert isinstance(store, EventStore)
    times = [store.time_us[store.start[r] : store.stop[r]] for r in range(cohort.size)]
    past = [bool(cohort.present_in("ehr")[r]) and bool(((t != STATIC_TIME) & (t < store.time_of_row_us[r])).any()) for r, t in enumerate(times)]
    rows = cohort.rows.with_columns(past=pl.Series(past)).filter("past")
    for role, people, key in (("train", found.taught, "n_people"), ("select", found.chose, "n_select_people")):
        own = rows.filter(pl.col("role") == role)
        assert found.facts[key] == own["subject_id"].n_unique() == people.subjects.numel()
        assert torch.equal(people.subjects, People.of(own, found.salt).subjects)
    assert cohort.rows_in("train").size > found.facts["n_people"]
    repeated = cohort.rows.group_by("subject_id").agg(pl.col("row_id").sort_by("prediction_time").last(), n=pl.len()).filter(pl.col("n") > 1)
    assert set(repeated["row_id"]) <= set(last_rows(cohort, np.arange(cohort.size)).tolist())
    assert last_rows(cohort, np.arange(cohort.size)).size == cohort.rows["subject_id"].n_unique()
    assert last_rows(cohort, np.empty(0, np.int64)).size == 0


def _other_outcomes(draft: Draft) -> None:
    for target in draft.targets.values():
        target.table = target.table[::-1]


def _no_outcomes(draft: Draft) -> None:
    draft.targets.clear()


def _other_people(draft: Draft) -> None:
    """Other events in every row that neither teaches nor selects, and after every prediction time."""
    store, role = draft.stores["ehr"], draft.rows["role"].to_numpy()
    assert isinstance(store, EventStore)
    used = np.zeros(store.code.size, bool)
    for row in np.flatnonzero(np.isin(role, ("train", "select"))):
        used[store.start[row] : store.stop[row]] = True
    free = np.flatnonzero(~used & (store.time_us != STATIC_TIME))
    assert free.size > 100
    store.code[free], store.value[free] = 3, 7.0


@pytest.mark.parametrize("change", [_other_outcomes, _no_outcomes, _other_people])
def test_outcomes_other_roles_and_what_came_after_the_prediction_change_no_bit(left_alone: Path, tmp_path: Path, change: Callable[[Draft], None]) -> None:
    draft = tiny_draft(n=160)
    change(draft)
    other = pretrained(freeze(draft, tmp_path / "cohort", "other", {}), tmp_path / "run")
    assert same_weights(other, Pretrained.load(left_alone / "pretrained.pt"))


def test_events_of_train_people_before_the_prediction_do_change_it(left_alone: Path, tmp_path: Path) -> None:
    draft = tiny_draft(n=160)
    store = draft.stores["ehr"]
    assert isinstance(store, EventStore)
    row = int(np.flatnonzero((draft.rows["role"] == "train").to_numpy() & (store.stop - store.start > 4))[0])
    store.value[store.start[row] : store.stop[row]] += 1.0
    other = pretrained(freeze(draft, tmp_path / "cohort", "other", {}), tmp_path / "run")
    assert not same_weights(other, Pretrained.load(left_alone / "pretrained.pt"))


@pytest.mark.parametrize("epoch", [0, EPOCHS - 1])
def test_a_fault_is_resumed_to_equal_bits(cohort: Cohort, left_alone: Path, tmp_path: Path, epoch: int) -> None:
    with pytest.raises(RuntimeError):
        pretrained(cohort, tmp_path / "run", loggers=(Ear(raises=epoch),))
    assert not (tmp_path / "run" / "pretrained.pt").exists()
    pretrained(cohort, tmp_path / "run")
    _assert_equal(tmp_path / "run", left_alone)


def test_ctrl_c_inside_an_epoch_is_resumed_to_equal_bits(cohort: Cohort, left_alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Learner.training_step

    def press(learner: Learner, batch: Rewound, batch_idx: int) -> None:
        if (learner.course.epoch, batch_idx) == (2, 1):
            os.kill(os.getpid(), signal.SIGINT)
        step(learner, batch, batch_idx)

    monkeypatch.setattr(Learner, "training_step", press)
    with pytest.raises(KeyboardInterrupt):
        pretrained(cohort, tmp_path / "run")
    monkeypatch.undo()
    heard = Ear()
    pretrained(cohort, tmp_path / "run", loggers=(heard,))
    assert [step for step, _ in heard.heard] == [2, 3], "it went on where it stood"
    _assert_equal(tmp_path / "run", left_alone)


def _assert_equal(ours: Path, theirs: Path) -> None:
    a, b = Pretrained.load(ours / "pretrained.pt"), Pretrained.load(theirs / "pretrained.pt")
    assert same_weights(a, b)
    assert a.hash() == b.hash()
    assert (ours / "pretraining" / "metrics.csv").read_bytes() == (theirs / "pretraining" / "metrics.csv").read_bytes()
    assert not (ours / "pretraining" / "checkpoint").exists()


def test_a_finished_one_is_read_and_another_ones_folder_refused(cohort: Cohort, left_alone: Path) -> None:
    before = (left_alone / "pretrained.pt").stat().st_mtime_ns
    pretrained(cohort, left_alone)
    assert (left_alone / "pretrained.pt").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="another config, cohort or seed"):
        pretrained(cohort, left_alone, config(optimizer__lr=0.5))


def test_without_select_rows_all_epochs_are_run(cohort: Cohort, tmp_path: Path) -> None:
    whole, nothing = Split.of(cohort), np.empty(0, np.int64)
    found = pretrained(cohort, tmp_path / "run", split=Split(whole.train, nothing, nothing, nothing))
    assert found.facts["best_epoch"] == EPOCHS - 1
    assert found.facts["select_nll"] is None
    assert found.chose.subjects.numel() == 0


def test_time_to_codes_trains_too(cohort: Cohort, tmp_path: Path) -> None:
    made = config()
    made["pretext"] = {
        "_target_": "equipoise.pretext.time_to_codes.TimeToCodes",
        "edges_days": [7.0, 60.0],
        "codes": 5,
        "rank": 4,
        "cuts": 2,
        "at_moments": 0.0,
        "prior_scale": 10.0,
    }
    found = pretrained(cohort, tmp_path / "run", made)
    assert found.facts["select_nll"] < found.facts["base_select_nll"] + 0.1


def _statics_only(draft: Draft) -> None:
    store = draft.stores["ehr"]
    assert isinstance(store, EventStore)
    for row in range(store.start.size):
        own = slice(store.start[row], store.stop[row])
        store.stop[row] = store.start[row] + int((store.time_us[own] == STATIC_TIME).sum())


def _at_the_end(draft: Draft) -> None:
    store = draft.stores["ehr"]
    assert isinstance(store, EventStore)
    for row in range(store.start.size):
        own = np.arange(store.start[row], store.stop[row])
        store.time_us[own[store.time_us[own] != STATIC_TIME]] = store.time_of_row_us[row]


@pytest.mark.parametrize("change", [_statics_only, _at_the_end])
def test_records_without_a_past_are_refused(tmp_path: Path, change: Callable[[Draft], None]) -> None:
    draft = tiny_draft(n=60)
    change(draft)
    with pytest.raises(UserError, match="nothing to foretell"):
        pretrained(freeze(draft, tmp_path / "cohort", "bare", {}), tmp_path / "run")


def test_one_event_a_row_and_one_code_serve(tmp_path: Path) -> None:
    """A single event is a past: what follows is that nothing comes until the end."""
    draft = tiny_draft(n=80)
    store = draft.stores["ehr"]
    assert isinstance(store, EventStore)
    store.code[:] = 2
    for row in range(store.start.size):
        own = np.arange(store.start[row], store.stop[row])
        timed = own[store.time_us[own] != STATIC_TIME]
        if timed.size:
            store.start[row], store.stop[row] = timed[0], timed[0] + 1
    found = pretrained(freeze(draft, tmp_path / "cohort", "one", {}), tmp_path / "run")
    assert np.isfinite(found.facts["select_nll"])
    assert found.view_state["codes"] == ["lab//creatinine"]


def test_views_that_cannot_be_pretrained_are_passed_over_or_refused(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"0 of the chosen views can be pretrained.*modality=\[ehr\]"):
        pretrained(cohort, tmp_path / "run", small_config(views=("clinical", "ehr_summary")))
    two = config()
    two["modality"]["again"] = two["modality"]["ehr"]
    with pytest.raises(UserError, match="2 of the chosen views"):
        pretrained(cohort, tmp_path / "run", two)
    assert not (tmp_path / "run").exists()

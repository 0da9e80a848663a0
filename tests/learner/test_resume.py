"""A training that is killed, at any moment, resumes to the weights of the one that was left alone, bit for bit."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.cohort.frozen import Cohort, open_cohort
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Batch
from equipoise.learner.course import Course
from equipoise.learner.interrupt import answering
from equipoise.learner.loggers import Logger
from equipoise.learner.module import Learner
from equipoise.learner.resume import Checkpoint
from equipoise.learner.train import train_member
from equipoise.model import Model
from equipoise.testing.cohorts import tiny_cohort
from equipoise.whole_file import write_whole
from small_config import small_config

pytestmark = pytest.mark.usefixtures("one_thread")
EPOCHS = 5


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("resume") / "cohort", n=160)


@pytest.fixture(scope="module")
def left_alone(one_thread: None, cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_member(config(), cohort, Split.of(cohort), seed=0, folder=tmp_path_factory.mktemp("alone") / "m", loggers=[]).parent


def config(workers: int = 0) -> dict[str, Any]:
    """Everything that is random is on: dropout inside parts, evidence dropout, a sampling head; a checkpoint after every batch."""
    made = small_config(views=("ehr", "clinical"), learner__max_epochs=EPOCHS, learner__patience=None, learner__batch_size=16)
    made["learner"] |= {"evidence_dropout": 0.3, "checkpoint_minutes": 0.0}
    made["scheduler"] = {"_target_": "equipoise.learner.schedule.Cosine", "warmup_epochs": 0.5, "final": 0.1}
    made["trainer"]["num_workers"] = workers
    return made


def assert_equal_bits(ours: Path, theirs: Path) -> None:
    a, b = Model.load(ours / "model.pt"), Model.load(theirs / "model.pt")
    weights, others = a.network.state_dict(), b.network.state_dict()
    assert all(torch.equal(weights[k], others[k]) for k in weights)
    assert a.hash() == b.hash()
    own, other = (json.loads((f / "history.json").read_text()) for f in (ours, theirs))
    assert {k: v for k, v in own.items() if k != "seconds"} == {k: v for k, v in other.items() if k != "seconds"}
    assert (ours / "metrics.csv").read_bytes() == (theirs / "metrics.csv").read_bytes()


class Saboteur(Logger):
    """Raises when an epoch is told of."""

    def __init__(self, epoch: int, error: type[BaseException]) -> None:
        self.epoch, self.error = epoch, error

    def open(self, config: Any, folder: Path) -> None:
        pass

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if step == self.epoch:
            raise self.error

    def close(self, exit_code: int) -> None:
        pass


class Fault(Exception):
    pass


class Counter(Logger):
    """Notes the epochs that it is told of."""

    def __init__(self, epochs: list[int]) -> None:
        self.epochs = epochs

    def open(self, config: Any, folder: Path) -> None:
        pass

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        assert step is not None
        self.epochs.append(step)

    def close(self, exit_code: int) -> None:
        pass


@pytest.mark.parametrize("epoch", [0, 3, EPOCHS - 1])
def test_a_fault_between_an_epoch_and_its_checkpoint_changes_nothing(cohort: Cohort, left_alone: Path, tmp_path: Path, epoch: int) -> None:
    split = Split.of(cohort)
    with pytest.raises(Fault):
        train_member(config(), cohort, split, seed=0, folder=tmp_path / "m", loggers=[Saboteur(epoch, Fault)])
    assert not (tmp_path / "m" / "model.pt").exists()
    train_member(config(), cohort, split, seed=0, folder=tmp_path / "m", loggers=[])
    assert_equal_bits(tmp_path / "m", left_alone)
    assert not (tmp_path / "m" / "checkpoint").exists()


def test_ctrl_c_leaves_a_checkpoint_and_the_next_run_goes_on_from_inside_the_epoch(
    cohort: Cohort, left_alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    split, folder, step = Split.of(cohort), tmp_path / "m", Learner.training_step
    before = signal.getsignal(signal.SIGINT)
    rare = config()
    rare["learner"]["checkpoint_minutes"] = 60.0  # the checkpoint is the interruption's own

    def press(learner: Learner, batch: Batch, batch_idx: int) -> None:
        if (learner.course.epoch, batch_idx) == (3, 2):
            os.kill(os.getpid(), signal.SIGINT)
        step(learner, batch, batch_idx)

    monkeypatch.setattr(Learner, "training_step", press)
    with caplog.at_level("INFO", logger="equipoise"), pytest.raises(KeyboardInterrupt):
        train_member(rare, cohort, split, seed=0, folder=folder, loggers=[])
    assert signal.getsignal(signal.SIGINT) is before
    assert "interrupted in epoch 4 after batch 3;" in caplog.text
    monkeypatch.undo()
    assert "last.ckpt" in caplog.text
    train_member(config(), cohort, split, seed=0, folder=folder, loggers=[])
    assert_equal_bits(folder, left_alone)


@pytest.mark.parametrize("epoch", [1, EPOCHS - 1])
def test_ctrl_c_in_an_epochs_selection_stops_after_it_even_in_the_last_one(
    cohort: Cohort, left_alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, epoch: int
) -> None:
    split, folder, selected = Split.of(cohort), tmp_path / "m", Learner.on_validation_epoch_end
    lines: list[int] = []

    def press(learner: Learner) -> None:
        if learner.course.epoch == epoch:
            os.kill(os.getpid(), signal.SIGINT)
        selected(learner)

    monkeypatch.setattr(Learner, "on_validation_epoch_end", press)
    with caplog.at_level("INFO", logger="equipoise"), pytest.raises(KeyboardInterrupt):
        train_member(config(), cohort, split, seed=0, folder=folder, loggers=[Counter(lines)])
    assert f"interrupted after epoch {epoch + 1}" in caplog.text
    assert lines == list(range(epoch + 1)), "no epoch is begun after the one that was interrupted"
    assert not (folder / "model.pt").exists()
    monkeypatch.undo()
    train_member(config(), cohort, split, seed=0, folder=folder, loggers=[])
    assert_equal_bits(folder, left_alone)


def press_once() -> None:
    with answering():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


def test_a_ctrl_c_that_no_batch_answers_is_answered_on_leaving() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        press_once()
    assert signal.getsignal(signal.SIGINT) is before


def press_twice() -> None:
    with answering() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        assert interrupt.asked
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


def leave(code: int, because: BaseException | None) -> None:
    with answering():
        if because is None:
            raise SystemExit(code)
        try:
            raise because
        except BaseException:
            raise SystemExit(code)  # noqa: B904 - as Lightning does


def test_a_second_ctrl_c_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert signal.getsignal(signal.SIGINT) is before


def test_lightnings_exit_after_a_keyboard_interrupt_is_one_again_and_other_exits_stay() -> None:
    with pytest.raises(KeyboardInterrupt):
        leave(1, KeyboardInterrupt())
    with pytest.raises(SystemExit):
        leave(3, None)
    with pytest.raises(SystemExit):
        leave(3, ValueError())


def _train(cohort_folder: Path, folder: Path, workers: int) -> None:
    torch.set_num_threads(1)
    cohort = open_cohort(cohort_folder)
    train_member(config(workers), cohort, Split.of(cohort), seed=0, folder=folder, loggers=[])


@pytest.fixture(scope="module")
def server() -> Any:
    """Children come from a fresh process that has imported the learner once, and no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["equipoise.learner.train", "equipoise.head.variational"])
    return context


def kill_after(server: Any, cohort: Cohort, folder: Path, workers: int, n_checkpoints: int) -> None:
    """Starts a training and kills it (SIGKILL) once it has written this many checkpoints."""
    child = server.Process(target=_train, args=(cohort.folder, folder, workers))
    child.start()
    seen: set[int] = set()
    for moment in _until(120.0):
        if not child.is_alive():
            raise AssertionError(f"the training ended before the kill, exit code {child.exitcode}")
        with suppress(FileNotFoundError):
            seen.add((folder / "checkpoint" / "last.ckpt").stat().st_mtime_ns)
        if len(seen) >= n_checkpoints:
            break
        time.sleep(0.0005 * (1 + moment % 3))
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not (folder / "model.pt").exists()


def _until(seconds: float) -> Iterator[int]:
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        yield n
        n += 1
    raise AssertionError("no checkpoint in time")


def test_kill_9_at_three_places_with_two_workers_or_none_resumes_to_equal_bits(server: Any, cohort: Cohort, left_alone: Path, tmp_path: Path) -> None:
    for n_checkpoints, workers in ((1, 2), (10, 0), (22, 2)):
        kill_after(server, cohort, tmp_path / "m", workers, n_checkpoints)
    train_member(config(), cohort, Split.of(cohort), seed=0, folder=tmp_path / "m", loggers=[])
    assert_equal_bits(tmp_path / "m", left_alone)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("n_checkpoints", [2, 13, 24])
def test_kill_9_anywhere_with_any_number_of_workers_resumes_to_equal_bits(
    server: Any, cohort: Cohort, left_alone: Path, tmp_path: Path, workers: int, n_checkpoints: int
) -> None:
    kill_after(server, cohort, tmp_path / "m", workers, n_checkpoints)
    resumed = server.Process(target=_train, args=(cohort.folder, tmp_path / "m", 2 - workers))
    resumed.start()
    resumed.join()
    assert resumed.exitcode == 0
    assert_equal_bits(tmp_path / "m", left_alone)


def test_a_checkpoint_of_another_training_or_a_torn_one_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    split, folder = Split.of(cohort), tmp_path / "m"
    with pytest.raises(Fault):
        train_member(config(), cohort, split, seed=0, folder=folder, loggers=[Saboteur(1, Fault)])
    with pytest.raises(UserError, match="of another training"):
        train_member(config(), cohort, replace(split, train=split.train[2:]), seed=0, folder=folder, loggers=[])
    last = folder / "checkpoint" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"last\.ckpt cannot be read"):
        train_member(config(), cohort, split, seed=0, folder=folder, loggers=[])


def test_a_checkpoint_holds_plain_values_and_comes_back_as_it_was(tmp_path: Path) -> None:
    course = Course(epoch=2, batch=3, sums={"nll": 1.5, "rows": 4.0}, lines=[{"epoch": 0.0, "train/nll": 0.7}], best_epoch=1, best_loss=0.5)
    course.best_weights = {"w": torch.ones(3)}
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    Checkpoint("stamp", course, layer.state_dict(), optimizer.state_dict(), {}).save(tmp_path / "c.ckpt")
    loaded = Checkpoint.load(tmp_path / "c.ckpt", "stamp")
    assert torch.equal(loaded.course.best_weights["w"], torch.ones(3))
    assert {k: v for k, v in vars(loaded.course).items() if k != "best_weights"} == {k: v for k, v in vars(course).items() if k != "best_weights"}
    again = torch.optim.Adam(layer.parameters())
    again.load_state_dict(dict(loaded.optimizer))
    assert torch.equal(again.state[layer.weight]["exp_avg"], optimizer.state[layer.weight]["exp_avg"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.ckpt"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "file"
    write_whole(path, lambda f: f.write(b"old"))

    def half(f: Any) -> None:
        f.write(b"ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, half)
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]

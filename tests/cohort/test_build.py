"""Building a cohort: once, whole or not at all, and never a damaged one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cohort.written_sources import World
from equipoise.cohort.build import build_cohort, cohort_hash
from equipoise.cohort.draft import Draft
from equipoise.cohort.source import Source
from equipoise.contract.errors import UserError
from equipoise.testing.cohorts import tiny_draft


class Counted(Source):
    """A generator that leaves a mark each time it drafts, and knows a truth."""

    def __init__(self, marks: Path, *, seconds: float = 0.0, fail: str = "") -> None:
        self.marks, self.seconds, self.fail = marks, seconds, fail

    def fingerprint(self) -> dict[str, Any]:
        return {"source": "counted"}

    def draft(self) -> Draft:
        self.marks.mkdir(exist_ok=True)
        (self.marks / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(self.seconds)
        if self.fail == "draft":
            raise RuntimeError("killed")
        return tiny_draft(n=40)

    def write_truth(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "best_risk.txt").write_text("0.5")
        if self.fail == "truth":
            raise RuntimeError("killed")


def test_a_cohort_is_built_once_and_opened_ever_after(tmp_path: Path) -> None:
    source = Counted(tmp_path / "marks")
    first = build_cohort(source, tmp_path / "cohorts", truth_dir=tmp_path / "truth")
    second = build_cohort(source, tmp_path / "cohorts", truth_dir=tmp_path / "truth")
    assert first.hash == second.hash == cohort_hash(source.fingerprint())
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert (tmp_path / "truth" / first.hash / "best_risk.txt").read_text() == "0.5"


def test_the_truth_is_written_for_a_cohort_that_is_there_already(tmp_path: Path) -> None:
    source = Counted(tmp_path / "marks")
    cohort = build_cohort(source, tmp_path / "cohorts")
    assert not (tmp_path / "truth").exists()
    build_cohort(source, tmp_path / "cohorts", truth_dir=tmp_path / "truth")
    assert (tmp_path / "truth" / cohort.hash).is_dir()
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_a_place_for_the_truth_that_cannot_be_made_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"set paths\.truth"):
        build_cohort(Counted(tmp_path / "marks"), tmp_path / "cohorts", truth_dir=tmp_path / "file" / "below")
    assert not [p for p in (tmp_path / "cohorts").iterdir() if p.is_dir()]


@pytest.mark.parametrize("where", ["draft", "truth", "freeze"])
def test_a_build_that_breaks_leaves_nothing_half_written(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "freeze":

        def broken(*_: Any) -> None:
            raise RuntimeError("killed")

        monkeypatch.setattr("equipoise.cohort.frozen.os.replace", broken)
    with pytest.raises(RuntimeError, match="killed"):
        build_cohort(Counted(tmp_path / "marks", fail=where), tmp_path / "cohorts", truth_dir=tmp_path / "truth")
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "cohorts").iterdir() if not p.name.endswith(".lock")] == []
    if where != "freeze":
        assert not list((tmp_path / "truth").glob("*"))
    whole = build_cohort(Counted(tmp_path / "marks"), tmp_path / "cohorts", truth_dir=tmp_path / "truth")
    assert whole.size == 40


def _build(marks: Path, cohorts: Path, seconds: float) -> None:
    build_cohort(Counted(marks, seconds=seconds), cohorts)


def test_two_builders_at_once_build_one_cohort(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=_build, args=(tmp_path / "marks", tmp_path / "cohorts", 1.0)) for _ in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0, 0]
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_a_killed_builder_leaves_no_lock_behind(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    job = context.Process(target=_build, args=(tmp_path / "marks", tmp_path / "cohorts", 60.0))
    job.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "marks").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert job.pid is not None
    os.kill(job.pid, signal.SIGKILL)
    job.join(30)
    leftover = tmp_path / "cohorts" / f".{cohort_hash(Counted(tmp_path).fingerprint())}.1.part"
    leftover.mkdir()
    started = time.monotonic()
    assert build_cohort(Counted(tmp_path / "marks"), tmp_path / "cohorts").size == 40
    assert time.monotonic() - started < 20
    assert not leftover.exists()


def test_a_damaged_array_is_named(tmp_path: Path) -> None:
    cohort = build_cohort(Counted(tmp_path / "marks"), tmp_path / "cohorts")
    at = cohort.folder / "evidence" / "ehr" / "value.npy"
    content = bytearray(at.read_bytes())
    content[-3] ^= 0xFF
    at.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"value\.npy is damaged.*SHA-256.*delete the cohort's folder"):
        build_cohort(Counted(tmp_path / "marks"), tmp_path / "cohorts")


def test_a_moved_cohort_is_not_taken_for_another(tmp_path: Path) -> None:
    cohort = build_cohort(Counted(tmp_path / "marks"), tmp_path / "cohorts")

    class Other(Counted):
        def fingerprint(self) -> dict[str, Any]:
            return {"source": "other"}

    other = Other(tmp_path / "marks")
    cohort.folder.rename(tmp_path / "cohorts" / cohort_hash(other.fingerprint()))
    with pytest.raises(UserError, match="holds cohort"):
        build_cohort(other, tmp_path / "cohorts")


def test_inputs_that_change_while_they_are_read_are_refused(tmp_path: Path) -> None:
    class Changing(Counted):
        asked = 0

        def fingerprint(self) -> dict[str, Any]:
            self.asked += 1
            return {"n": self.asked}

    with pytest.raises(UserError, match="changed while"):
        build_cohort(Changing(tmp_path / "marks"), tmp_path / "cohorts")
    assert not [p for p in (tmp_path / "cohorts").iterdir() if not p.name.endswith(".lock")]


def test_the_hash_follows_content_and_settings_and_no_path(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here, there = World(tmp_path / "a"), World(tmp_path / "b")
    one, two = cohort_hash(here.source().fingerprint()), cohort_hash(there.source().fingerprint())
    assert one == two
    assert cohort_hash(here.source(id_type="int").fingerprint()) != one
    (tmp_path / "a" / "clinical.csv").write_text((tmp_path / "a" / "clinical.csv").read_text().replace("yes", "once", 1))
    assert cohort_hash(here.source().fingerprint()) != one


def test_an_existing_cohort_of_files_is_opened_without_writing(tmp_path: Path) -> None:
    world = World(tmp_path)
    cohort = build_cohort(world.source(), tmp_path / "cohorts", truth_dir=tmp_path / "truth")
    (tmp_path / "cohorts" / f".{cohort.hash}.lock").unlink()
    assert build_cohort(world.source(), tmp_path / "cohorts", truth_dir=tmp_path / "truth").hash == cohort.hash
    assert [p.name for p in (tmp_path / "cohorts").iterdir()] == [cohort.hash]
    assert not (tmp_path / "truth").exists()


def test_manifests_hold_no_folder_of_this_machine(tmp_path: Path) -> None:
    world = World(tmp_path)
    cohort = build_cohort(world.source(), tmp_path / "cohorts")
    assert str(tmp_path) not in (cohort.folder / "manifest.json").read_text()

"""What a run leaves behind holds nothing that an error quotes of the data: no identifier, no cell."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from equipoise import sweep
from equipoise.cli import main
from equipoise.cohort.ids import canonical_ids, join_counts, no_duplicates
from equipoise.cohort.labels import TableLabels
from equipoise.cohort.reading import as_number, read_table
from equipoise.cohort.splits import GivenRoles
from equipoise.cohort.targets import TargetSpec
from equipoise.contract.errors import NOT_RECORDED, UserError
from equipoise.contract.tables import TIME
from equipoise.record import recording

SECRET = "MRN-0042"


def _damaged_file(folder: Path) -> None:
    (folder / "t.csv").write_bytes(f"id,x\n{SECRET},1\n{SECRET},1,2,3\n".encode())
    read_table(folder / "t.csv")


def _twice_labelled(folder: Path) -> None:
    pl.DataFrame({"id": [SECRET, SECRET], "died": [0, 1]}).write_csv(folder / "l.csv")
    TableLabels(path=str(folder / "l.csv"), id="id", targets={"died": {"kind": "binary", "column": "died"}}).read("str", predict_only=False)


def _ids_for_splits(folder: Path) -> None:
    from cohort.written_sources import World

    world = World(folder)
    pl.DataFrame({"id": world.ids, "split": [SECRET] * 40}).write_csv(folder / "splits.csv")
    world.source(roles=GivenRoles(path=str(folder / "splits.csv"), id="id", column="split", divide={"a": "train"})).draft()


def _outcome(**given: Any) -> None:
    column = pl.DataFrame({"y": [SECRET, "b", "c"]})
    TargetSpec.parse("t", {"column": "y", **given}).read(column, pl.Series([None] * 3, dtype=TIME), "Target t")


MISTAKES: dict[str, Callable[[Path], object]] = {
    "nothing matches": lambda _: join_counts(pl.Series([SECRET]), pl.Series(["p"]), "table t"),
    "the source's ids": lambda _: join_counts(pl.Series(["p"]), pl.Series([SECRET]), "table t"),
    "doubled": lambda _: no_duplicates(pl.Series([SECRET, SECRET]), "table t", "remove them"),
    "of another type": lambda _: canonical_ids(pl.Series([SECRET]), "int", "column id"),
    "no numbers": lambda _: as_number(pl.Series([SECRET]), "column x"),
    "damaged": _damaged_file,
    "labelled twice": _twice_labelled,
    "ids for splits": _ids_for_splits,
    "ids for outcomes": lambda _: _outcome(kind="binary"),
    "ids for outcomes with a positive": lambda _: _outcome(kind="binary", positive="b"),
    "ids for classes": lambda _: _outcome(kind="multiclass", classes=["b", "c"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_shows_its_examples_and_leaves_none_behind(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused, recording(tmp_path / "run", "equipoise run"):
        MISTAKES[name](tmp_path)
    if name != "damaged":  # polars decides what it quotes
        assert SECRET in str(refused.value)
    left = {p.name: p.read_text() for p in (tmp_path / "run").iterdir()}
    assert set(left) == {"manifest.json", "run.log"}
    assert not [at for at, text in left.items() if SECRET in text]
    manifest = json.loads(left["manifest.json"])
    assert manifest["status"] == "mistake"
    assert refused.value.thing in manifest["error"]
    assert NOT_RECORDED in manifest["error"]


def test_an_error_without_examples_is_recorded_whole() -> None:
    error = UserError("Key a is wrong", expected="1", found="2", mend="correct it")
    assert error.recorded == str(error) == "Key a is wrong. Expected: 1. Found: 2. To mend: correct it."


def test_examples_stand_beside_what_was_found_and_survive_pickling() -> None:
    error = UserError("Ids repeat", found="2 ids", examples="e.g. 'p'", mend="remove them")
    assert str(error) == "Ids repeat. Found: 2 ids e.g. 'p'. To mend: remove them."
    assert error.recorded == f"Ids repeat. Found: 2 ids ({NOT_RECORDED}). To mend: remove them."
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.recorded) == (str(error), error.recorded)


def test_a_fault_leaves_its_kind_and_place_and_no_message(tmp_path: Path) -> None:
    with pytest.raises(KeyError), recording(tmp_path, "equipoise run"):
        _ = {}[SECRET]  # type: ignore[var-annotated]
    text = (tmp_path / "manifest.json").read_text()
    assert SECRET not in text
    assert "KeyError at test_record.py:" in json.loads(text)["error"]


@pytest.mark.parametrize("error", [UserError("Ids repeat", examples=SECRET), KeyError(SECRET)])
def test_a_sweeps_job_leaves_no_example_and_says_none(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> dict[str, Any]:
        try:
            raise UserError("Before it", examples=SECRET)
        except UserError:
            raise error  # noqa: B904  # as library code does: the first error is the second's context

    monkeypatch.setattr(sweep, "run_verb", fail)
    monkeypatch.setattr(logging.getLogger("equipoise"), "propagate", True)
    with caplog.at_level(logging.INFO):
        assert sweep.run_job("run", {}, tmp_path / "0", command="", overrides=[]) is None
    job = (tmp_path / "0" / "job.json").read_text()
    assert json.loads(job)["status"] == ("mistake" if isinstance(error, UserError) else "fault")
    assert type(error).__name__ in caplog.text or "Ids repeat" in caplog.text
    assert SECRET not in job + caplog.text


@pytest.mark.slow
def test_a_swept_command_over_wrong_ids_writes_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pl.DataFrame({"id": [f"{SECRET}-{i}" for i in range(40)], "died": [0, 1] * 20}).write_csv("labels.csv")
    pl.DataFrame({"id": [f"p{i}" for i in range(40)], "age": range(40)}).write_csv("clinical.csv")
    evidence = "{clinical: {_target_: equipoise.cohort.table.Table, path: clinical.csv, id: id}}"
    labels = "{_target_: equipoise.cohort.labels.TableLabels, path: labels.csv, id: id, targets: {died: {kind: binary, column: died}}}"
    words = ["cohort=files", f"cohort.evidence={evidence}", f"cohort.labels={labels}", "modality=[clinical]", "task=[risk]", "task.risk.target=died"]
    assert main(["run", "-m", *words, "seed=0,1", "run_dir=swept"]) == 1
    texts = {str(p): p.read_text() for p in Path("swept").rglob("*") if p.is_file()}
    assert [at for at in texts if at.endswith("job.json")]
    assert all("None of the 40 subjects" in text for at, text in texts.items() if at.endswith("job.json"))
    assert not [at for at, text in texts.items() if SECRET in text]


def test_a_mistake_in_a_finished_run_does_not_unsay_its_opening(tmp_path: Path) -> None:
    with recording(tmp_path, "run") as manifest:
        manifest |= {"opening": 2, "role": "held_out", "predictions_hash": "ab"}
    with pytest.raises(UserError), recording(tmp_path, "run"):
        raise UserError("The cohort is damaged")
    there = json.loads((tmp_path / "manifest.json").read_text())
    assert (there["status"], there["opening"], there["predictions_hash"]) == ("mistake", 2, "ab")

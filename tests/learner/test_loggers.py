from __future__ import annotations

import csv
import os
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.learner.loggers import CsvLogger, WandbLogger, logging_to, mode_here, run_id, write_lines
from equipoise.learner.redact import redacted
from equipoise.learner.train import train_member
from equipoise.record import config_hash
from equipoise.testing.cohorts import tiny_cohort
from small_config import small_config

WANDB = {"_target_": "equipoise.learner.loggers.WandbLogger", "project": "equipoise", "entity": None, "mode": "auto", "name": None, "tags": []}


def test_csv_keeps_what_was_logged_before_the_job_was_broken_off(tmp_path: Path) -> None:
    config = small_config()
    with logging_to(config, tmp_path / "run") as (logger,):
        logger.log_metrics({"select/nll": 0.5}, step=0)
        logger.log_metrics({"select/nll": 0.4}, step=1)
    with logging_to(config, tmp_path / "run") as (logger,):
        logger.log_metrics({"select/nll": 0.4}, step=1)
        logger.log_metrics({"held_out/auroc": 0.8})
    with (tmp_path / "run" / "metrics.csv").open() as f:
        lines = [tuple(line.values()) for line in csv.DictReader(f)]
    assert lines == [("0", "select/nll", "0.5"), ("1", "select/nll", "0.4"), ("", "held_out/auroc", "0.8")]


def test_epochs_are_written_whole_whatever_their_columns(tmp_path: Path) -> None:
    write_lines(tmp_path / "m.csv", [{"epoch": 0.0, "a": 1.0}, {"epoch": 1.0, "b": 2.0}])
    assert (tmp_path / "m.csv").read_text() == "epoch,a,b\n0.0,1.0,\n1.0,,2.0\n"


@pytest.mark.parametrize(("error", "code"), [(None, 0), (UserError("x"), 2), (RuntimeError(), 1), (KeyboardInterrupt(), 130)])
def test_the_job_is_closed_with_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | None, code: int) -> None:
    closed: list[int] = []
    monkeypatch.setattr(CsvLogger, "close", lambda self, exit_code: closed.append(exit_code))

    def job() -> None:
        with logging_to(small_config(), tmp_path):
            if error is not None:
                raise error

    if error is None:
        job()
    else:
        with pytest.raises(type(error)):
            job()
    assert closed == [code]


def test_a_config_loses_everything_that_names_a_place_or_a_person() -> None:
    config = {
        "seed": 3,
        "name": "004_mrs_smith_labs",
        "run_dir": "/home/someone/runs/x",
        "new": "p7.csv",
        "remark": "as agreed with Dr Smith",
        "paths": {"data": "../shared/data"},
        "cohort": {"labels": {"path": "C:\\data\\x.csv", "subject_id": "MRN"}},
        "learner": {"lr": 0.1, "note": "from ~/somewhere", "list": ["a/b/c", "plain", 3], "evidence_dropout": {"data/p7": 0.1, "ehr": 0.2}},
        "modality": {"ehr": {"_target_": "equipoise.modality.ehr.Ehr", "file": "x.csv", "codes": ["lab//creatinine"]}},
        "contact": "someone@example.org",
        "source": "s3://bucket/key",
        "task": {"risk": {"target": "data/p7.csv", "weights": "p7.parquet", "sheet": "ward\\p7", "unit": "per year"}},
    }
    clean = redacted(config)
    assert clean == {
        "seed": 3,
        "learner": {"lr": 0.1, "note": "[redacted]", "list": ["[redacted]", "plain", 3], "evidence_dropout": {"[redacted]": 0.1, "ehr": 0.2}},
        "modality": {"ehr": {"_target_": "equipoise.modality.ehr.Ehr", "file": "[redacted]", "codes": ["lab//creatinine"]}},
        "contact": "[redacted]",
        "source": "[redacted]",
        "task": {"risk": {"target": "[redacted]", "weights": "[redacted]", "sheet": "[redacted]", "unit": "per year"}},
    }


def test_without_an_account_wandb_is_offline_and_the_user_may_say_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert mode_here() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)

    def no_network(*args: Any, **kwargs: Any) -> socket.socket:
        raise OSError("no route")

    monkeypatch.setattr(socket, "create_connection", no_network)
    assert mode_here() == "offline"
    with pytest.raises(UserError, match=r"logger\.mode"):
        WandbLogger(project="p", entity=None, mode="perhaps", name=None, tags=[])


def test_a_jobs_wandb_id_stays_with_its_folder_and_does_not_name_it(tmp_path: Path) -> None:
    assert run_id(tmp_path / "a") == run_id(tmp_path / "a") != run_id(tmp_path / "b")


@pytest.mark.parametrize("fails", [False, True])
def test_an_offline_wandb_run_holds_metrics_and_no_path_name_or_subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    work = tmp_path / "workplace"
    work.mkdir()
    monkeypatch.chdir(work)
    cohort = tiny_cohort(tmp_path / "cohorts" / "c", n=60)
    folder = work / "runs" / "secret_run"
    config = small_config(learner__max_epochs=1) | {"logger": WANDB, "run_dir": str(folder), "paths": {"data": str(tmp_path)}}
    config |= {"name": "004_mrs_smith_labs", "new": "data/p7.csv", "remark": "as agreed with Dr Smith"}
    config["learner"] |= {"remark": f"{tmp_path}/elsewhere", "note": "ward/p8.csv"}

    def job() -> None:
        with logging_to(config, folder) as loggers:
            train_member(config, cohort, Split.of(cohort), seed=0, folder=folder / "member_0", loggers=loggers)
            loggers[0].log_metrics({"held_out/auroc": 0.75})
            if fails:
                raise RuntimeError

    if fails:
        with pytest.raises(RuntimeError):
            job()
    else:
        job()
    wandb.teardown()  # a busy machine may write the file after the run's end; the client's service is waited for
    files = [p for p in (folder / "wandb").rglob("*") if p.is_file()]
    runs = [p for p in files if p.suffix == ".wandb"]
    assert len(runs) == 1, "one run a job"
    held = runs[0].read_bytes()
    assert b"select/nll" in held
    assert b"held_out/auroc" in held
    assert b"max_epochs" in held, "the config is in the file"
    assert config_hash(config).encode() in held, "the run is named by its config's hash"
    names = [str(tmp_path), str(work), str(Path.cwd()), "/root", "/home/", os.path.expanduser("~"), "secret_run", "runs/", __file__, Path(__file__).name]
    names += [socket.gethostname()] if len(socket.gethostname()) > 5 else []
    names += ["mrs_smith", "Dr Smith", "p7.csv", "p8.csv"]
    names += [*cohort.rows["subject_id"].unique().to_list(), cohort.hash]
    for path in files:
        content = path.read_bytes()
        for name in names:
            assert name.encode() not in content, f"{path.name} holds {name}"
    assert exit_codes(runs[0]) == [1 if fails else 0]


def exit_codes(path: Path) -> list[int]:
    """Of the exit records in an offline file: LevelDB's log format, 32 KiB blocks of fragments with (crc32, length, kind), after 7 bytes of header."""
    from wandb.proto import wandb_internal_pb2

    held, at, codes, pending = path.read_bytes(), 7, [], b""
    while at + 7 <= len(held):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", held, at + 4)
        pending += held[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last fragment
            record = wandb_internal_pb2.Record()
            record.ParseFromString(pending)
            pending = b""
            if record.WhichOneof("record_type") == "exit":
                codes.append(record.exit.exit_code)
    return codes

"""Loggers: where the metrics of a job go. One run a job, closed with the job's exit code. wandb is imported here alone, and late."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import re
import shutil
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, final
from urllib.parse import urlsplit

from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.learner.redact import redacted
from equipoise.record import config_hash
from equipoise.whole_file import write_whole

log = logging.getLogger("equipoise.learner")


class Logger(ABC):
    """Takes a job's metrics, aggregates only."""

    @abstractmethod
    def open(self, config: Mapping[str, Any], folder: Path) -> None:
        """Begins a job (or goes on with it) in its run folder."""

    @abstractmethod
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Takes metrics named ``<role>/<metric>``.

        Args:
            metrics: name -> value.
            step: the epoch, or None for results of the whole job.
        """

    @abstractmethod
    def close(self, exit_code: int) -> None:
        """Ends the job: 0 done, anything else failed."""


@contextmanager
def logging_to(config: Mapping[str, Any], folder: Path) -> Iterator[list[Logger]]:
    """The config's loggers, open for one job; closed with its exit code whatever ends it (0 done, 2 a mistake, 130 interrupted, 1 a fault)."""
    logger = make(config["logger"])
    if not isinstance(logger, Logger):
        raise UserError(f"Config key logger makes a {type(logger).__name__}", expected="a Logger", mend="correct its _target_")
    folder.mkdir(parents=True, exist_ok=True)
    logger.open(config, folder)
    exit_code = 1
    try:
        yield [logger]
        exit_code = 0
    except UserError:
        exit_code = 2
        raise
    except KeyboardInterrupt:
        exit_code = 130
        raise
    finally:
        logger.close(exit_code)


def tag_of(folder: Path) -> str:
    """What is added to a member's metric names: its fold and number, where a job has several.

    >>> tag_of(Path("run/member_0")), tag_of(Path("run/fold_0_2/member_1")), tag_of(Path("run/tune/03_1"))
    ('', '.fold_0_2.member_1', '.tune.03_1')
    """
    parts = [p for p in folder.parts[-2:] if re.fullmatch(r"fold_\d+_\d+|member_\d+|tune|\d+_\d+", p)]
    return "".join(f".{p}" for p in parts) if parts != ["member_0"] else ""


def write_lines(path: Path, lines: Sequence[Mapping[str, float]]) -> None:
    """Writes epochs as a CSV, whole: so a resumed training neither repeats nor loses a line."""
    columns = list(dict.fromkeys(k for line in lines for k in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_whole(path, lambda f: f.write(text.getvalue().encode()))


@final
class CsvLogger(Logger):
    """``metrics.csv`` in the run folder: step, metric, value; step is empty for results of the whole job."""

    def __init__(self) -> None:
        self._path = Path()
        self._values: dict[tuple[str, str], str] = {}

    def open(self, config: Mapping[str, Any], folder: Path) -> None:
        self._path = folder / "metrics.csv"
        if self._path.is_file():
            with self._path.open(newline="", encoding="utf-8") as f:
                self._values = {(line["step"], line["metric"]): line["value"] for line in csv.DictReader(f)}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        at = "" if step is None else str(step)
        self._values |= {(at, name): repr(float(value)) for name, value in metrics.items()}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("step", "metric", "value"))
        writer.writerows((*key, value) for key, value in self._values.items())
        write_whole(self._path, lambda f: f.write(text.getvalue().encode()))

    def close(self, exit_code: int) -> None:
        """Everything is on the disk already."""


@final
class WandbLogger(Logger):
    """A Weights & Biases run. Offline it works without account and network; `wandb sync` sends it later.

    Nothing of the machine is recorded: no console, code, git state, requirements, host, program or hardware; the config is redacted before the run
    begins, because the offline file holds it in clear; the client's own debug logs, which name paths, are deleted at the end.

    Args:
        project: W&B project.
        entity: W&B entity, or None for the account's own.
        mode: "online", "offline", or "auto": the environment's WANDB_MODE, else online where there is an account and the server answers.
        name: of the run at W&B, sent as it is; None for its config's hash, because `init` names a run by the user's file.
        tags: of the run, sent as they are.
    """

    def __init__(self, *, project: str, entity: str | None, mode: str, name: str | None, tags: list[str]) -> None:
        if mode not in ("auto", "online", "offline"):
            raise UserError(f"logger.mode is {mode!r}", expected="auto, online or offline", mend="choose one of these")
        self._project, self._entity, self._mode, self._name, self._tags = project, entity, mode, name, tags
        self._run: Any = None

    def open(self, config: Mapping[str, Any], folder: Path) -> None:
        # The client reads these before its settings.
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        mode: Any = os.environ.get("WANDB_MODE") or mode_here() if self._mode == "auto" else self._mode
        settings = wandb.Settings(
            console="off",
            silent=True,
            quiet=True,
            save_code=False,
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            symlink=False,
            host="redacted",
            username="redacted",
            program="equipoise",
            program_relpath="equipoise",
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self._run = wandb.init(
            project=self._project,
            entity=self._entity,
            name=self._name or config_hash(config),
            tags=list(self._tags),
            config=redacted(config),
            dir=str(folder),
            mode=mode,
            id=run_id(folder),
            resume="allow" if mode == "online" else None,
            settings=settings,
        )
        log.info("W&B run %s, %s", self._run.id, mode)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if step is None:
            self._run.summary.update(dict(metrics))
        else:
            self._run.log({**metrics, "epoch": step})

    def close(self, exit_code: int) -> None:
        files = Path(self._run.dir)
        self._run.finish(exit_code=exit_code)
        shutil.rmtree(files.parent / "logs", ignore_errors=True)


def run_id(folder: Path) -> str:
    """The job's W&B id: kept in the run folder, so that a resumed job goes on in its own run; drawn without naming the folder."""
    path = folder / "wandb" / "id.txt"
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    made = hashlib.sha256(os.urandom(16)).hexdigest()[:12]
    write_whole(path, lambda f: f.write(made.encode()))
    return made


def mode_here() -> str:
    """ "online" where there is an account and the server answers, else "offline"."""
    server = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or "api.wandb.ai"
    if not os.environ.get("WANDB_API_KEY") and not _in_netrc(server):
        return "offline"
    try:
        socket.create_connection((server, 443), timeout=3).close()
    except OSError:
        return "offline"
    return "online"


def _in_netrc(server: str) -> bool:
    try:
        return netrc().authenticators(server) is not None
    except (OSError, NetrcParseError):
        return False

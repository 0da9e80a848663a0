"""Finished runs read from their folders; a sweep's folder stands for its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from equipoise.contract.errors import UserError
from equipoise.judge import predictions_hash
from equipoise.predict_table import read_predictions
from equipoise.record import read_run_file


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        label: its folder's name, with the sweep's before it where that is needed to tell it from others.
        folder: where it lies.
        config: as it was run.
        manifest: of the run: role, opening, hashes.
        results: results.json.
        table: predictions.parquet.
    """

    label: str
    folder: Path
    config: dict[str, Any]
    manifest: dict[str, Any]
    results: dict[str, Any]
    table: pl.DataFrame

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def role(self) -> str:
        return str(self.results["role"])

    @property
    def questions(self) -> dict[str, dict[str, Any]]:
        """task -> its results."""
        own = {k: v for k, v in self.results.items() if k != "tasks"}
        return {str(own["task"]): own, **{str(k): v for k, v in self.results.get("tasks", {}).items()}}


def read_runs(names: Sequence[str]) -> tuple[list[Run], list[str]]:
    """The runs behind the names, in their order, and sentences about jobs that were left out.

    Args:
        names: folders of runs or of sweeps. A sweep's job that is not done is left out; a run that is named itself must be finished.

    Raises:
        UserError: a folder is no run's, a run is not finished, its files were changed, or there are fewer than two runs.
    """
    folders, said = _folders(names)
    if len(folders) < 2:
        found = "; ".join([f"{len(folders)} finished {'run' if len(folders) == 1 else 'runs'}", *said])
        raise UserError("There is nothing to compare", expected="two runs or more, or a sweep's folder with as many", found=found, mend="name more runs")
    labels = _labels(folders)
    return [_read_run(folder, label) for folder, label in zip(folders, labels, strict=True)], said


def _folders(names: Sequence[str]) -> tuple[list[Path], list[str]]:
    found: list[Path] = []
    said: list[str] = []
    for name in names:
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise UserError(f"There is no folder {folder}", expected="the folder of a run or of a sweep", mend="correct the name")
        jobs = _jobs(folder)
        done = [job for job in jobs if _status(job) == "done"]
        said += [f"job {folder.name}/{job.name} was left out: {_status(job)}" for job in jobs if job not in done]
        found += done if jobs else [folder]
    twice = [p for i, p in enumerate(found) if p.resolve() in [q.resolve() for q in found[:i]]]
    if twice:
        raise UserError(f"The run {twice[0]} is named twice", mend="name each run once; a sweep's folder names all its jobs")
    return found, said


def _jobs(folder: Path) -> list[Path]:
    """A sweep's numbered jobs; none where the folder is a run's."""
    if (folder / "manifest.json").is_file():
        return []
    return sorted((p for p in folder.iterdir() if p.is_dir() and p.name.isdigit()), key=lambda p: int(p.name))


def _status(job: Path) -> str:
    """How a sweep's job ended, in words."""
    if not (job / "job.json").is_file():
        return "not finished"
    return {"mistake": "it ended in a mistake, see its job.json", "fault": "it ended in a fault, see its job.json"}.get(
        status := str(read_run_file(job / "job.json").get("status")), status
    )


def _labels(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart; a number alone says too little."""
    parts = [p.resolve().parts for p in folders]
    lengths = [2 if p[-1].isdigit() and len(p) > 2 else 1 for p in parts]
    while True:
        labels = ["/".join(p[-n:]) for p, n in zip(parts, lengths, strict=True)]
        if len(set(labels)) == len(labels):
            return labels
        lengths = [n + (labels.count(label) > 1) for n, label in zip(lengths, labels, strict=True)]


def _read_run(folder: Path, label: str) -> Run:
    if not (folder / "manifest.json").is_file() or not (folder / "config.yaml").is_file():
        raise UserError(f"The folder {folder} is not a run's", expected="config.yaml, manifest.json, results.json, predictions.parquet", mend=_OF_A_RUN)
    manifest = read_run_file(folder / "manifest.json")
    # As for `evaluate`: who broke off before the opening was written down is not judged behind its back.
    lacking = [name for name in ("results.json", "predictions.parquet") if not (folder / name).is_file()]
    if "opening" not in manifest or lacking:
        command = str(manifest.get("command") or "the same command")
        found = f"status {manifest.get('status')!r}" + (f", no {' and no '.join(lacking)}" if lacking else "")
        mend = f"go on with it, {command}{'' if 'run_dir=' in command else f' run_dir={folder}'}; or leave it out"
        raise UserError(f"The run in {folder} is not finished", expected="predictions and results", found=found, mend=mend)
    table = read_predictions(folder / "predictions.parquet")
    if predictions_hash(table) != manifest.get("predictions_hash"):
        raise UserError(f"The predictions in {folder} were changed after the run", mend="run again, or copy the run folder again")
    return Run(label, folder, _config(folder / "config.yaml"), manifest, read_run_file(folder / "results.json"), table)


_OF_A_RUN = "name folders that `equipoise run` made; another tool's table is judged by `equipoise evaluate predictions=FILE`"


def _config(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    try:
        saved = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as e:  # of yaml or of omegaconf
        raise UserError(f"Run file {path} cannot be read", found=type(e).__name__, mend="copy the run folder again") from e
    if not isinstance(saved, dict):
        raise UserError(f"Run file {path} holds no config", mend="copy the run folder again")
    return {str(k): v for k, v in saved.items()}

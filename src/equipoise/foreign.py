"""Puts a predictions table that Equipoise did not make through the same trial."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import polars as pl

from equipoise.config.nearest import nearest
from equipoise.contract.errors import UserError
from equipoise.contract.question import TargetKind
from equipoise.contract.tables import MODEL
from equipoise.judge import predictions_hash, publish
from equipoise.predict_table import read_predictions
from equipoise.record import commit, versions
from equipoise.trial.protocol import protocol_of
from equipoise.trial.table import from_foreign, validated
from equipoise.whole_file import write_whole

FOREIGN_MODEL = "the model"
"""What the model on trial is called where the table gives it no name."""

NO_SEAL = "no seal was kept over these rows: their table came from a file"


def evaluate_foreign(config: Mapping[str, Any], folder: Path, command: str) -> dict[str, Any]:
    """Evaluates ``config["predictions"]``; writes the judged lines as predictions.parquet and what `judge.publish` writes into the run folder.

    The table needs subject_id, outcome, risk, under these names or those in ``config["columns"]``; wide columns ``comparator_<name>`` are the methods
    to compare with, all of them required. ``config["kind"]`` says what the outcome is; without it 0 and 1 are binary, other numbers continuous.

    Args:
        config: the command's.
        folder: the run folder.
        command: the command line, for the record; the table's path is shortened to its name.

    Raises:
        UserError: the file is missing, cannot be read, or lacks a column; or the run folder holds a run.
    """
    path = Path(str(config["predictions"])).expanduser()
    columns = {ours: str(theirs) for ours, theirs in config["columns"].items() if theirs is not None}
    kind = _kind(config["kind"])
    _refuse_overwriting(path, folder)
    table, left_out = _held_out(_complete(_read(path), columns, kind))
    model = _on_trial(table)
    required = [m for m in table["model"].unique(maintain_order=True) if m != model]
    asked = [
        {
            "kind": kind or _kind_of(own["outcome"]),
            "task": task,
            "required": [m for m in required if m in own["model"]],
            "role": "held_out",
            "opening": None,
            "classes": own["target"].unique(maintain_order=True).to_list() if kind == "multiclass" else [],
            "target": columns.get("event" if kind == "time_to_event" else "outcome", ""),
            "model": model,
        }
        for (task,), own in table.group_by("task", maintain_order=True)
    ]
    context = {
        "name": path.stem,
        "command": command.replace(str(config["predictions"]), path.name),
        "versions": versions(),
        "commit": commit(),
        "statements": {k: v for k, v in config["statements"].items() if v},
        "ledger_note": f"A table judged from a file (hash {predictions_hash(table)}): no seal was kept over these rows.{left_out}",
    }
    at = folder / "predictions.parquet"
    # Judged is what a verifier will read: the table as it comes back from the disk.
    write_whole(at, table.write_parquet)
    seal = {"kept": False, "why": NO_SEAL}
    results = publish(folder, read_predictions(at), protocol_of(config["trial"]), asked, predictions=at, seal=seal, context=context, site=config["site"])
    print(f"report: {folder / 'report.html'}")
    return results


def _kind(given: Any) -> TargetKind | None:
    known: tuple[TargetKind, ...] = get_args(TargetKind)
    if given is not None and given not in known:
        raise UserError(f"Config key kind is {given!r}", expected=f"one of {', '.join(known)}, or null", mend=nearest(str(given), known) or "correct kind")
    return given


def _kind_of(outcome: pl.Series) -> TargetKind:
    return "binary" if set(outcome.drop_nulls().unique().to_list()) <= {0.0, 1.0} else "continuous"


def _on_trial(table: pl.DataFrame) -> str:
    """The model on trial: the table's nameless one, ours, or the only one.

    Raises:
        UserError: several models, and none is called ``equipoise``.
    """
    models = table["model"].unique(maintain_order=True).to_list()
    for name in (FOREIGN_MODEL, MODEL):
        if name in models:
            return name
    if len(models) > 1:
        raise UserError(
            "The predictions table does not say which model is on trial",
            expected=f"one model, or one that is called {MODEL!r}",
            found=", ".join(models[:8]),
            mend=f"call the model on trial {MODEL!r} in column model; the others are compared with",
        )
    return str(models[0])


def _refuse_overwriting(path: Path, folder: Path) -> None:
    """A run's own results, and the user's file, are not written over."""
    if (folder / "config.yaml").exists():
        raise UserError(f"The run folder {folder} holds a run", mend="give another run_dir; a finished run is judged again by run_dir=RUN alone")
    if path.resolve() == (folder / "predictions.parquet").resolve():
        raise UserError(f"The predictions table {path} would be written over", mend="give another run_dir, or rename the table")


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise UserError(f"There is no predictions table {path}", mend="give predictions=FILE, a Parquet or CSV file")
    try:
        return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError, ValueError) as e:
        raise UserError(f"Predictions table {path} cannot be read", found=str(e).splitlines()[0], mend="save it as Parquet or CSV") from e


def _held_out(table: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The rows to judge, and a sentence about the others: where a table names roles, rows that taught, selected or recalibrated are none of them.

    Raises:
        UserError: roles are named, and no row is held out.
    """
    kept = table.filter(pl.col("role").is_null() | (pl.col("role") == "held_out"))
    if kept.is_empty():
        found = ", ".join(map(str, table["role"].drop_nulls().unique().sort().to_list()))
        raise UserError("The predictions table has no held-out row", found=f"role {found}", mend="give rows of role held_out, or leave the column role out")
    n = table.height - kept.height
    return kept, f" {n} lines of other roles than held_out were left out." if n else ""


def _complete(table: pl.DataFrame, columns: Mapping[str, str], kind: TargetKind | None) -> pl.DataFrame:
    """A foreign table has no model column; one of Equipoise's own is only validated."""
    own = "model" in table.columns and not columns and "risk" in table.columns
    return validated(table) if own else from_foreign(table, columns, model=FOREIGN_MODEL, kind=kind)

"""Puts a predictions table that Equipoise did not make through the same trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from equipoise.contract.errors import UserError
from equipoise.contract.tables import MODEL
from equipoise.judge import predictions_hash
from equipoise.record import commit, config_hash, versions, write_json
from equipoise.report import write_report
from equipoise.trial.evaluate import evaluate
from equipoise.trial.protocol import protocol_of
from equipoise.trial.table import from_foreign, validated


def evaluate_foreign(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Evaluates ``config["predictions"]`` and writes results.json and report.html into the run folder.

    The table needs subject_id, outcome, risk; wide columns ``comparator_<name>`` are the methods to compare with, all of them required. An outcome
    of 0 and 1 is binary, any other number continuous.

    Raises:
        UserError: the file is missing, cannot be read, or lacks a column.
    """
    path = Path(str(config["predictions"])).expanduser()
    table, left_out = _held_out(_complete(_read(path)))
    values = table["outcome"].drop_nulls()
    kind = "binary" if set(values.unique().to_list()) <= {0.0, 1.0} else "continuous"
    required = [m for m in table["model"].unique(maintain_order=True) if m != MODEL]
    results = evaluate(table, protocol_of(config["trial"]), kind=kind, task=str(table["task"][0]), required=required, role="held_out", opening=None)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "results.json", results)
    context = {
        "name": path.stem,
        "command": f"equipoise evaluate predictions={path.name}",
        "versions": versions(),
        "commit": commit(),
        "config_hash": config_hash(config),
        "ledger_note": f"A table judged from a file (hash {predictions_hash(table)}): no seal was kept over these rows.{left_out}",
    }
    write_report(folder, json.loads((folder / "results.json").read_text()), context)
    print(f"report: {folder / 'report.html'}")
    return results


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


def _complete(table: pl.DataFrame) -> pl.DataFrame:
    """A foreign table has no model column; one of Equipoise's own is only validated."""
    return validated(table) if "model" in table.columns else from_foreign(table)

"""From predictions to results and their page: the seal, the trial, the report, and the claims by which a second person can check them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.seal import hash_of_rows, open_held_out, records
from equipoise.contract.tables import MODEL, SCENARIO_ALL
from equipoise.record import config_hash, write_json
from equipoise.rehearsed import ledger_note
from equipoise.report import write_report, written
from equipoise.trial.claims import claims_of, results_of, sha256, versions
from equipoise.trial.protocol import Protocol, protocol_of
from equipoise.trial.site_summary import FILE, site_summary

log = logging.getLogger("equipoise.judge")

SEALED = "held_out_rows.parquet"
"""In a cross-validation's folder: which of the rows it judged are the cohort's held-out ones."""


def cohort_facts(cohort: Cohort) -> dict[str, Any]:
    kept = ("hash", "sources", "flow", "roles", "counts", "n_rows", "n_subjects")
    evidences = {e: cohort.kind_of(e) for e in cohort.evidences}
    role = cohort.rows["role"].fill_null("to predict").to_numpy()
    presence = {e: {str(r): float(cohort.present_in(e)[role == r].mean()) for r in np.unique(role)} for e in cohort.evidences}
    units = {name: t["unit"] for name, t in cohort.manifest["targets"].items()}
    return {k: cohort.manifest[k] for k in kept} | {
        "evidences": evidences,
        "presence": presence,
        "units": units,
        "n_sites": int(cohort.rows["site"].n_unique()),
    }


def predictions_hash(table: pl.DataFrame) -> str:
    """Hash of what was predicted, in row order, without outcomes."""
    kept = table.select("model", "task", "scenario", "repeat", "fold", "subject_id", "target", "risk", "lo", "hi")
    return hashlib.sha256(kept.write_csv().encode()).hexdigest()[:16]


def open_seal(
    config: Mapping[str, Any],
    cohort_hash: str,
    table: pl.DataFrame,
    role: str,
    held_out: pl.DataFrame | None = None,
    rehearsal: Mapping[str, Any] | None = None,
) -> int | None:
    """Records that these rows are looked at and says for which time, declared earlier ones counted in; None for select rows, which are sealed from nothing.

    A cross-validation looks at every row, so it opens the cohort's held-out rows too, and how often its rows were judged is how many configurations
    were tried on these folds.

    Args:
        config: the run's; its protocol judges.
        cohort_hash: whose rows.
        table: the predictions, with outcomes.
        role: whose rows are judged: held_out, select or cross-validation.
        held_out: subject_id and prediction_time of the cohort's held-out rows, for a cross-validation.
        rehearsal: what was rehearsed before; its hash and time stand in the ledger's line.
    """
    if role == "select":
        return None
    numbers = []
    for judged in _judged(table):
        sealed = [] if held_out is None else [judged.join(held_out, on=["subject_id", "prediction_time"], how="semi", nulls_equal=True)]
        numbers += [
            open_held_out(
                ledger_of(config),
                rows_hash=hash_of_rows(_known_of(rows)),
                cohort_hash=cohort_hash,
                protocol_hash=protocol_of(config["trial"]).hash,
                config_hash=config_hash(config),
                predictions_hash=predictions_hash(table),
                note=ledger_note(rehearsal),
            )
            for rows in (judged, *sealed)
            if not rows.is_empty()
        ]
    return max(numbers, default=0) + int(config["served_before"])


def sealed_rows(folder: Path) -> pl.DataFrame | None:
    """The cohort's held-out rows that a cross-validation in this run folder looked at, subject_id and prediction_time; None for any other run."""
    return pl.read_parquet(folder / SEALED) if (folder / SEALED).is_file() else None


def ledger_of(config: Mapping[str, Any]) -> Path:
    """The folder of the ledgers that a config names."""
    return Path(config["paths"]["ledger"]).expanduser().resolve()


def seal_record(config: Mapping[str, Any], cohort_hash: str, table: pl.DataFrame, role: str, opening: int | None) -> dict[str, Any]:
    """What claims.json says of the seal: the number of the opening, and the ledger's lines about it (rows, cohort, protocol, config, predictions, time)."""
    if role == "select":
        return {"kept": False, "why": "select rows are sealed from nothing"}
    of = {"cohort": cohort_hash, "protocol": protocol_of(config["trial"]).hash, "config": config_hash(config), "predictions": predictions_hash(table)}
    return {"kept": True, "opening": opening, "served_before": int(config["served_before"]), "ledger": records(ledger_of(config), of)}


def rows_hashes(table: pl.DataFrame) -> set[str]:
    """The hashes of each question's judged rows and their outcomes: what their ledgers are named by."""
    return {hash_of_rows(_known_of(rows)) for rows in _judged(table)}


def _judged(table: pl.DataFrame) -> list[pl.DataFrame]:
    """The model's own lines, one frame a task."""
    own = table.filter((pl.col("model") == MODEL) & (pl.col("scenario") == SCENARIO_ALL))
    return [own.filter(pl.col("task") == task) for task in own["task"].unique().to_list()]


def _known_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows and what is known of their outcome; by a horizon an outcome depends on the model's horizons, so there the times stand for it."""
    timed = pl.col("event").fill_null(-1) >= 0
    outcome = pl.when(timed).then(None).otherwise(pl.col("outcome")).alias("outcome")
    return rows.select("subject_id", "prediction_time", outcome, "time_days", "event", "treatment")


def judge(
    config: Mapping[str, Any],
    folder: Path,
    manifest: dict[str, Any],
    table: pl.DataFrame,
    notes: dict[str, Any],
    opening: int | None,
    *,
    predictions: Path | None = None,
) -> dict[str, Any]:
    """Judges a run's predictions and writes what `publish` writes.

    Args:
        config: the run's; its protocol judges.
        folder: where the results go.
        manifest: of the run.
        table: the predictions.
        notes: of the run.
        opening: from `open_seal`.
        predictions: where the table lies; None: in the folder.
    """
    asked = [
        {
            "kind": question["kind"],
            "task": question["task"],
            "required": notes["required"],
            "role": notes["role"],
            "opening": opening,
            "classes": list(question["classes"]),
            "unit": notes["cohort"]["units"].get(question["target"], ""),
            "target": question["target"],
            "not_run": notes["not_run"],
            "interval": interval_of(notes["prediction"], question),
            "sets": sets_of(notes["prediction"], question),
        }
        for question in notes["questions"]
    ]
    seal = seal_record(config, str(notes["cohort"]["hash"]), table, str(notes["role"]), opening)
    return publish(
        folder,
        table,
        protocol_of(config["trial"]),
        asked,
        predictions=predictions or folder / "predictions.parquet",
        seal=seal,
        context=_context(config, folder, manifest, notes, opening) | {"rehearsal": _rehearsal(notes.get("rehearsal"), config, seal)},
        site=config["site"],
    )


def interval_of(prediction: Mapping[str, Any], question: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the predictions' manifest says of ``lo`` and ``hi``: conformal ones of a continuous outcome go before those of its mean."""
    conformal = (prediction.get("conformal") or {}).get(question["task"])
    found: dict[str, Any] | None = conformal if conformal and question["kind"] == "continuous" else prediction.get("interval")
    return found


def sets_of(prediction: Mapping[str, Any], question: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the predictions' manifest says of a question's conformal sets; None where it has none."""
    return (prediction.get("conformal") or {}).get(question["task"]) if question["kind"] in ("binary", "multiclass") else None


def publish(
    folder: Path,
    table: pl.DataFrame,
    protocol: Protocol,
    asked: Sequence[Mapping[str, Any]],
    *,
    predictions: Path,
    seal: Mapping[str, Any],
    context: Mapping[str, Any],
    site: str | None,
) -> dict[str, Any]:
    """Puts predictions through the trial; writes results, context, what `write_report` writes, and last claims.json, for `equipoise verify`.

    Args:
        folder: where they go.
        table: the predictions.
        protocol: how to judge.
        asked: for each question the keywords of `trial.evaluate`.
        predictions: the file that holds the table.
        seal: what the claims say of the seal.
        context: what the page says besides the results.
        site: a name under which the aggregates are written for `equipoise pool`; None: they are not.

    Returns:
        results.json's content.
    """
    for one in asked:
        log.info("evaluating %s on %s rows", one["task"], one["role"])
    judged = results_of(table, protocol, asked)
    summary = site_summary(judged, table, site=site) if site else None  # a name that is refused is refused before anything is written
    write_json(folder / "results.json", judged)
    write_json(folder / "context.json", context)
    results, context = (json.loads((folder / name).read_text()) for name in ("results.json", "context.json"))
    write_report(folder, results, context)
    if summary:
        write_json(folder / FILE, summary)
    else:
        (folder / FILE).unlink(missing_ok=True)
    claims = claims_of(
        results,
        asked,
        seal=seal,
        predictions={"path": os.path.relpath(predictions, folder), "sha256": sha256(predictions.read_bytes()), "lines": table.height},
        files={name: sha256((folder / name).read_bytes()) for name in published(folder)},
        versions=versions(),
    )
    write_json(folder / "claims.json", claims)
    log.info("%s", results.get("verdict_detail", {}).get("sentence", ""))
    return dict(results)


def published(folder: Path) -> list[str]:
    """What `publish` wrote into a folder beside claims.json, by name relative to it."""
    return ["results.json", "context.json", *([FILE] if (folder / FILE).is_file() else []), *written(folder)]


def _context(config: Mapping[str, Any], folder: Path, manifest: dict[str, Any], notes: dict[str, Any], opening: int | None) -> dict[str, Any]:
    kept = ("command", "started", "versions", "commit", "config_hash", "config_yaml")
    context = {k: manifest.get(k) for k in kept}
    if manifest.get("started"):
        context["seconds"] = manifest.get("seconds") or (datetime.now(UTC) - datetime.fromisoformat(manifest["started"])).total_seconds()
    return context | {
        "name": config["name"],
        "device": config["trainer"].get("accelerator"),
        "seeds": [int(config["seed"]) + i for i in range(int(config["members"]))],
        "members": int(config["members"]),
        "n_parameters": max((t.get("n_parameters") or 0 for t in notes["training"]), default=None),
        "cohort": notes["cohort"],
        "presence": notes["cohort"]["presence"],
        "opening": opening,
        "benchmark_note": config["remark"],
        "statements": {k: v for k, v in config["statements"].items() if v},
        "not_run": notes["not_run"],
        "comparator_notes": notes["comparators"],
        "calibration": notes["prediction"].get("calibration"),
        "n_calibrate": notes.get("n_calibrate"),
        "training": notes["training"],
        "pretrained": notes.get("pretrained", []),
        "reader_notes": notes["prediction"].get("reader_notes", {}),
        "interval": interval_of(notes["prediction"], notes["questions"][0]),
        "tuned": [t["chosen"] for t in notes["tuned"]],
    }


def _rehearsal(found: Mapping[str, Any] | None, config: Mapping[str, Any], seal: Mapping[str, Any]) -> dict[str, Any] | None:
    """The rehearsal of this protocol, and whether the ledger's line of the opening names it: only then is it known to have come first."""
    if not found or found["protocol_hash"] != protocol_of(config["trial"]).hash:
        return None
    return {**found, "in_ledger": any(line.get("rehearsal") == found["hash"] for line in seal.get("ledger", []))}


def log_results(loggers: list[Any], results: Mapping[str, Any]) -> None:
    """Endpoints to the loggers: aggregates only."""
    role = str(results.get("role", "held_out"))
    metrics = {f"{role}/{name}": e["value"] for name, e in results.get("endpoints", {}).items() if e.get("value") is not None}
    for logger in loggers:
        logger.log_metrics(metrics)

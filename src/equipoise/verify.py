"""Checks a report: computes every number again from the predictions, makes page and tables again, and holds the seal against the ledger. No torch."""

from __future__ import annotations

import inspect
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from equipoise.contract.errors import UserError
from equipoise.judge import published
from equipoise.ledger_check import ledgers_of, seal_findings
from equipoise.predict_table import read_predictions
from equipoise.record import write_json
from equipoise.report import write_report, written
from equipoise.report.reread import csv_differences, line_differences, page_differences
from equipoise.trial.agreement import ABSENT, TOLERANCE, Difference, agreement
from equipoise.trial.claims import SCHEMA, claims_of, results_of, sha256, versions
from equipoise.trial.evaluate import evaluate
from equipoise.trial.protocol import protocol_of

SHOWN = 20
"""Of each file at most so many differences are printed."""


@dataclass
class Findings:
    """What verifying found.

    Args:
        differences: where the record and the recomputation differ; none: verified.
        notes: what could not be checked, and what else the reader should know.
        summary: what was checked.
    """

    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)


def verify(names: Sequence[str]) -> int:
    """Verifies one report and prints what was found.

    Args:
        names: exactly one: a run folder, its report.html, or its claims.json.

    Returns:
        The exit code: 0 verified, 1 not verified.

    Raises:
        UserError: not one name, there is no such report, or a file that is needed is missing.
    """
    folder = _folder_of(names)
    found = check(folder)
    print(f"{'NOT VERIFIED' if found.differences else 'verified'}: {folder / 'report.html'}")
    for line in found.summary:
        print(f"  {line}")
    by_file: dict[str, list[Difference]] = {}
    for difference in found.differences:
        by_file.setdefault(difference.where.partition(":")[0], []).append(difference)
    for own in by_file.values():
        for difference in own[:SHOWN]:
            print(f"  {difference}")
        if len(own) > SHOWN:
            print(f"  and {len(own) - SHOWN} more in {own[0].where.partition(':')[0]}")
    for note in found.notes:
        print(f"  note: {note}")
    return 1 if found.differences else 0


def _folder_of(names: Sequence[str]) -> Path:
    if len(names) != 1:
        raise UserError("`equipoise verify` takes one report", found=f"{len(names)} names", mend="give a run folder, its report.html or its claims.json")
    path = Path(names[0]).expanduser()
    if not path.exists():
        raise UserError(f"There is no {path}", mend="give a run folder, its report.html or its claims.json")
    if path.is_file() and path.name not in ("report.html", "claims.json"):
        raise UserError(f"{path} is no report", expected="a run folder, its report.html or its claims.json", mend="give one of these")
    folder = path if path.is_dir() else path.parent
    for needed in ("claims.json", "results.json", "context.json", "report.html"):
        if not (folder / needed).is_file():
            mend = "write them by `equipoise evaluate run_dir=RUN`" if needed in ("claims.json", "context.json") else "copy the whole run folder"
            raise UserError(f"{folder} holds no {needed}", expected="claims.json, results.json, context.json, report.html and tables/ of a report", mend=mend)
    return folder


def check(folder: Path) -> Findings:
    """Verifies the report in a folder; nothing in it is changed.

    Args:
        folder: with claims.json, results.json, context.json, report.html and tables/; claims.json says where predictions.parquet lies.

    Raises:
        UserError: the predictions are missing, a file cannot be read, or it is of another version of Equipoise.
    """
    began = time.perf_counter()
    claims, results, context = (_read(folder / name) for name in ("claims.json", "results.json", "context.json"))
    _refuse_unknown(claims, folder)
    at = folder / claims["predictions"]["path"]
    if not at.is_file():
        raise UserError(f"The predictions table {at} is gone", expected="the table from which the report was made", mend="put it back; claims.json says where")
    table = read_predictions(at)
    found = Findings()
    with tempfile.TemporaryDirectory(prefix="equipoise-verify-") as made:
        again = Path(made)
        try:
            protocol = protocol_of({k: v for k, v in claims["protocol"].items() if k != "hash"})
            asked = [question["asked"] for question in claims["questions"]]
            write_json(again / "results.json", results_of(table, protocol, asked))
        except UserError as e:
            found.differences.append(Difference("claims.json", "a trial", f"{ABSENT}, because it cannot be repeated: {e}"))
            return found
        tried = time.perf_counter()
        held = agreement(results, _read(again / "results.json"), "results.json")
        found.differences += held.differences
        _check_claims(folder, claims, held.value, asked, at, table, found)
        write_report(again, held.value, context)
        rendered = _check_files(folder, again, claims, found)
    differences, notes = seal_findings(claims, table, ledgers_of(folder))
    found.differences += differences
    found.notes += notes
    _say_versions(claims, found)
    equal = "to the last digit" if not held.largest else f"within {TOLERANCE:g} (largest relative difference {held.largest:.1g})"
    if not held.differences:
        found.summary.append(f"{held.numbers:,} numbers computed again from {table.height:,} lines of predictions, equal {equal}")
    found.summary.append(rendered)
    ended = time.perf_counter()
    found.summary.append(f"{ended - began:.1f} s: {tried - began:.1f} s for the trial, {ended - tried:.1f} s for the page")
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{path} cannot be read", found=str(e).splitlines()[0], mend="copy the whole run folder again") from e
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no record", mend="copy the whole run folder again")
    return content


def _refuse_unknown(claims: Mapping[str, Any], folder: Path) -> None:
    """Claims that this version cannot read: of another schema, or with questions that `evaluate` does not know."""
    known = set(inspect.signature(evaluate).parameters)
    needed = {"schema", "protocol", "seal", "predictions", "questions", "files", "versions"}
    asked = [q.get("asked", {}) for q in claims.get("questions") or []]
    if claims.get("schema") != SCHEMA or not needed <= set(claims) or not asked or any(set(a) - known for a in asked):
        made = (claims.get("versions") or {}).get("equipoise", "another version")
        raise UserError(
            f"{folder / 'claims.json'} cannot be read by this version",
            expected=f"schema {SCHEMA} with {', '.join(sorted(needed))}",
            found=f"schema {claims.get('schema')}, made by equipoise {made}",
            mend="verify with the version that made it",
        )


def _check_claims(
    folder: Path, claims: Mapping[str, Any], results: Mapping[str, Any], asked: list[dict[str, Any]], at: Path, table: pl.DataFrame, found: Findings
) -> None:
    """The claims as they would be written from the recomputed results and the files that lie there: equal to the digit."""
    files = {name: sha256((folder / name).read_bytes()) for name in published(folder)}
    predictions = {"path": claims["predictions"]["path"], "sha256": sha256(at.read_bytes()), "lines": table.height}
    made = claims_of(results, asked, seal=claims["seal"], predictions=predictions, files=files, versions=claims["versions"])
    found.differences += agreement(claims, json.loads(json.dumps(made)), "claims.json", tolerance=0).differences


def _check_files(folder: Path, again: Path, claims: Mapping[str, Any], found: Findings) -> str:
    """Page, pack and tables beside those made again; returns what was compared."""
    drawings = claims["versions"].get("matplotlib") == versions()["matplotlib"]
    names = sorted({name for at in (folder, again) for name in written(at)})
    for name in names:
        one, other = ((at / name).read_text(encoding="utf-8") if (at / name).is_file() else None for at in (folder, again))
        if one is None or other is None:
            found.differences.append(Difference(name, *("a file" if t is not None else ABSENT for t in (one, other))))
        elif name.endswith(".html"):
            found.differences += page_differences(name, one, other, drawings=drawings)
        else:
            found.differences += (csv_differences if name.endswith(".csv") else line_differences)(name, one, other)
    if not drawings:
        found.notes.append(f"figures were drawn by matplotlib {claims['versions'].get('matplotlib')}: they were not compared stroke by stroke")
    return f"report.html and {len(names) - 1} files beside it made again and compared"


def _say_versions(claims: Mapping[str, Any], found: Findings) -> None:
    here = versions()
    other = [f"{name} {v} (here {here.get(name)})" for name, v in claims["versions"].items() if here.get(name) != v]
    if other:
        found.notes.append(f"the report was made with {', '.join(other)}")

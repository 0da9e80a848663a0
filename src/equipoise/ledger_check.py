"""Holds the seal record of a report against its predictions, and against the ledger where that is on this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from equipoise.cohort.seal import HASHES, openings
from equipoise.judge import predictions_hash, rows_hashes
from equipoise.places import configs_dir
from equipoise.trial.agreement import ABSENT, Difference

NOT_HERE = "the ledger is not on this machine: the seal record could not be checked"
_AT = "claims.json: seal"


def ledgers_of(folder: Path) -> list[Path]:
    """Where the ledger of a run may lie: as its own config says, and as this machine's does."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    found = []
    places = [(folder / "config.yaml", "paths.ledger"), (folder.parent / "config.yaml", "paths.ledger"), (configs_dir() / "paths" / "default.yaml", "ledger")]
    for path, key in places:
        try:
            named = OmegaConf.select(OmegaConf.load(path), key) if path.is_file() else None
        except (OmegaConfBaseException, OSError, ValueError):
            continue
        if named:
            found.append(Path(str(named)).expanduser().resolve())
    return list(dict.fromkeys(found))


def seal_findings(claims: Mapping[str, Any], table: pl.DataFrame, ledgers: Sequence[Path]) -> tuple[list[Difference], list[str]]:
    """What the seal record says wrongly, and what should be known about it.

    Args:
        claims: of claims.json.
        table: the predictions.
        ledgers: folders in which the ledger may lie.

    Returns:
        Differences, and notes.
    """
    seal = claims["seal"]
    if not seal.get("kept"):
        seen = sum(len(openings(ledger, rows)) for rows in sorted(rows_hashes(table)) for ledger in ledgers)
        return [], [str(seal.get("why", "no seal was kept"))] + ([f"the ledger here holds {seen} openings of these rows"] if seen else [])
    lines = [line for line in seal.get("ledger", []) if all(re.fullmatch(r"[0-9a-f]{6,128}", str(line.get(name))) for name in HASHES)]
    if not lines:
        return [], ["claims.json holds no line of the ledger: the seal record could not be checked"]
    wrong = _against_predictions(claims, lines, table)
    notes: list[str] = []
    for line in lines:
        past = [entry for ledger in ledgers for entry in openings(ledger, line["rows"])]
        own = [entry for entry in past if all(entry.get(name) == line[name] for name in HASHES)]
        if not past:
            notes.append(NOT_HERE)
            continue
        if line not in own:
            recorded = ", ".join(f"opening {entry['opening']} of {entry.get('at')}" for entry in own) or "no such opening in the ledger"
            wrong.append(Difference(_AT, f"opening {line.get('opening')} of {line.get('at')}", recorded))
            continue
        last = max(int(entry["opening"]) for entry in past)
        since = f"; by now these rows were opened {last} times" if last > int(line["opening"]) else ""
        notes.append(f"the ledger holds opening {line['opening']} of {line.get('at')}{since}")
    return wrong, list(dict.fromkeys(notes))


def _against_predictions(claims: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], table: pl.DataFrame) -> list[Difference]:
    """The record's hashes and its number beside what the predictions and the protocol give."""
    seal, made = claims["seal"], predictions_hash(table)
    wrong = []
    for line in lines:
        wrong += [
            Difference(f"{_AT}.{name}", str(line[name]), right)
            for name, right in (("predictions", made), ("protocol", str(claims["protocol"].get("hash"))))
            if line[name] != right
        ]
    lacking = rows_hashes(table) - {line["rows"] for line in lines}
    wrong += [Difference(f"{_AT}.rows", ABSENT, rows) for rows in sorted(lacking)]
    number = max(int(line.get("opening", 0)) for line in lines) + int(seal.get("served_before") or 0)
    said = {"seal": seal.get("opening")} | {f"questions.{i}.asked": q["asked"].get("opening") for i, q in enumerate(claims["questions"])}
    wrong += [Difference(f"claims.json: {place}.opening", str(k), str(number)) for place, k in said.items() if k != number]
    return wrong

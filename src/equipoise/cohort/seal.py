"""The seal: every opening of held-out rows is written down, over all runs and sweeps. A record and a deterrent, not security.

A ledger belongs to rows and their outcomes, not to a cohort: a cohort built again with another range or another code list has another hash,
but whoever judged its held-out rows before has seen them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import polars as pl

from equipoise.contract.errors import UserError

HASHES = ("rows", "cohort", "protocol", "config", "predictions")
_HASH = re.compile(r"[0-9a-f]{6,128}")


def hash_of_rows(rows: pl.DataFrame) -> str:
    """16 hex digits of rows and their outcomes, whatever the order: what a ledger is named by.

    Args:
        rows: subject_id, prediction_time, and what is known of the outcome.
    """
    return hashlib.sha256(rows.unique().sort(rows.columns).write_csv().encode()).hexdigest()[:16]


def open_held_out(
    ledger_dir: Path, *, rows_hash: str, cohort_hash: str, protocol_hash: str, config_hash: str, predictions_hash: str, note: Mapping[str, str] | None = None
) -> int:
    """Records that these held-out rows are looked at, and says for which time.

    Args:
        ledger_dir: where ledgers lie, one file a set of rows; made when absent.
        rows_hash: of the rows and their outcomes (see `hash_of_rows`).
        cohort_hash: whose rows.
        protocol_hash: by which protocol they are judged.
        config_hash: of the run's config.
        predictions_hash: of the predictions table.
        note: what else the line says, such as the rehearsal that came before; it is no part of what makes an opening new.

    Returns:
        k >= 1, the number of this opening. The same hashes again are a repetition and keep their number.

    Raises:
        UserError: the ledger cannot be read or written.
        ValueError: something other than a hash was given (no path and no name may reach the ledger).
    """
    entry = dict(zip(HASHES, (rows_hash, cohort_hash, protocol_hash, config_hash, predictions_hash), strict=True))
    for name, value in entry.items():
        if not _HASH.fullmatch(value):
            raise ValueError(f"the {name} hash is not a lower-case hexadecimal number")
    path = ledger_dir / f"{rows_hash}.jsonl"
    with _locked(path) as ledger:
        past = _read(ledger.read().decode(), path)
        for line in past:
            if all(line.get(name) == value for name, value in entry.items()):
                return int(line["opening"])
        k = 1 + max((int(line["opening"]) for line in past), default=0)
        line = {"opening": k, "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), **entry, **(note or {})}
        ledger.seek(0, os.SEEK_END)
        ledger.write((json.dumps(line) + "\n").encode())
        ledger.flush()
        os.fsync(ledger.fileno())
        return k


def openings(ledger_dir: Path, rows_hash: str) -> list[dict[str, Any]]:
    """The openings of these rows so far, in order; none when there is no ledger.

    Raises:
        UserError: the ledger is damaged.
    """
    path = ledger_dir / f"{rows_hash}.jsonl"
    return _read(path.read_text(), path) if path.exists() else []


def records(ledger_dir: Path, hashes: Mapping[str, str]) -> list[dict[str, Any]]:
    """The openings with these hashes in any ledger of a folder: one for each set of rows that was opened at once.

    Args:
        ledger_dir: where ledgers lie; it may be missing.
        hashes: some of `HASHES`, by name.
    """
    found = []
    for path in sorted(ledger_dir.glob("*.jsonl")):
        text = path.read_text()
        # Ledgers of other rows are passed over unread: what is damaged in one of them is no matter here.
        if all(value in text for value in hashes.values()):
            found += [line for line in _read(text, path) if all(line.get(name) == value for name, value in hashes.items())]
    return found


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """The ledger, opened for reading and appending, under a lock that ends with the process that holds it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ledger = path.open("a+b")
    except OSError as e:
        raise UserError(f"The ledger {path} cannot be written", found=str(e), mend="set paths.ledger to a folder that you may write to") from e
    with ledger:
        fcntl.flock(ledger, fcntl.LOCK_EX)
        ledger.seek(0)
        yield ledger


def _read(text: str, path: Path) -> list[dict[str, Any]]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            entry = json.loads(line)
            int(entry["opening"])
        except (ValueError, TypeError, KeyError) as e:
            raise UserError(
                f"Line {number} of the ledger {path} is damaged", found=line[:60], mend="restore the file; it says how often rows were opened"
            ) from e
        found.append(entry)
    return found

"""The ledger of openings."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from equipoise.cohort.seal import open_held_out, openings
from equipoise.contract.errors import UserError

COHORT = "0123456789abcdef"


def opened(ledger: Path, predictions: str, protocol: str = "aa" * 8) -> int:
    return open_held_out(ledger, cohort_hash=COHORT, protocol_hash=protocol, config_hash="bb" * 8, predictions_hash=predictions)


def test_openings_are_numbered_and_a_repetition_keeps_its_number(tmp_path: Path) -> None:
    assert opened(tmp_path / "new" / "ledger", "c1" * 8) == 1
    ledger = tmp_path / "new" / "ledger"
    assert opened(ledger, "c2" * 8) == 2
    assert opened(ledger, "c1" * 8) == 1
    assert opened(ledger, "c1" * 8, protocol="dd" * 8) == 3
    assert [line["opening"] for line in openings(ledger, COHORT)] == [1, 2, 3]
    assert openings(ledger, "ff" * 8) == []


def test_a_ledger_line_holds_hashes_and_a_time_only(tmp_path: Path) -> None:
    opened(tmp_path, "c1" * 8)
    (line,) = openings(tmp_path, COHORT)
    assert set(line) == {"opening", "at", "cohort", "protocol", "config", "predictions"}
    with pytest.raises(ValueError, match="not a lower-case hexadecimal"):
        opened(tmp_path, "/home/somebody/predictions.parquet")


def _open(ledger: Path, number: int) -> None:
    opened(ledger, f"{number:016x}")


def test_openings_at_once_get_different_numbers(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=_open, args=(tmp_path, i)) for i in range(8)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert sorted(line["opening"] for line in openings(tmp_path, COHORT)) == list(range(1, 9))


def test_a_damaged_ledger_is_not_counted_over(tmp_path: Path) -> None:
    opened(tmp_path, "c1" * 8)
    with (tmp_path / f"{COHORT}.jsonl").open("a") as f:
        f.write('{"opening": 2, "at"')
    with pytest.raises(UserError, match="Line 2 of the ledger"):
        opened(tmp_path, "c2" * 8)

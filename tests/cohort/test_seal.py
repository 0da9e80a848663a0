"""The ledger of openings."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import polars as pl
import pytest

from equipoise.cohort.seal import hash_of_rows, open_held_out, openings
from equipoise.contract.errors import UserError

ROWS = "0123456789abcdef"


def opened(ledger: Path, predictions: str, protocol: str = "aa" * 8, cohort: str = "ee" * 8) -> int:
    return open_held_out(ledger, rows_hash=ROWS, cohort_hash=cohort, protocol_hash=protocol, config_hash="bb" * 8, predictions_hash=predictions)


def test_openings_are_numbered_and_a_repetition_keeps_its_number(tmp_path: Path) -> None:
    assert opened(tmp_path / "new" / "ledger", "c1" * 8) == 1
    ledger = tmp_path / "new" / "ledger"
    assert opened(ledger, "c2" * 8) == 2
    assert opened(ledger, "c1" * 8) == 1
    assert opened(ledger, "c1" * 8, protocol="dd" * 8) == 3
    assert opened(ledger, "c1" * 8, cohort="ab" * 8) == 4  # the same rows in a cohort built anew have been seen all the same
    assert [line["opening"] for line in openings(ledger, ROWS)] == [1, 2, 3, 4]
    assert openings(ledger, "ff" * 8) == []


def test_a_ledger_line_holds_hashes_and_a_time_only(tmp_path: Path) -> None:
    opened(tmp_path, "c1" * 8)
    (line,) = openings(tmp_path, ROWS)
    assert set(line) == {"opening", "at", "rows", "cohort", "protocol", "config", "predictions"}
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
    assert sorted(line["opening"] for line in openings(tmp_path, ROWS)) == list(range(1, 9))


def test_a_damaged_ledger_is_not_counted_over(tmp_path: Path) -> None:
    opened(tmp_path, "c1" * 8)
    with (tmp_path / f"{ROWS}.jsonl").open("a") as f:
        f.write('{"opening": 2, "at"')
    with pytest.raises(UserError, match="Line 2 of the ledger"):
        opened(tmp_path, "c2" * 8)


def test_the_hash_of_rows_knows_their_outcomes_and_not_their_order() -> None:
    rows = pl.DataFrame({"subject_id": ["a", "b", "c"], "outcome": [0.0, 1.0, None]})
    assert hash_of_rows(rows) == hash_of_rows(rows[[2, 0, 1, 1]])
    assert hash_of_rows(rows) != hash_of_rows(rows.with_columns(pl.lit(0.0).alias("outcome")))
    assert hash_of_rows(rows) != hash_of_rows(rows[:2])

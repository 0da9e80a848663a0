"""A record held against its recomputation: what is the same number, and what is not."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from equipoise.trial.agreement import agreement

RECORD: dict[str, Any] = {"a": {"value": 0.8613, "lo": None, "n": 120, "words": "DeLong", "p": 1.2e-7}, "list": [1.5, -2.25, 0], "yes": True}


def test_equal_records_agree_to_the_last_digit() -> None:
    found = agreement(RECORD, copy.deepcopy(RECORD), "results.json")
    assert (found.differences, found.largest, found.numbers) == ([], 0.0, 6)
    assert found.value == RECORD


def test_rounding_of_another_build_is_the_same_number_and_the_written_one_is_kept() -> None:
    other = copy.deepcopy(RECORD)
    other["a"]["value"] *= 1 + 3e-16 * 4
    other["list"][2] = 1e-17
    found = agreement(RECORD, other, "results.json")
    assert found.differences == []
    assert 0 < found.largest <= 1
    assert found.value == RECORD
    assert agreement(RECORD, other, "claims.json", tolerance=0).differences != []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda r: r["a"].update(value=0.8614), "results.json: a.value"),
        (lambda r: r["a"].update(p=1.3e-7), "results.json: a.p"),
        (lambda r: r["a"].update(lo=0.0), "results.json: a.lo"),
        (lambda r: r["a"].update(words="Wald"), "results.json: a.words"),
        (lambda r: r["a"].pop("n"), "results.json: a.n"),
        (lambda r: r["a"].update(more=1), "results.json: a.more"),
        (lambda r: r["list"].append(1), "results.json: list"),
        (lambda r: r.update(yes=1), "results.json: yes"),
        (lambda r: r.update(list={"0": 1.5}), "results.json: list"),
    ],
)
def test_every_change_is_named_by_its_place(change: Any, where: str) -> None:
    printed = copy.deepcopy(RECORD)
    change(printed)
    assert [d.where for d in agreement(printed, RECORD, "results.json").differences] == [where]


def test_one_changed_digit_of_nine_is_found_wherever_it_stands() -> None:
    for value in (0.861234567, 123.456789, 1.20456789e-5, -31.4159265):
        text = f"{value:.9g}"
        for at in (m.start() for m in re.finditer(r"\d", text.partition("e")[0])):
            changed = float(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
            assert agreement({"x": changed}, {"x": float(text)}, "f").differences, (text, changed)

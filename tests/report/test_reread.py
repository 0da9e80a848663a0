"""A page and its tables read back: a changed digit anywhere is found and placed."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest

from equipoise.report.page import page
from equipoise.report.reread import csv_differences, page_differences, pieces_of
from equipoise.report.tables import endpoints_csv
from report.simulated_results import binary_results, context


@cache
def written() -> str:
    return page(results(), context())


@cache
def results() -> dict[str, Any]:
    return binary_results(("linear",), only=("auroc", "log_score"), curves={})


def digit_changed(text: str, at: int) -> str:
    return text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]


def test_a_page_is_the_same_as_itself() -> None:
    assert page_differences("report.html", written(), written(), drawings=True) == []


def test_one_changed_digit_anywhere_in_the_body_is_found() -> None:
    text = written()
    places = [m.start() for m in re.finditer(r"\d", text) if m.start() > text.index("<body>")]
    for at in np.random.default_rng(0).choice(places, 12, replace=False):
        assert page_differences("report.html", digit_changed(text, int(at)), text, drawings=True), text[at - 40 : at + 40]


def test_the_place_is_the_section_and_the_row() -> None:
    text = written()
    cell = re.search(r'<th scope="row">[^/]*AUROC.*?<data[^>]*>[^<\d]*0\.(\d)', text, re.S)
    assert cell is not None
    found = page_differences("report.html", digit_changed(text, cell.start(1)), text, drawings=True)
    assert len(found) == 1
    assert found[0].where.startswith("report.html: Performance, AUROC")
    assert f"0.{cell[1]}" in found[0].recomputed


def test_a_changed_drawing_is_found_where_the_strokes_can_be_compared() -> None:
    text = written()
    stroke = re.search(r'<path d="M (\d)', text)
    assert stroke is not None
    changed = digit_changed(text, stroke.start(1))
    assert len(page_differences("report.html", changed, text, drawings=True)) == 1
    assert page_differences("report.html", changed, text, drawings=False) == []


@pytest.mark.parametrize("drop", ["<p ", "<td", "<svg"])
def test_what_is_missing_is_found(drop: str) -> None:
    text = written()
    at = text.index(drop, text.index("<body>"))
    end = text.index(f"</{drop.strip(' <')}>", at)
    assert page_differences("report.html", text[:at] + text[end:], text, drawings=True)


def test_text_within_drawings_is_no_text_of_the_page() -> None:
    pieces = pieces_of("<body><h2>A</h2><p>x</p><svg><text>y</text></svg></body>")
    assert [p.content for p in pieces.text] == ["A", "x"]
    assert pieces.drawings[0].content == "<svg><text>y</text>"


def test_csv_differences_name_line_and_column() -> None:
    text = endpoints_csv(results())
    at = re.search(r"\d\.\d+", text)
    assert at is not None
    (found,) = csv_differences("tables/endpoints.csv", digit_changed(text, at.end() - 1), text)
    assert found.where == "tables/endpoints.csv: line 2, value"
    assert csv_differences("t.csv", text + "x\n", text)
    assert csv_differences("t.csv", text, text) == []

"""Do intervals and sets hold the outcomes: a table of all rows and of each group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report.finding import Finding
from equipoise.report.markup import Html, esc
from equipoise.report.reading import mapping
from equipoise.report.tables import as_csv, tasks_of
from equipoise.report.text import count, digits_for, digits_of_scale, estimate, finite, percent_plain
from equipoise.report.vocabulary import column_label

COLUMNS = (
    "task", "column", "group", "n", "median_width", "coverage", "coverage_lo", "coverage_hi", "interval_score", "interval_score_lo", "interval_score_hi",
    "set_size", "set_size_lo", "set_size_hi", "method", "note",
)  # fmt: skip


def coverage(finding: Finding) -> Html | str:
    """The table, "" where there is no interval."""
    table = mapping(finding.results, "uncertainty", "by_group")
    groups = mapping(table, "groups")
    if not groups:
        return ""
    shown = [e for own in groups.values() for e in own.values() if "suppressed" not in e]
    of_outcomes = any("coverage" in e for e in shown)
    width = digits_of_scale([e.get("median_width") for e in shown])
    rows: list[list[Any]] = []
    for column, own in groups.items():
        rows += [] if column == "all" else [[column_label(column)]]
        rows += [_row("All rows" if column == "all" else group, entry, width, of_outcomes) for group, entry in own.items()]
    head = ["", "Rows", "Median width", *(["Share of outcomes inside", "Interval score"] if of_outcomes else [])]
    level = percent_plain(table.get("level"))
    caption = f"Interval ({table.get('of')}, level {level}) by group, in {finding.rows_in_words}"
    caption += f", with {finding.level_in_words} intervals." if of_outcomes else "."
    methods = list(dict.fromkeys(str(e["method"]) for e in shown if e.get("method")))
    note = f"Coverage: {'; '.join(methods)}. Interval score: width, plus a penalty for outcomes outside; lower is better." if of_outcomes else ""
    return finding.numbering.table(caption, head, rows, note=note)


def sets(finding: Finding) -> Html | str:
    """The table of conformal sets, "" where there are none."""
    table = mapping(finding.results, "uncertainty", "sets")
    groups = mapping(table, "groups")
    if not groups:
        return ""
    rows: list[list[Any]] = []
    for column, own in groups.items():
        rows += [] if column == "all" else [[column_label(column)]]
        rows += [_set_row("All rows" if column == "all" else group, entry) for group, entry in own.items()]
    caption = f"Conformal sets ({table.get('of')}, level {percent_plain(table.get('level'))}) by group, in {finding.rows_in_words}"
    caption += f", with {finding.level_in_words} intervals."
    without = f" {count(table['without'])} rows have no set: their group had too few calibrate rows, or none." if table.get("without") else ""
    meaning = "A set of two classes of a binary outcome says that the model cannot tell." if finding.kind == "binary" else ""
    return finding.numbering.table(caption, ["", "Rows", "Share of outcomes inside", "Mean size of the set"], rows, note=f"{meaning}{without}".strip())


def _row(name: str, entry: Mapping[str, Any], width: int, of_outcomes: bool) -> list[Any]:
    dash = esc("\N{EN DASH}")
    if "suppressed" in entry:
        return [name, entry["suppressed"], dash, *([dash, dash] if of_outcomes else [])]
    cells: list[Any] = [name, count(entry.get("n")), f"{entry['median_width']:,.{width}f}" if finite(entry.get("median_width")) is not None else dash]
    return cells + [_estimate(entry, key) for key in (("coverage", "interval_score") if of_outcomes else ())]


def _set_row(name: str, entry: Mapping[str, Any]) -> list[Any]:
    dash = esc("\N{EN DASH}")
    if "suppressed" in entry:
        return [name, entry["suppressed"], dash, dash]
    return [name, count(entry.get("n")), _estimate(entry, "coverage"), _estimate(entry, "set_size")]


def _estimate(entry: Mapping[str, Any], key: str) -> Any:
    own = entry.get(key), entry.get(f"{key}_lo"), entry.get(f"{key}_hi")
    return estimate(*own, digits_for(3 if key == "coverage" else digits_of_scale([own[0]]), [own]))


def coverage_csv(results: Mapping[str, Any]) -> str:
    """Every group of all tasks; a hidden one has its reason as the note."""
    lines = [
        {"task": task, "column": column, "group": group, **entry, "note": entry.get("suppressed")}
        for task, own in tasks_of(results)
        for what in ("by_group", "sets")
        for column, groups in mapping(own, "uncertainty", what, "groups").items()
        for group, entry in groups.items()
    ]
    return as_csv(COLUMNS, lines)

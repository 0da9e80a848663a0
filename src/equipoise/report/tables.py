"""The page's numbers as CSV, one line an estimate, at full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from equipoise.report.markup import without_paths
from equipoise.report.reading import dig, mapping

ENDPOINTS = ("task", "model", "scenario", "metric", "value", "lo", "hi", "better", "method", "note")
COMPARISONS = ("task", "comparator", "required", "metric", "difference", "lo", "hi", "p", "better", "method", "note")

VALUE = ("task", "evidence", "where", "gain_of", "metric", "gain", "lo", "hi", "p", "method")


def endpoints_csv(results: Mapping[str, Any]) -> str:
    """Every endpoint of every model and scenario of all tasks; an empty field is not estimated."""
    lines: list[dict[str, Any]] = []
    for task, own in tasks_of(results):
        model = own.get("model") or "equipoise"
        groups = [(model, "all", mapping(own, "endpoints"))]
        groups += [(c, "all", mapping(own, "comparators", c, "endpoints")) for c in mapping(own, "comparators")]
        groups += [(model, s, mapping(own, "scenarios", s, "endpoints")) for s in mapping(own, "scenarios")]
        rungs = mapping(own, "recalibration_ladder", "rungs")
        groups += [(model, f"after local recalibration: {r}", mapping(rungs, r, "endpoints")) for r in rungs]
        for name, scenario, table in groups:
            lines += [{"task": task, "model": name, "scenario": scenario, "metric": k, **_entry(e)} for k, e in table.items()]
    return as_csv(ENDPOINTS, lines)


def comparisons_csv(results: Mapping[str, Any]) -> str:
    """Every paired difference, model minus comparator, of all tasks."""
    lines: list[dict[str, Any]] = []
    for task, own in tasks_of(results):
        for comparator, table in mapping(own, "comparisons").items():
            required = mapping(own, "comparators", comparator).get("required")
            lines += [{"task": task, "comparator": comparator, "required": required, "metric": k, **_entry(e)} for k, e in mapping(table).items()]
    return as_csv(COMPARISONS, lines)


def value_csv(results: Mapping[str, Any]) -> str:
    """Every gain of every evidence: by population, within ancestry, at left-out sites, between relatives, and by what absence does to it."""
    lines: list[dict[str, Any]] = []
    for task, own in tasks_of(results):
        for evidence, entry in mapping(own, "value", "evidences").items():
            for where, gain_of, metric, gain in _gains(mapping(entry), str(dig(own, "verdict_detail", "primary") or "")):
                lines.append({"task": task, "evidence": evidence, "where": where, "gain_of": gain_of, "metric": metric, **gain})
    return as_csv(VALUE, lines)


def _gains(entry: Mapping[str, Any], primary: str) -> Iterable[tuple[str, str, str, Mapping[str, Any]]]:
    within, absence = mapping(entry, "within"), mapping(entry, "absence")
    tables = {**mapping(entry, "estimands"), **mapping(within, "ancestry", "groups")}
    tables |= {f"shift {d}": own for d, own in mapping(absence, "delta", "shifts").items()}
    for where, own in tables.items():
        for gain_of, by_metric in mapping(own, "gains").items():
            for metric, gain in mapping(by_metric).items():
                yield where, gain_of, metric, mapping(gain)
    for where, metric in (("sites", primary), ("families", str(dig(within, "families", "measure") or ""))):
        for gain_of, gain in mapping(within, where, "gains").items():
            yield {"sites": "left-out sites", "families": "between relatives"}[where], gain_of, metric, mapping(gain)
    for how in ("observed", "random"):
        if mapping(absence, "at_random", how):
            yield f"presence {'as observed' if how == 'observed' else 'at random'}", "total", primary, mapping(absence, "at_random", how)


def tasks_of(results: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Each question's name and results, the first one's first."""
    yield str(results.get("task") or ""), results
    for name, own in mapping(results, "tasks").items():
        if isinstance(own, Mapping):
            yield str(name), own


def _entry(entry: Any) -> Mapping[str, Any]:
    return entry if isinstance(entry, Mapping) else {"value": entry}


def as_csv(names: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> str:
    """Lines as CSV with these columns; null is an empty field, and nothing that a spreadsheet would run."""
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore", restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _field(v) for k, v in line.items()} for line in lines)
    return out.getvalue()


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        text = without_paths(value)
        # A spreadsheet runs what begins like a formula; a name must not.
        return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
    return repr(value)

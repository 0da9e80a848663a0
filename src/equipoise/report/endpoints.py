"""Table 1: every endpoint of the model and of the comparators, in the order of the STRATOS guidance."""

from __future__ import annotations

from typing import Any

from equipoise.report.differences import by_method, metric_label, model_head
from equipoise.report.finding import Finding, triple
from equipoise.report.markup import Html, paragraph, section, tag
from equipoise.report.reading import mapping
from equipoise.report.text import align, bounds, finite, listed, number, stacked
from equipoise.report.vocabulary import Metric, model_label


def endpoints(finding: Finding) -> Html:
    """Section: the table of endpoints, estimates above their intervals, one column a model."""
    anchor = f"{finding.anchor}endpoints"
    heading = "Tuning metrics, no claim" if finding.tuning else "Performance"
    if not finding.metrics:
        return section(heading, paragraph("No endpoint was estimated.", kind="missing"), anchor=anchor)
    head = ["", *[model_head(finding, m) for m in finding.models]]
    rows: list[list[Any]] = []
    group = ""
    for metric in finding.metrics:
        if metric.group != group:
            group = metric.group
            rows.append([group])
        rows.append([metric_label(finding, metric), *_cells(finding, metric)])
    caption = f"Endpoints of {finding.model_name} and the comparators in {finding.n_in_words}, with {finding.level_in_words} intervals."
    return section(heading, finding.numbering.table(caption, head, rows, note=_methods(finding), kind="endpoints"), anchor=anchor)


def _cells(finding: Finding, metric: Metric) -> list[Html]:
    entries = [mapping(finding.endpoints(m), metric.key) for m in finding.models]
    digits = finding.digits(metric.key, [triple(e) for e in entries])
    shown = align([number(e.get("value"), digits) for e in entries])
    return [
        stacked(*triple(entry), text, bounds(entry.get("lo"), entry.get("hi"), digits)) if entry else tag("span", "\N{EN DASH}", title="does not apply")
        for entry, text in zip(entries, shown, strict=True)
    ]


def _methods(finding: Finding) -> str:
    """Intervals by method, and what the results remark on an endpoint or say of one that was not estimated."""
    methods: dict[str, list[str]] = {}
    remarks: dict[tuple[str, str], list[str]] = {}
    for metric in finding.metrics:
        for model in finding.models:
            entry = mapping(finding.endpoints(model), metric.key)
            if entry.get("method") and finite(entry.get("lo")) is not None:
                methods.setdefault(str(entry["method"]), []).append(metric.label)
            if entry.get("note"):
                remarks.setdefault((metric.label, str(entry["note"]).rstrip(".")), []).append(model_label(model))
    everywhere = len(finding.models)
    said = [f"{label}{'' if len(who) == everywhere else f' ({listed(who)})'}: {note}." for (label, note), who in remarks.items()]
    return " ".join([*by_method(methods), *said])

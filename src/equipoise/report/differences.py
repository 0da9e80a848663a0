"""Paired differences: the panels of the forest plot and the table behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from equipoise.report.axes import house_style
from equipoise.report.finding import Finding, triple
from equipoise.report.forest import Line, Panel, forest
from equipoise.report.markup import Html, join, paragraph, section, tag
from equipoise.report.reading import dig, mapping
from equipoise.report.text import align, bounds, estimate, finite, number, p_shown, stacked
from equipoise.report.vocabulary import GROUPS, Metric, lower, model_label


def difference_panel(finding: Finding, key: str, comparators: Sequence[str]) -> Panel | None:
    """The differences of one metric as a panel of a forest plot; None where none was estimated."""
    entries = [(c, mapping(finding.results, "comparisons", c, key)) for c in comparators]
    entries = [(c, e) for c, e in entries if finite(e.get("difference")) is not None]
    if not entries:
        return None
    metric = finding.metric(key)
    digits = finding.digits(key, [triple(e, "difference") for _, e in entries], signed=True)
    lines = []
    for comparator, entry in entries:
        own = triple(entry, "difference")
        lines.append(Line.of(comparator, own, estimate(*own, digits, sign=True), strong=finding.required(comparator)))
    left, right = ("\N{LEFTWARDS ARROW} favours comparator", f"favours {finding.model_name} \N{RIGHTWARDS ARROW}") if metric.directed else ("", "")
    return Panel(_title(metric), tuple(lines), 0.0, metric.better == "lower", left, right, _margin(finding, metric))


def _title(metric: Metric) -> str:
    extra = ", ".join(t for t in (metric.unit, metric.aim) if t)
    return metric.label + (f" ({extra})" if extra else "")


def _margin(finding: Finding, metric: Metric) -> float | None:
    margin = finite(dig(finding.results, "verdict_detail", "margin"))
    if metric.key != finding.primary or not margin or not metric.directed:
        return None
    return abs(margin) if metric.better == "lower" else -abs(margin)


def differences(finding: Finding) -> Html:
    """Section: every paired difference as a figure (where a side is favoured) and as a table."""
    keys = _keys(finding)
    if not keys:
        return section("Paired differences", paragraph("No paired difference was estimated.", kind="missing"), anchor=f"{finding.anchor}differences")
    lead = (
        f"Model and comparator are compared on the same rows. Only the primary endpoint carries the verdict; all other differences describe, and their "
        f"{finding.level_in_words} intervals are not adjusted for their number."
    )
    if finding.tuning:
        lead = "Model and comparator are compared on the same select rows; no difference here supports a claim."
    return section("Paired differences", paragraph(lead), _figure(finding, keys), _table(finding, keys), anchor=f"{finding.anchor}differences")


def _keys(finding: Finding) -> list[str]:
    keys = dict.fromkeys(k for c in finding.comparators for k in mapping(finding.results, "comparisons", c))
    return sorted(keys, key=lambda k: (k != finding.primary, GROUPS.index(finding.metric(k).group)))


def _figure(finding: Finding, keys: Sequence[str]) -> Html | str:
    directed = [k for k in keys if finding.metric(k).directed and k != finding.primary]
    panels = [p for p in (difference_panel(finding, k, finding.comparators) for k in directed) if p is not None]
    if not panels:
        return ""
    with house_style():
        drawn, _ = forest(panels)
    caption = (
        f"Secondary endpoints: {finding.model_name} minus comparator in {finding.n_in_words}, with {finding.level_in_words} interval. Every axis is turned so "
        "that right favours the model; required comparators in colour."
    )
    return finding.figure(caption, drawn, "forest", "Forest plot of the secondary differences", wide=True)


def _table(finding: Finding, keys: Sequence[str]) -> Html:
    rows: list[list[Any]] = []
    methods: dict[str, list[str]] = {}
    notes: dict[str, None] = {}
    for key in keys:
        metric = finding.metric(key)
        entries = [mapping(finding.results, "comparisons", c, key) for c in finding.comparators]
        digits = finding.digits(key, [triple(e, "difference") for e in entries], signed=True)
        shown = align([number(e.get("difference"), digits, sign=True) for e in entries])
        rows.append([metric_label(finding, metric), *[_cell(e, text, digits) for e, text in zip(entries, shown, strict=True)]])
        for comparator, entry in zip(finding.comparators, entries, strict=True):
            if entry.get("method"):
                methods.setdefault(str(entry["method"]), []).append(metric.label)
            if entry.get("note"):
                notes[f"{metric.label}, {comparator}: {str(entry['note']).rstrip('.')}."] = None
    note = " ".join([*by_method(methods), "p: two-sided, of no difference.", *notes])
    caption = f"Paired differences, {finding.model_name} minus comparator, in {finding.n_in_words}, with {finding.level_in_words} intervals."
    return finding.numbering.table(caption, ["", *[model_head(finding, c) for c in finding.comparators]], rows, note=note, kind="endpoints")


def _cell(entry: Mapping[str, Any], text: str, digits: int) -> Html:
    if not entry:
        return tag("span", "\N{EN DASH}", title="does not apply")
    cell = stacked(*triple(entry, "difference"), text, bounds(entry.get("lo"), entry.get("hi"), digits, sign=True))
    return join(cell, tag("span", p_shown(entry["p"]), class_="ci")) if finite(entry.get("p")) is not None else cell


def model_head(finding: Finding, model: str) -> Html:
    """A column's head: the model's name, and whether the verdict asks for a gain over it."""
    if model == finding.model:
        return tag("span", model_label(model))
    return join(model, tag("span", "required" if finding.required(model) else "for reference", class_="soft line"))


def metric_label(finding: Finding, metric: Metric) -> Html:
    """A row's head: the metric's name, and below it whether it is primary, its unit, and which way is better."""
    about = " · ".join(t for t in ("primary" if metric.key == finding.primary else "", metric.unit, metric.aim) if t)
    return join(metric.label, tag("span", about, class_="soft line") if about else "")


def by_method(methods: Mapping[str, Sequence[str]]) -> list[str]:
    """Sentences that say by which method the intervals of which metrics were made."""
    if len(methods) == 1:
        return [f"Intervals: {next(iter(methods)).rstrip('.')}."]
    return [f"Intervals of {', '.join(dict.fromkeys(map(lower, labels)))}: {method.rstrip('.')}." for method, labels in methods.items()]

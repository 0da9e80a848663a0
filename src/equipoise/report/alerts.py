"""What acting at the threshold means for a service: alerts, people treated, costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report.differences import by_method, metric_label
from equipoise.report.finding import Finding, triple
from equipoise.report.markup import Html, join, paragraph, section, tag
from equipoise.report.reading import dig, mapping
from equipoise.report.tables import as_csv, tasks_of
from equipoise.report.text import bounds, digits_for, estimate, finite, number, percent_plain, stacked
from equipoise.report.vocabulary import Metric, metric, model_label

COLUMNS = ("task", "model", "metric", "value", "lo", "hi", "method", "difference", "difference_lo", "difference_hi", "p", "note")


def utility(finding: Finding) -> Html:
    """Section: the table of every model, with the paired difference below; nothing for another kind of outcome."""
    table = mapping(finding.results, "utility")
    if not mapping(table, "endpoints"):
        return Html("")
    every = {finding.model: mapping(table, "endpoints"), **{c: mapping(table, "comparators", c) for c in mapping(table, "comparators")}}
    rows: list[list[Any]] = []
    methods: dict[str, list[str]] = {}
    for key in mapping(table, "endpoints"):
        named = metric(key, mapping(table, "endpoints", key))
        rows.append([metric_label(finding, named), *(_cell(named, own, mapping(table, "comparisons", model, key)) for model, own in every.items())])
        method = dig(table, "endpoints", key, "method")
        if method:
            methods.setdefault(str(method), []).append(named.label)
    lead = f"Acting on whoever has a risk of {percent_plain(table.get('threshold'))} or more, the declared threshold. {_declared(finding)}"
    caption = f"Alerts and their yield in {finding.n_in_words}, with {finding.level_in_words} intervals; \N{GREEK CAPITAL LETTER DELTA}: "
    caption += f"{finding.model_name} minus the comparator, paired."
    shown = finding.numbering.table(caption, ["", *map(model_label, every)], rows, note=" ".join(by_method(methods)) if methods else "", kind="endpoints")
    return section("What alerts mean for a service", paragraph(lead), shown, anchor=f"{finding.anchor}utility")


def _cell(named: Metric, own: Mapping[str, Any], comparison: Mapping[str, Any]) -> Html:
    line = mapping(own, named.key)
    digits = digits_for(named.digits or 2, [triple(line)])
    cell = stacked(*triple(line), number(line.get("value"), digits), bounds(line.get("lo"), line.get("hi"), digits))
    apart = triple(comparison, "difference")
    if finite(apart[0]) is None:
        return cell
    said = estimate(*apart, digits_for(digits, [apart], signed=True), sign=True)
    return join(cell, tag("span", f"\N{GREEK CAPITAL LETTER DELTA} {said}", class_="ci"))


def _declared(finding: Finding) -> str:
    reduction, costs = dig(finding.results, "protocol", "relative_risk_reduction"), mapping(finding.results, "protocol", "unit_costs")
    said = f"Declared relative risk reduction of treating: {percent_plain(reduction)}, taken as equal for all." if reduction else ""
    if costs:
        said += " Declared unit costs: " + ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in costs.items()) + "."
    return said.strip() or "No effect of treatment and no unit costs were declared."


def utility_csv(results: Mapping[str, Any]) -> str:
    """Every number of every model of all tasks; differences are the model's minus the comparator's."""
    lines: list[dict[str, Any]] = []
    for task, own in tasks_of(results):
        table = mapping(own, "utility")
        lines += [{"task": task, "model": own.get("model") or "equipoise", "metric": k, **e} for k, e in mapping(table, "endpoints").items()]
        for comparator, endpoints in mapping(table, "comparators").items():
            for k, e in mapping(endpoints).items():
                apart = mapping(table, "comparisons", comparator, k)
                said = {"difference": apart.get("difference"), "difference_lo": apart.get("lo"), "difference_hi": apart.get("hi"), "p": apart.get("p")}
                lines.append({"task": task, "model": comparator, "metric": k, **e, **said})
    return as_csv(COLUMNS, lines)

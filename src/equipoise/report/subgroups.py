"""Subgroups: a forest plot of the paired difference by group, endpoints and decisions of each, the worst one, and whether the gain differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from equipoise.report.axes import house_style, short
from equipoise.report.differences import by_method, metric_label
from equipoise.report.finding import Finding, triple
from equipoise.report.forest import Line, Panel, forest
from equipoise.report.markup import Html, esc, join, paragraph, section, tag
from equipoise.report.reading import dig, mapping
from equipoise.report.tables import as_csv, tasks_of
from equipoise.report.text import bounds, count, estimate, finite, number, p_shown, stacked
from equipoise.report.vocabulary import column_label, humane, lower

LEAD = (
    "Groups are those that the protocol names (when it was declared: see Protocol). They are smaller than the whole, so their intervals are wider, and a "
    "difference between two groups is shown by the interaction test, not by one interval that excludes zero beside another that does not. No verdict "
    "rests on a subgroup."
)
DECISIONS = ("sensitivity", "specificity", "ppv", "selection_rate")
COLUMNS = ("task", "column", "group", "rows", "events", "kind", "comparator", "metric", "value", "lo", "hi", "p", "p_adjusted", "method", "note")


def subgroups(finding: Finding) -> Html:
    """Section: for each declared column a forest plot and its tables; nothing where none was declared."""
    columns = mapping(finding.results, "subgroups")
    if not columns:
        return Html("")
    parts: list[Html | str] = [paragraph(LEAD), _interactions(finding, columns)]
    for name in columns:
        own = mapping(columns, name)
        parts += [tag("h3", column_label(name)), _figure(finding, name, own), _endpoints(finding, name, own), _decisions(finding, name, own)]
    return section("Subgroups", *parts, anchor=f"{finding.anchor}subgroups")


def _shown(column: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {g: e for g, e in mapping(column, "groups").items() if isinstance(e, Mapping) and "suppressed" not in e}


def _interactions(finding: Finding, columns: Mapping[str, Any]) -> Html | str:
    rows = []
    for name in columns:
        for against, line in mapping(columns, name, "interaction").items():
            what = "average effect" if against == "average_effect" else f"difference from {against}"
            q = f"{number(line.get('q'), 2)} on {line['df']}" if finite(line.get("q")) is not None else esc("\N{EN DASH}")
            said = line.get("note") or join(p_shown(line.get("p_adjusted")), f" ({p_shown(line.get('p'))} unadjusted)")
            rows.append([column_label(name), what, q, said])
    if not rows:
        return ""
    primary = lower(finding.metric(finding.primary).label) if finding.primary else "the primary endpoint"
    caption = f"Interaction: is the {primary} {'difference ' if finding.kind != 'treatment_effect' else ''}the same in all shown groups of a column?"
    note = "Wald test from resamples of clusters shared by all groups, with Welch's correction; p adjusted by Holm for all lines of this table."
    return finding.numbering.table(caption, ["Column", "Of", "Q on degrees of freedom", "p"], rows, text_columns=2, note=note)


def _figure(finding: Finding, name: str, column: Mapping[str, Any]) -> Html | str:
    key, shown = finding.primary, _shown(column)
    if key is None or not shown:
        return ""
    metric = finding.metric(key)
    panels = []
    for comparator in dict.fromkeys(c for e in shown.values() for c in mapping(e, "differences")):
        whole = mapping(finding.results, "comparisons", comparator, key)
        entries = {f"{short(g, 20)} (n = {count(dig(e, 'n', 'rows'))})": mapping(e, "differences", comparator, key) for g, e in shown.items()}
        entries |= {"All rows": whole} if finite(whole.get("difference")) is not None else {}
        triples = {g: triple(e, "difference") for g, e in entries.items()}
        digits = finding.digits(key, list(triples.values()), signed=True)
        lines = tuple(Line.of(g, t, estimate(*t, digits, sign=True), strong=g == "All rows") for g, t in triples.items())
        title = f"{metric.label}: {finding.model_name} minus {comparator}"
        sides = ("\N{LEFTWARDS ARROW} comparator better", f"{finding.model_name} better \N{RIGHTWARDS ARROW}") if metric.directed else ("", "")
        panels.append(Panel(title, lines, 0.0, metric.better == "lower", *sides))
    if not panels:
        key = "average_effect"
        lines = tuple(
            Line.of(g, t, estimate(*t, finding.digits(key, [t]))) for g, e in shown.items() if finite((t := triple(dig(e, "endpoints", key)))[0]) is not None
        )
        panels = [Panel(finding.metric(key).label, lines)] if lines else []
    if not panels:
        return ""
    with house_style():
        drawn, _ = forest(panels)
    caption = f"By {lower(column_label(name))}: paired difference of the primary endpoint in {finding.n_in_words}, with {finding.level_in_words} intervals."
    return finding.figure(caption, drawn, f"subgroup-{list(mapping(finding.results, 'subgroups')).index(name)}", f"Forest plot by {name}", wide=True)


def _endpoints(finding: Finding, name: str, column: Mapping[str, Any]) -> Html | str:
    shown = _shown(column)
    keys = list(dict.fromkeys(k for e in shown.values() for k in mapping(e, "endpoints")))
    counted = [k for k in ("events", "treated") if any(k in mapping(e, "n") for e in shown.values())]
    rows: list[list[Any]] = []
    methods: dict[str, list[str]] = {}
    digits = {k: finding.digits(k, [triple(dig(e, "endpoints", k)) for e in shown.values()]) for k in keys}
    for group, entry in shown.items():
        cells = []
        for k in keys:
            line = mapping(entry, "endpoints", k)
            cells.append(stacked(*triple(line), number(line.get("value"), digits[k]), bounds(line.get("lo"), line.get("hi"), digits[k])))
            if line.get("method") and finite(line.get("lo")) is not None:
                methods.setdefault(str(line["method"]), []).append(finding.metric(k).label)
        rows.append([group, count(dig(entry, "n", "rows")), *[count(dig(entry, "n", k)) for k in counted], *cells])
    worst = [_worst_cell(mapping(column, "worst", k), digits[k]) for k in keys]
    if any(worst):
        rows.append(["Worst group, interval over all groups at once", "", *[""] * len(counted), *worst])
    head = ["", "Rows", *[humane(k) for k in counted], *[metric_label(finding, finding.metric(k)) for k in keys]]
    caption = f"Endpoints of {finding.model_name} by {lower(column_label(name))}, in {finding.rows_in_words}, with {finding.level_in_words} intervals."
    note = " ".join([*(by_method(methods) if methods else []), *_hidden(column)])
    return finding.numbering.table(caption, head, rows, note=note, kind="endpoints wide")


def _hidden(column: Mapping[str, Any]) -> list[str]:
    """Sentences on the groups that are not shown, by reason."""
    reasons: dict[str, list[str]] = {}
    for group, entry in mapping(column, "groups").items():
        if "suppressed" in entry:
            reasons.setdefault(str(entry["suppressed"]), []).append(group)
    return [f"Not shown ({reason.removeprefix('not shown: ')}): {'; '.join(groups)}." for reason, groups in reasons.items()]


def _worst_cell(worst: Mapping[str, Any], digits: int) -> Html | str:
    if not worst:
        return ""
    interval = bounds(worst.get("lo"), worst.get("hi"), digits)
    return join(str(worst.get("group")), tag("span", join(number(worst.get("value"), digits), " (", interval, ")"), class_="ci"))


def _decisions(finding: Finding, name: str, column: Mapping[str, Any]) -> Html | str:
    shown = {g: mapping(e, "fairness") for g, e in _shown(column).items() if mapping(e, "fairness")}
    if not shown:
        return ""
    rows = []
    for group, entry in shown.items():
        cells = []
        for k in DECISIONS:
            line = mapping(entry, k)
            cell = stacked(*triple(line), number(line.get("value"), 3), bounds(line.get("lo"), line.get("hi"), 3))
            if "difference" in line:
                apart = estimate(line["difference"], line.get("difference_lo"), line.get("difference_hi"), 3, sign=True)
                cell = join(cell, tag("span", join("\N{GREEK CAPITAL LETTER DELTA} ", apart), class_="ci"))
            cells.append(cell)
        rows.append([group, *cells])
    threshold = dig(finding.results, "protocol", "threshold")
    caption = (
        f"Decisions of {finding.model_name} at a risk of {number(threshold, 2)} by {lower(column_label(name))}; \N{GREEK CAPITAL LETTER DELTA}: minus the "
    )
    caption += f"largest group ({column.get('largest')})."
    head = ["", *[finding.metric(k).label for k in DECISIONS]]
    return finding.numbering.table(caption, head, rows, note=str(column.get("note") or ""), kind="endpoints wide")


def subgroups_csv(results: Mapping[str, Any]) -> str:
    """Every number of every group of all tasks; an empty field is not estimated, a hidden group has its reason as the note."""
    lines = [
        {"task": task, "column": name} | line
        for task, own in tasks_of(results)
        for name, column in mapping(own, "subgroups").items()
        for line in _lines(column)
    ]
    return as_csv(COLUMNS, lines)


def _lines(column: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for group, entry in mapping(column, "groups").items():
        if "suppressed" in entry:
            yield {"group": group, "note": entry["suppressed"]}
            continue
        first = {"group": group, "rows": dig(entry, "n", "rows"), "events": dig(entry, "n", "events")}
        yield from (first | {"kind": "endpoint", "metric": k, **e} for k, e in mapping(entry, "endpoints").items())
        for comparator, table in mapping(entry, "differences").items():
            yield from (first | {"kind": "difference", "comparator": comparator, "metric": k, **e, "value": e.get("difference")} for k, e in table.items())
        for k, e in mapping(entry, "fairness").items():
            yield first | {"kind": "decision", "metric": k, **e}
            if "difference" in e:
                apart = {"value": e["difference"], "lo": e.get("difference_lo"), "hi": e.get("difference_hi")}
                yield first | {"kind": "decision minus the largest group", "metric": k, **apart}
    yield from ({"kind": "worst", "metric": k, **e} for k, e in mapping(column, "worst").items())
    for comparator, e in mapping(column, "interaction").items():
        yield {"kind": "interaction", "comparator": comparator, "metric": "q", "value": e.get("q"), **{k: e.get(k) for k in ("p", "p_adjusted", "note")}}

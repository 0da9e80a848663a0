"""One question's part of a comparison of runs: figure of the primary endpoint, tables of endpoints, differences and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from equipoise.report.axes import house_style
from equipoise.report.differences import by_method, metric_label
from equipoise.report.finding import Finding, triple
from equipoise.report.forest import Line, Panel, forest
from equipoise.report.markup import Html, Numbering, join, paragraph, section, tag
from equipoise.report.reading import mapping
from equipoise.report.text import align, bounds, estimate, finite, number, p_shown, p_value, percent_plain, stacked, value_html
from equipoise.report.vocabulary import GROUPS

LEFT, RIGHT = "\N{LEFTWARDS ARROW}", "\N{RIGHTWARDS ARROW}"
MOST_COLUMNS = 5
"""So many models stand beside one another; more stand below one another."""


class Beside:
    """A question of comparison.json, with the words and digits of the reports.

    Args:
        results: of the question.
        numbering: shared by the whole page.
        anchor: a prefix for identifiers, unique in the page.
    """

    def __init__(self, results: Mapping[str, Any], numbering: Numbering, anchor: str) -> None:
        self.results = results
        self.reference = str(results["reference"])
        self.primary = str(results["primary"])
        self.ways = mapping(results, "ways")
        self.several = [way for way, found in self.ways.items() if len(found["runs"]) > 1]
        self.said: list[str] = list(results.get("said") or ())
        kept = ("task", "kind", "target", "unit", "role", "n", "prevalence", "protocol")
        others = {w: f for w, f in self.ways.items() if w != self.reference} | dict(mapping(results, "runs")) | dict(mapping(results, "comparators"))
        others.pop(self.reference, None)
        as_run = {
            "model": self.reference,
            "endpoints": self.ways[self.reference]["endpoints"],
            "comparators": {name: {"required": False, "endpoints": f["endpoints"]} for name, f in others.items()},
            "comparisons": mapping(results, "differences"),
            "verdict_detail": {"primary": self.primary},
        }
        self.finding = Finding({k: results.get(k) for k in kept} | as_run, {}, numbering, anchor)

    @property
    def keys(self) -> list[str]:
        """Endpoints, the primary one first, then in the order of their groups."""
        found = [m.key for m in self.finding.metrics]
        return sorted(found, key=lambda k: (k != self.primary, GROUPS.index(self.finding.metric(k).group)))

    def label(self, way: str) -> str:
        return f"{way}, reference" if way == self.reference else way

    def heading(self, key: str) -> Html:
        """The heading of a group of lines: the metric with its unit and its aim."""
        return metric_label(self.finding, self.finding.metric(key))


def primary_figure(q: Beside) -> Html | str:
    """Section: the primary endpoint of every way and comparator, and below it the differences from the reference."""
    metric, finding = q.finding.metric(q.primary), q.finding
    about = ", ".join(t for t in (metric.unit, metric.aim) if t)
    title = f"{metric.label} ({about})" if about else metric.label
    panels = []
    names = [*q.ways, *mapping(q.results, "comparators")]
    entries = {name: triple(finding.endpoints(name).get(q.primary)) for name in names}
    digits = finding.digits(q.primary, [*entries.values()])
    lines = [Line.of(name, t, estimate(*t, digits), strong=name in q.ways) for name, t in entries.items() if finite(t[0]) is not None]
    if lines:
        panels.append(Panel(title, tuple(lines), None, metric.better == "lower"))
    changes = {way: triple(table.get(q.primary), "difference") for way, table in mapping(q.results, "differences").items()}
    digits = finding.digits(q.primary, [*changes.values()], signed=True)
    lines = [Line.of(way, t, estimate(*t, digits, sign=True), strong=True) for way, t in changes.items() if finite(t[0]) is not None]
    if lines:
        sides = (f"{LEFT} favours the reference", f"favours the other {RIGHT}") if metric.directed else ("", "")
        panels.append(Panel(f"Difference from {q.reference}", tuple(lines), 0.0, metric.better == "lower", *sides))
    if not panels:
        return section("Primary endpoint", paragraph("It was not estimated.", kind="missing"), anchor=f"{finding.anchor}primary")
    with house_style():
        drawn, _ = forest(panels)
    caption = (
        f"Primary endpoint in {finding.n_in_words}, with {finding.level_in_words} interval (rows resampled); runs in colour, comparators in black. "
        f"{'Right is better. ' if metric.directed else ''}Whether two runs differ is read from the lower part: they are judged on the same rows, "
        "so their intervals above may overlap."
    )
    picture = finding.figure(caption, drawn, "primary", "Forest plot of the primary endpoint by run, and of differences", wide=True)
    return section("Primary endpoint", picture, anchor=f"{finding.anchor}primary")


def endpoints(q: Beside) -> Html:
    """Section: every endpoint of every way and comparator, a group of lines each."""
    names = [*q.ways, *mapping(q.results, "comparators")]
    head, rows = _side_by_side(q, names)
    finding = q.finding
    caption = f"Endpoints in {finding.n_in_words}, with {finding.level_in_words} intervals (rows resampled)."
    if q.several:
        caption += " Several seeds: the mean of the runs' endpoints, with resampled intervals throughout."
    heading = "Tuning metrics, no claim" if finding.tuning else "Endpoints"
    return section(heading, finding.numbering.table(caption, head, rows, note=_methods(q, names), kind="endpoints"), anchor=f"{finding.anchor}endpoints")


def _side_by_side(q: Beside, names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Head and lines of a table of endpoints: a column a name, or where there are many a line a name under each endpoint."""
    rows: list[list[Any]] = []
    for key in q.keys:
        cells = _estimates(q, key, names)
        if len(names) <= MOST_COLUMNS:
            rows.append([q.heading(key), *cells])
        else:
            rows += [[q.heading(key)], *[[q.label(n), cell] for n, cell in zip(names, cells, strict=True)]]
    return ["", *([q.label(n) for n in names] if len(names) <= MOST_COLUMNS else ["Estimate"])], rows


def _estimates(q: Beside, key: str, names: Sequence[str]) -> list[Html]:
    entries = [mapping(q.finding.endpoints(n), key) for n in names]
    digits = q.finding.digits(key, [triple(e) for e in entries])
    shown = align([number(e.get("value"), digits) for e in entries])
    return [stacked(*triple(e), text, bounds(e.get("lo"), e.get("hi"), digits)) for e, text in zip(entries, shown, strict=True)]


def _methods(q: Beside, names: Sequence[str]) -> str:
    methods: dict[str, list[str]] = {}
    remarks: dict[str, list[str]] = {}
    for key in q.keys:
        for name in names:
            entry = mapping(q.finding.endpoints(name), key)
            if entry.get("method") and finite(entry.get("lo")) is not None:
                methods.setdefault(str(entry["method"]), []).append(q.finding.metric(key).label)
            if entry.get("note"):
                remarks.setdefault(f"{q.finding.metric(key).label}: {str(entry['note']).rstrip('.')}", []).append(name)
    said = [f"{about}{'' if len(who) == len(names) else f' ({len(who)} of {len(names)})'}." for about, who in remarks.items()]
    return " ".join([*by_method(methods), *said])


def differences(q: Beside) -> Html | str:
    """Section: paired differences from the reference with p-values, as they are and adjusted."""
    table = mapping(q.results, "differences")
    finding = q.finding
    if not table:
        return ""
    rows: list[list[Any]] = []
    methods: dict[str, list[str]] = {}
    beside = len(table) <= MOST_COLUMNS
    for key in q.keys:
        entries = {way: mapping(found, key) for way, found in table.items()}
        cells = _changes(q, key, [*entries.values()])
        rows += [[q.heading(key), *cells]] if beside else [[q.heading(key)], *[[way, cell] for way, cell in zip(entries, cells, strict=True)]]
        for entry in entries.values():
            if entry.get("method"):
                methods.setdefault(str(entry["method"]), []).append(finding.metric(key).label)
    head = ["", *table] if beside else ["", f"Minus {q.reference}"]
    caption = f"Paired differences from {q.reference} (the other minus it) in {finding.n_in_words}, with {finding.level_in_words} intervals. "
    caption += "About the fitted models: rows were resampled."
    note = " ".join([*by_method(methods), "Intervals are not adjusted.", "" if finding.tuning else _adjustments(q)]).strip()
    return section("Paired differences", finding.numbering.table(caption, head, rows, note=note, kind="endpoints"), anchor=f"{finding.anchor}differences")


def _changes(q: Beside, key: str, entries: Sequence[Mapping[str, Any]]) -> list[Html]:
    """Differences of one metric as cells: value, interval, p and adjusted p."""
    digits = q.finding.digits(key, [triple(e, "difference") for e in entries], signed=True)
    shown = align([number(e.get("difference"), digits, sign=True) for e in entries])
    cells = []
    for entry, text in zip(entries, shown, strict=True):
        cell = stacked(*triple(entry, "difference"), text, bounds(entry.get("lo"), entry.get("hi"), digits, sign=True))
        p = f"{p_shown(entry['p'])}, adjusted {p_value(entry.get('p_adjusted'))}" if finite(entry.get("p")) is not None else ""
        cells.append(join(cell, tag("span", p, class_="ci")) if p else cell)
    return cells


def _adjustments(q: Beside) -> str:
    """By which method, over how many, and how small a resampled p can be."""
    table = mapping(q.results, "differences")
    over = {key: int(finite(entry.get("adjusted_over")) or 0) for found in table.values() for key, entry in found.items()}
    pairs, others = over.get(q.primary, 0), max((n for key, n in over.items() if key != q.primary), default=0)
    said = f"p: two-sided, of no difference. Adjusted: the primary endpoint by Holm over {pairs} {'pair' if pairs == 1 else 'pairs'} (any false claim)"
    said += f"; the others by Benjamini-Hochberg over {others} differences (share of false claims)." if others else "."
    resamples = finite(mapping(q.results, "protocol").get("n_bootstrap"))
    return said + (f" With {resamples:.0f} resamples no resampled p is below about {2 / (resamples + 1):.2g}." if resamples else "")


def seeds(q: Beside) -> Html | str:
    """Section: mean and spread over seeds of the ways that have several."""
    if not q.several:
        return ""
    finding = q.finding
    rows: list[list[Any]] = []
    for key in q.keys:
        entries = {way: mapping(q.ways[way], "seeds", key) for way in q.several}
        changes = {way: mapping(q.results, "differences", way, key, "seeds") for way in q.several}
        digits = finding.digits(key, [(e.get("mean"), e.get("min"), e.get("max")) for e in entries.values()])
        changed = finding.digits(key, [triple(c, "difference") for c in changes.values()], signed=True)
        rows.append([q.heading(key)])
        rows += [_seed_row(q, way, e, changes[way], digits, changed) for way, e in entries.items()]
    against = [f"Minus {q.reference}"] if _compares(q) else []
    head = ["", "Seeds", "Mean, t interval", "SD", "Range", *against, *(["Adjusted p"] if against and not finding.tuning else [])]
    caption = f"Spread over seeds in {finding.n_in_words}, with {finding.level_in_words} intervals over seeds. "
    caption += "About the way of making a model: seeds vary, the rows stay."
    note = (
        "Student's t over the seeds' endpoints, and Welch's t for a difference, from three seeds on; seeds are not paired. Training rows were not resampled. "
        "An interval over seeds does not hold the chance of the rows, which stands in the tables above."
    )
    return section("Over seeds", finding.numbering.table(caption, head, rows, note=note, kind="endpoints wide"), anchor=f"{finding.anchor}seeds")


def _compares(q: Beside) -> bool:
    return any(way != q.reference for way in q.several)


def _seed_row(q: Beside, way: str, entry: Mapping[str, Any], change: Mapping[str, Any], digits: int, changed: int) -> list[Any]:
    dash = tag("span", "\N{EN DASH}")
    mean = stacked(entry.get("mean"), entry.get("lo"), entry.get("hi"), number(entry.get("mean"), digits), bounds(entry.get("lo"), entry.get("hi"), digits))
    sd = value_html(entry.get("sd"), number(entry.get("sd"), digits + 1))
    row: list[Any] = [q.label(way), str(entry.get("n")), mean, sd, bounds(entry.get("min"), entry.get("max"), digits)]
    if _compares(q):
        shown = number(change.get("difference"), changed, sign=True)
        within = bounds(change.get("lo"), change.get("hi"), changed, sign=True)
        row.append(stacked(change.get("difference"), change.get("lo"), change.get("hi"), shown, within) if change else dash)
        if not q.finding.tuning:
            row.append(value_html(change["p_adjusted"], p_value(change["p_adjusted"])) if finite(change.get("p_adjusted")) is not None else dash)
    return row


def each_run(q: Beside) -> Html | str:
    """Section: the endpoints of each run of the ways that have several seeds."""
    if not q.several:
        return ""
    names = [run for way in q.several for run in q.ways[way]["runs"]]
    head, rows = _side_by_side(q, names)
    level = percent_plain(mapping(q.results, "protocol").get("level"))
    caption = f"Endpoints of each run of the ways with several seeds, with {level} intervals (rows resampled): each line is about one fitted model."
    return section("Each run", q.finding.numbering.table(caption, head, rows, kind="endpoints"), anchor=f"{q.finding.anchor}each")

"""How sure the model is, and what each evidence is worth to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report.axes import house_style
from equipoise.report.coverage import coverage, sets
from equipoise.report.differences import metric_label
from equipoise.report.finding import Finding, triple
from equipoise.report.forest import Line, Panel, forest
from equipoise.report.markup import Html, esc, facts, join, paragraph, section, tag
from equipoise.report.reading import mapping
from equipoise.report.text import align, bounds, estimate, finite, number, percent_plain, sentence, sure, value_html
from equipoise.report.vocabulary import humane, scenario_label

COVERS = (
    "An interval of a prediction covers what is not known about the mean outcome of people with the same evidence, given the encoder and the model class. "
    "It is never an interval of the outcome of one person."
)

NOT_THE_LEVEL = (
    "On synthetic cohorts whose best possible risk is known, 90 % intervals of one network held it in 15 to 95 % of rows, depending on the head and the "
    "evidences (experiment 007): their widths order the rows by certainty, their level is no probability about the true risk."
)

NO_INTERVAL = (
    "How far the draws or members differ was estimated (the epistemic part below), but there are too few of them for an interval of any single prediction."
)

LACKS = "The uncertainty of the predictions was not estimated, which is not the same as zero. (A point head with one member, for example, gives none.)"
WORTH = (
    "One fitted model, with one evidence hidden at a time: this shows what this model takes from the evidence, not what a model fitted without it could "
    "do. Whoever has an evidence may differ from who has not, so a worth can come from the care process as well as from the content."
)


def certainty(finding: Finding) -> Html:
    """Section: what the intervals of the predictions are, how wide, and how the uncertainty divides."""
    table = mapping(finding.results, "uncertainty")
    estimated = bool(table) and table.get("estimated") is not False
    lead = LACKS if not estimated else COVERS if finite(table.get("median_width")) is not None else NO_INTERVAL
    if lead == COVERS and finding.kind in ("binary", "multiclass"):
        lead += f" {NOT_THE_LEVEL}"
    if table.get("note"):
        lead += f" {sentence(table['note'])}"
    squared = "nats" if finding.kind not in ("continuous", "treatment_effect") else f"{finding.unit}\N{SUPERSCRIPT TWO}" if finding.unit else "squared units"
    names = {
        "interval": "The interval is",
        "level": "Level",
        "median_width": "Median width",
        "coverage": "Share of outcomes inside",
        "mean_epistemic": f"Epistemic: what more data could remove ({squared})",
        "mean_aleatoric": f"Aleatoric: what more data of this kind could not ({squared})",
        "mean_total": f"Total ({squared})",
    }
    rows: list[tuple[object, object]] = [(name, _value(key, table.get(key))) for key, name in names.items() if key in table or key in _ALWAYS]
    known = {*names, "estimated", "note", "by_group", "sets"}
    declared = finding.context.get("interval")
    if table.get("interval") == "not declared" and declared:
        rows[0] = (names["interval"], sure(declared.get("of") or declared.get("kind") if isinstance(declared, Mapping) else declared))
    rows += [(humane(k), sure(v)) for k, v in table.items() if k not in known]
    return section("Uncertainty of the predictions", paragraph(lead), facts(rows), coverage(finding), sets(finding), anchor=f"{finding.anchor}uncertainty")


_ALWAYS = ("median_width", "mean_epistemic", "mean_aleatoric")


def _value(key: str, value: Any) -> object:
    if key in ("level", "coverage") and finite(value) is not None:
        return percent_plain(value)
    return value_html(value, f"{value:.3g}") if finite(value) is not None else sure(value if isinstance(value, str) else None)


def worth(finding: Finding) -> Html:
    """Section: how the endpoints change when an evidence is hidden from the model."""
    scenarios = {k: v for k, v in mapping(finding.results, "scenarios").items() if isinstance(v, dict)}
    anchor = f"{finding.anchor}evidence"
    title = "What each evidence is worth"
    if not scenarios:
        lacking = paragraph("Not estimated: no scenario with a hidden evidence was run.", kind="missing")
        return Html("") if finding.tuning else section(title, lacking, anchor=anchor)
    return section(title, paragraph(WORTH), _worth_figure(finding, scenarios), _worth_table(finding, scenarios), anchor=anchor)


def _scenario_keys(finding: Finding, scenarios: dict[str, Any]) -> list[str]:
    keys = dict.fromkeys(k for s in scenarios.values() for k in (*mapping(s, "difference"), *mapping(s, "endpoints")))
    return sorted(keys, key=lambda k: k != finding.primary)


def _worth_figure(finding: Finding, scenarios: dict[str, Any]) -> Html | str:
    panels = []
    for key in [k for k in _scenario_keys(finding, scenarios) if finding.metric(k).directed][:2]:
        entries = {s: mapping(v, "difference", key) for s, v in scenarios.items()}
        entries = {s: e for s, e in entries.items() if finite(e.get("difference")) is not None}
        if not entries:
            continue
        metric = finding.metric(key)
        digits = finding.digits(key, [triple(e, "difference") for e in entries.values()], signed=True)
        own = {s: triple(e, "difference") for s, e in entries.items()}
        lines = tuple(Line.of(scenario_label(s), t, estimate(*t, digits, sign=True)) for s, t in own.items())
        about = ", ".join(t for t in (metric.unit, metric.aim) if t)
        left, right = "\N{LEFTWARDS ARROW} worse when hidden", "better when hidden \N{RIGHTWARDS ARROW}"
        panels.append(Panel(f"{metric.label} ({about})" if about else metric.label, lines, 0.0, metric.better == "lower", left, right))
    if not panels:
        return ""
    with house_style():
        drawn, _ = forest(panels)
    caption = f"Change when an evidence is hidden, against all evidences as observed, in {finding.n_in_words}, with {finding.level_in_words} interval."
    return finding.figure(caption, drawn, "worth", "Forest plot of the worth of each evidence", wide=True)


def _worth_table(finding: Finding, scenarios: dict[str, Any]) -> Html:
    rows: list[list[Any]] = []
    for key in _scenario_keys(finding, scenarios):
        entries = [mapping(finding.endpoints(finding.model), key), *[mapping(s, "endpoints", key) for s in scenarios.values()]]
        changes = [mapping(s, "difference", key) for s in scenarios.values()]
        digits = finding.digits(key, [triple(e) for e in entries])
        changed = finding.digits(key, [triple(c, "difference") for c in changes], signed=True)
        shown = align([number(e.get("value"), digits) for e in entries])
        cells = [_cell(e, c, text, changed) for e, c, text in zip(entries, [{}, *changes], shown, strict=True)]
        rows.append([metric_label(finding, finding.metric(key)), *cells])
    head = ["", "as observed", *[scenario_label(s) for s in scenarios]]
    caption = f"Endpoints of {finding.model_name} with one evidence hidden, in {finding.n_in_words}; below each, the change with its "
    caption += f"{finding.level_in_words} interval."
    return finding.numbering.table(caption, head, rows, kind="endpoints wide" if len(scenarios) > 3 else "endpoints")


def _cell(entry: Mapping[str, Any], change: Mapping[str, Any], text: str, digits: int) -> Html:
    value = value_html(entry.get("value"), text) if finite(entry.get("value")) is not None else esc("\N{EN DASH}")
    if finite(change.get("difference")) is None:
        return value
    moved = value_html(change["difference"], number(change["difference"], digits, sign=True))
    return join(value, tag("span", moved, class_="ci"), tag("span", bounds(change.get("lo"), change.get("hi"), digits, sign=True), class_="ci"))

"""Referral: loss of the rows that the model keeps, and net benefit when somebody else decides those of which it is least certain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from equipoise.report.axes import INK, MODEL_COLOUR, colour_of, house_style, legend_above, light_grid, new_axes, short
from equipoise.report.figures import FULL, HALF, HEIGHT
from equipoise.report.finding import Finding, triple
from equipoise.report.markup import Html, join, paragraph, section, tag
from equipoise.report.reading import columns, dig, mapping
from equipoise.report.tables import as_csv, tasks_of
from equipoise.report.text import digits_for, digits_of_scale, estimate
from equipoise.report.vocabulary import lower, metric

LEAD = (
    "The rows of which the model is least certain are referred, most uncertain first, by each measure of uncertainty. If the measure points at the rows "
    "that go wrong, the loss of those kept falls. An event whose risk is near one half has a large loss for any model, so a fall alone does not show that "
    "the model knows its limits; whether referral pays is shown by net benefit."
)
MEASURES = {"epistemic": "epistemic uncertainty", "total": "total uncertainty", "width": "width of the interval"}
COLUMNS = ("task", "kind", "measure", "to", "cost", "referred", "value", "lo", "hi", "gain", "gain_lo", "gain_hi")


def referral(finding: Finding) -> Html:
    """Section: the curves and their areas; nothing where no uncertainty was stated."""
    table = mapping(finding.results, "referral")
    if not mapping(table, "curves"):
        return Html("")
    return section("Referral of the least certain rows", paragraph(LEAD), _figure(finding, table), _areas(finding, table), anchor=f"{finding.anchor}referral")


def _loss(table: Mapping[str, Any]) -> str:
    return metric(str(table.get("loss"))).label


def _figure(finding: Finding, table: Mapping[str, Any]) -> Html:
    curves, benefits = mapping(table, "curves"), mapping(table, "net_benefit")
    with house_style():
        fig, axes = new_axes(FULL if benefits else HALF, HEIGHT, ncols=2 if benefits else 1, squeeze=False)
        _draw_loss(axes[0, 0], curves, _loss(table))
        if benefits:
            _draw_benefit(axes[0, 1], benefits[next(iter(benefits))])
    first = MEASURES.get(next(iter(curves)), next(iter(curves)))
    caption = f"{_loss(table)} of the kept rows by the share referred, in {finding.n_in_words}; band: {finding.level_in_words}, pointwise, by {first}."
    if benefits:
        ways = benefits[next(iter(benefits))]
        notes = list(dict.fromkeys(w["note"] for w in ways if w.get("note")))
        caption += f" Right: net benefit at the declared threshold when rows are referred by {first}; bands likewise."
        caption += "".join(f" Treating referred rows costs {w['cost']:g} true positives a row, as declared." for w in ways if w.get("cost"))
        caption += "".join(f" {n[0].upper()}{n[1:]}." for n in notes)
    return finding.figure(caption, fig, "referral", "Risk-coverage curve and net benefit with referral", wide=bool(benefits))


def _draw_loss(ax: Axes, curves: Mapping[str, Any], loss: str) -> None:
    for i, (measure, curve) in enumerate(curves.items()):
        x, y, lo, hi = columns(curve, "referred", "loss", "lo", "hi")
        colour, dash = (MODEL_COLOUR, "-") if i == 0 else colour_of(i - 1)
        if i == 0 and np.isfinite(lo).any():
            ax.fill_between(x, lo, hi, color=colour, alpha=0.16, linewidth=0)
        ax.plot(x, y, color=colour, linestyle=dash, linewidth=1.7 if i == 0 else 1.0, label=short(f"by {MEASURES.get(measure, measure)}", 34))
    whole = columns(next(iter(curves.values())), "loss")[0]
    ax.axhline(whole[0], color=INK, linewidth=0.7, linestyle=(0, (1, 2)), label="in random order")
    ax.set(xlabel="Share referred", ylabel=f"{loss} of the kept rows")
    light_grid(ax)
    legend_above(ax, *ax.get_legend_handles_labels(), columns=2)


def _draw_benefit(ax: Axes, ways: list[Mapping[str, Any]]) -> None:
    for i, way in enumerate(ways):
        x, y, lo, hi = columns(way, "referred", "net_benefit", "lo", "hi")
        colour, dash = (MODEL_COLOUR, "-") if i == 0 else colour_of(i - 1)
        if np.isfinite(lo).any():
            ax.fill_between(x, lo, hi, color=colour, alpha=0.13, linewidth=0)
        ax.plot(x, y, color=colour, linestyle=dash, linewidth=1.4, label=short(f"referred to {way.get('to')}", 34))
    ax.axhline(columns(ways[0], "net_benefit")[0][0], color=INK, linewidth=0.7, linestyle=(0, (1, 2)), label="nobody referred")
    ax.set(xlabel="Share referred", ylabel="Net benefit (true positives per row)")
    light_grid(ax)
    legend_above(ax, *ax.get_legend_handles_labels(), columns=2)


def _areas(finding: Finding, table: Mapping[str, Any]) -> Html:
    rows = []
    for measure, curve in mapping(table, "curves").items():
        cells = []
        for key in ("area", "excess"):
            own = triple(mapping(curve, key))
            cells.append(estimate(*own, digits_for(digits_of_scale([own[0]]), [own], signed=key == "excess"), sign=key == "excess"))
        gains = [tag("span", _gain(way), class_="line") for way in dig(table, "net_benefit", measure) or ()]
        rows.append([f"by {MEASURES.get(measure, measure)}", *cells, join(*gains) or "\N{EN DASH}"])
    head = ["Referred", "Area", "Excess over random order", "Net benefit gained with 20% referred"]
    note = "Area: mean loss over the shares referred; an excess below 0 favours the measure. "
    note += f"Intervals: {dig(table, 'curves', next(iter(mapping(table, 'curves'))), 'area', 'method')}."
    return finding.numbering.table(f"Referral in {finding.n_in_words}: {lower(_loss(table))} of the kept rows.", head, rows, note=note)


def _gain(way: Mapping[str, Any]) -> str:
    """The gain with a fifth of the rows referred: a fixed share, because the best of a curve would be picked by chance."""
    referred = [round(float(s), 6) for s in way.get("referred") or ()]
    if 0.2 not in referred:
        return f"to {way['to']}: not estimated"
    value, lo, hi = (way[k][referred.index(0.2)] for k in ("gain", "gain_lo", "gain_hi"))
    if not any((value, lo, hi)):
        return f"to {way['to']}: no difference"
    return f"to {way['to']}: {estimate(value, lo, hi, digits_for(3, [(value, lo, hi)], signed=True), sign=True)}"


def referral_csv(results: Mapping[str, Any]) -> str:
    """Every point of every curve of all tasks."""
    lines: list[dict[str, Any]] = []
    for task, own in tasks_of(results):
        for measure, curve in mapping(own, "referral", "curves").items():
            points = zip(curve["referred"], curve["loss"], curve["lo"], curve["hi"], strict=True)
            lines += [{"task": task, "kind": "loss", "measure": measure, "referred": s, "value": v, "lo": lo, "hi": hi} for s, v, lo, hi in points]
            lines += [{"task": task, "kind": key, "measure": measure, **mapping(curve, key)} for key in ("area", "excess")]
        for measure, ways in mapping(own, "referral", "net_benefit").items():
            for way in ways:
                first = {"task": task, "kind": "net_benefit", "measure": measure, "to": way["to"], "cost": way["cost"]}
                names = ("referred", "net_benefit", "lo", "hi", "gain", "gain_lo", "gain_hi")
                points = zip(*(way[k] for k in names), strict=True)
                lines += [first | dict(zip(("referred", "value", *names[2:]), point, strict=True)) for point in points]
    return as_csv(COLUMNS, lines)

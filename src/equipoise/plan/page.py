"""A plan as one self-contained HTML page in the house style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from equipoise import __version__
from equipoise.plan.printed import command, shown
from equipoise.plan.result import Curve, Plan, Table
from equipoise.report.axes import INK, MODEL_COLOUR, colour_of, house_style, legend_above, light_grid, new_axes, to_svg
from equipoise.report.document import document
from equipoise.report.markup import Html, Numbering, bullets, fold, paragraph, section, tag


def page(kind: str, plan: Plan, settings: Mapping[str, Any], meaning: Mapping[str, str]) -> str:
    """The whole page, without scripts or outside references; the same plan gives the same bytes.

    Args:
        kind: of the plan.
        plan: what was found.
        settings: of which.
        meaning: of each setting, from its yaml.
    """
    numbering = Numbering()
    asked = [(tag("code", key), shown(value), meaning[key]) for key, value in settings.items()]
    body = [
        tag("header", paragraph("Equipoise study plan", kind="running"), tag("h1", plan.title), paragraph(plan.answer, kind="question")),
        section("The numbers", *[_table(numbering, t) for t in plan.tables], anchor="numbers"),
        section("How they change", numbering.figure(plan.curve.caption, _drawn(plan.curve), wide=True), anchor="curve"),
        section("Settings", numbering.table("What was asked for.", ("Key", "Value", "Meaning"), asked, text_columns=3), anchor="settings"),
        section("What must hold", bullets(plan.assumes), anchor="assumes"),
        section("Sources", bullets(plan.sources), anchor="sources"),
        fold("The command", tag("pre", tag("code", command(kind, settings)))),
        tag(
            "footer",
            f"Made by Equipoise {__version__}. A plan rests on what it assumes; it is no evidence that a model works. Unrounded numbers: plan.json.",
        ),
    ]
    return document(f"{plan.title}: Equipoise study plan", body)


def _table(numbering: Numbering, table: Table) -> Html:
    return numbering.table(table.caption, table.head, table.rows, text_columns=_words(table.rows), kind="wide" if len(table.head) > 6 else "")


def _words(rows: Any) -> int:
    """How many columns on the left hold words."""
    counted = [all(c[:1].isdigit() or c[:1] in "+-−" for c in column) for column in zip(*rows, strict=True)]
    return max(1, counted.index(True) if True in counted[1:] else 1)


def _drawn(curve: Curve) -> Html:
    with house_style():
        fig, ax = new_axes(6.2, 3.3)
        for i, (name, (x, y)) in enumerate(curve.lines.items()):
            colour, dash = (MODEL_COLOUR, "-") if i == 0 else colour_of(i - 1)
            ax.plot(x, y, color=colour, linestyle=dash, linewidth=1.5 if i == 0 else 1.1, label=name)
        ax.axvline(curve.at, color=INK, linewidth=0.6, linestyle=(0, (1, 2)))
        top = 1.02 if curve.shares else 1.05 * max(float(np.max(y)) for _, y in curve.lines.values())
        ax.set(xlabel=curve.x, ylabel=curve.y, ylim=(0, top))
        ax.yaxis.set_major_formatter(lambda v, _: f"{v:g}" if curve.shares else f"{v:,.0f}")
        light_grid(ax)
        handles, labels = ax.get_legend_handles_labels()
        legend_above(ax, handles, labels, 3)
        return to_svg(fig, curve.caption, "curve")

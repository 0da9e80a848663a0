"""A page for one patient: the answer, how sure it is, and what raised and lowered it. It holds a patient's data: it is written only where asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from equipoise.report.axes import INK, MODEL_COLOUR, SOFT, house_style, light_grid, new_axes, short, to_svg
from equipoise.report.document import document
from equipoise.report.figures import FULL
from equipoise.report.markup import Html, Numbering, facts, fold, paragraph, section, tag
from equipoise.report.text import finite

SHOWN = 14
CAVEAT = (
    "An attribution says what moved this model's answer away from the one that it gives to an uninformative record of the same kind: numbers at their "
    "train mean, codes unknown, calls missing. It says nothing about causes, and nothing about what would happen if something were changed."
)


def patient(answer: Mapping[str, Any], items: pl.DataFrame, *, start: float, end: float, scale: str) -> str:
    """The page, one HTML document.

    Args:
        answer: of the predictions table: task, target, risk, lo, hi, interval (what they are), epistemic, novelty, abstain_reason.
        items: columns view, item, told, attribution (see `explain.integrated_gradients.Explanation`).
        start: the answer at the baseline, on the attributions' scale.
        end: the patient's.
        scale: what that scale is, in words.
    """
    numbering = Numbering()
    asked = ", ".join(str(answer[k]) for k in ("task", "target") if answer.get(k))
    body: list[Html | str] = [
        tag("h1", f"One prediction: {asked}"),
        section("Answer", facts(_facts(answer)), anchor="answer"),
    ]
    if items.is_empty():
        body.append(section("What moved it", paragraph("No evidence is present, so there is nothing to take apart."), anchor="moved"))
    else:
        joined = _joined(items)
        with house_style():
            fig, _ = bars(joined.head(SHOWN), scale)
            drawing = to_svg(fig, "attributions of the largest items", "moved")
        gap = end - start - float(items["attribution"].sum())
        caption = f"The {min(SHOWN, joined.height)} largest of {joined.height} attributions, in {scale}; an item recorded several times is summed."
        sums = f"From {start:+.2f} (uninformative record) to {end:+.2f} (this one), before recalibration; the attributions leave {gap:+.3f} unexplained."
        body.append(section("What moved it", numbering.figure(caption, drawing, wide=True), paragraph(sums), _by_view(items, numbering), anchor="moved"))
        body.append(fold("Every record", _records(items, numbering)))
    body.append(tag("footer", f"{CAVEAT} A research page, not a medical device. It holds one person's data."))
    return document("One prediction, taken apart", body)


def bars(items: pl.DataFrame, scale: str) -> tuple[Figure, Axes]:
    """Horizontal bars, the largest on top: to the right what raised the answer, to the left what lowered it."""
    fig, ax = new_axes(FULL, 0.6 + 0.22 * items.height)
    value = items["attribution"].to_list()
    ax.barh(range(len(value)), value, color=[MODEL_COLOUR if v > 0 else SOFT for v in value], height=0.7)
    ax.set_yticks(range(len(value)), [short(f"{r['item']} ({r['view']})", 46) for r in items.to_dicts()], fontsize=7.6)
    ax.invert_yaxis()
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_xlabel(f"lowered  <  attribution, {scale}  >  raised")
    light_grid(ax, "x")
    return fig, ax


def _largest_first(items: pl.DataFrame) -> pl.DataFrame:
    return items.sort(pl.col("attribution").abs(), descending=True)


def _joined(items: pl.DataFrame) -> pl.DataFrame:
    """Items of one name summed, the largest first."""
    return _largest_first(items.group_by("view", "item", maintain_order=True).agg(pl.col("attribution").sum()))


def _records(items: pl.DataFrame, numbering: Numbering) -> Html:
    rows = [[r["view"], r["item"], r["told"], f"{r['attribution']:+.3f}"] for r in _largest_first(items).head(100).to_dicts()]
    return numbering.table("Up to 100 records, the largest first", ["View", "Item", "Recorded", "Attribution"], rows, text_columns=3)


def _by_view(items: pl.DataFrame, numbering: Numbering) -> Html:
    summed = _largest_first(items.group_by("view", maintain_order=True).agg(pl.len().alias("n"), pl.col("attribution").sum()))
    rows: Sequence[Sequence[object]] = [[r["view"], str(r["n"]), f"{r['attribution']:+.3f}"] for r in summed.to_dicts()]
    return numbering.table("Sums of each view", ["View", "Records", "Attribution"], rows)


def _facts(answer: Mapping[str, Any]) -> list[tuple[object, object]]:
    lines: list[tuple[object, object]] = [("Answer", _number(answer.get("risk")))]
    if answer.get("abstain_reason"):
        lines[0] = ("No answer", str(answer["abstain_reason"]))
    if finite(answer.get("lo")) is not None:
        lines.append(("Interval", f"{_number(answer['lo'])} to {_number(answer['hi'])} ({answer.get('interval') or 'not declared'})"))
    if finite(answer.get("epistemic")) is not None:
        lines.append(("What more data could remove", _number(answer["epistemic"])))
    if finite(answer.get("novelty")) is not None:
        lines.append(("Unlike the train rows", f"{float(answer['novelty']):.1%} of comparable rows lie nearer to them"))
    return lines


def _number(value: object) -> str:
    found = finite(value)
    return "not estimated" if found is None else f"{found:.3g}"

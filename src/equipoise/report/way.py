"""The claim about the way of making a model, beside that about the fitted one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report.finding import Finding
from equipoise.report.markup import Html, paragraph, section
from equipoise.report.reading import mapping
from equipoise.report.text import digits_for, digits_of_scale, estimate, finite

LEAD = (
    "The verdict on a fitted model holds for that model: with another training sample it might have come out better or worse, and its comparators too. "
    "Everything was therefore trained anew on clusters of training rows drawn with replacement. The last column adds their spread to that of the evaluated "
    "rows: it is about what this way of making a model would gain with other training people."
)


def way(finding: Finding) -> Html:
    """Section: each comparator's difference with both intervals; nothing where nothing was trained on resampled rows."""
    lines = mapping(finding.results, "way")
    if not lines:
        return Html("")
    worthwhile = float(finite(mapping(finding.results, "protocol").get("worthwhile_gain")) or 0.0)
    head = ["Over", "Trainings", "This fitted model", "Spread (sd)", "This way of making it"]
    label = finding.metric(finding.primary).label if finding.primary else "primary endpoint"
    rows = [_row(name, line) for name, line in lines.items()]
    caption = f"Gain in {label} (positive favours the model) with {finding.level_in_words} intervals, in {finding.rows_in_words}; its spread over trainings."
    return section(
        "This model, and this way of making it",
        paragraph(LEAD),
        finding.numbering.table(caption, head, rows),
        paragraph(_said(lines, worthwhile)),
        anchor=f"{finding.anchor}way",
    )


def _row(name: str, line: Mapping[str, Any]) -> list[Any]:
    scale = digits_of_scale([line.get("gain"), line.get("sd_over_trainings")])
    of = [(line.get("gain"), line[which].get("lo"), line[which].get("hi")) for which in ("model", "way")]
    digits = digits_for(scale, of)
    spread = finite(line.get("sd_over_trainings"))
    return [name, str(line["trainings"]), estimate(*of[0], digits), "not estimated" if spread is None else f"{spread:.{digits}f}", estimate(*of[1], digits)]


def _said(lines: Mapping[str, Any], worthwhile: float) -> str:
    """What may be said of the way of making the model."""
    unshown = [c for c, line in lines.items() if not (finite(line["way"].get("lo")) is not None and line["way"]["lo"] > worthwhile)]
    if not unshown:
        return "A gain of this way of making a model is shown over every comparator."
    return f"A gain of this way of making a model is not shown over {', '.join(unshown)}."

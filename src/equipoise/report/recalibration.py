"""After local recalibration: what the model would do here once its intercept, or intercept and slope, were fitted to these rows."""

from __future__ import annotations

from typing import Any

from equipoise.report.differences import metric_label
from equipoise.report.finding import Finding, triple
from equipoise.report.markup import Html, paragraph, section, tag
from equipoise.report.reading import mapping
from equipoise.report.text import align, bounds, finite, number, sentence, stacked
from equipoise.trial.recalibration_ladder import RUNGS

TITLE = "After local recalibration"


def ladder(finding: Finding) -> Html:
    """Section: the model's endpoints as it is and on each rung; nothing where the protocol asks for no ladder."""
    found = mapping(finding.results, "recalibration_ladder")
    if not found:
        return Html("")
    anchor = f"{finding.anchor}recalibration"
    rungs = {name: mapping(found, "rungs", name) for name in RUNGS}
    shown = {name: rung for name, rung in rungs.items() if mapping(rung, "endpoints")}
    lacking = [f"{RUNGS[name]}: {rung['note']}" for name, rung in rungs.items() if rung.get("note")]
    lacking += [str(found["note"])] if found.get("note") else []
    said = [paragraph(sentence(text), kind="missing") for text in lacking]
    if not shown:
        return section(TITLE, *said, anchor=anchor)
    lead = (
        f"The verdict is about {finding.model_name} as it is. Here its risks were recalibrated on these rows, in {found.get('folds')} folds: the rows of "
        "each fold by the outcomes of the others, never by their own. This shows how much of what is lacking here recalibration alone would mend. The "
        "intervals resample the judged clusters, not the recalibration; recalibration leaves the order of risks within a fold as it was, and the calibration "
        "slope a little below 1, because lines fitted without a fold scatter against it."
    )
    return section(TITLE, paragraph(lead), *said, _table(finding, shown), anchor=anchor)


def _table(finding: Finding, rungs: dict[str, Any]) -> Html:
    rows: list[list[Any]] = []
    group = ""
    columns = [finding.endpoints(finding.model), *[mapping(rung, "endpoints") for rung in rungs.values()]]
    for metric in finding.metrics:
        if metric.group != group:
            group = metric.group
            rows.append([group])
        entries = [mapping(column, metric.key) for column in columns]
        digits = finding.digits(metric.key, [triple(e) for e in entries])
        texts = align([number(e.get("value"), digits) for e in entries])
        cells = [
            stacked(*triple(e), text, bounds(e.get("lo"), e.get("hi"), digits)) if finite(e.get("value")) is not None else tag("span", "\N{EN DASH}")
            for e, text in zip(entries, texts, strict=True)
        ]
        rows.append([metric_label(finding, metric), *cells])
    head = ["", "as it is", *[f"after local recalibration: {RUNGS[name]}" for name in rungs]]
    caption = f"Endpoints of {finding.model_name} in {finding.n_in_words}, with {finding.level_in_words} intervals, as it is and after local recalibration."
    return finding.numbering.table(caption, head, rows, kind="endpoints")

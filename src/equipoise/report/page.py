"""Composes the page: sections in the order in which a trial is read, each on its own, so that a finished run always gets its page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from equipoise.record import fault
from equipoise.report import (
    alerts,
    certainty,
    cohort,
    coverage,
    curves,
    differences,
    endpoints,
    limits,
    making,
    opening,
    protocol,
    recalibration,
    referral,
    rehearsal,
    secondary,
    subgroups,
    tables,
    value,
    way,
)
from equipoise.report.curve_tables import curve_tables
from equipoise.report.document import document
from equipoise.report.finding import Finding
from equipoise.report.markup import Html, Numbering, paragraph, tag
from equipoise.report.pack.whole import PARTS, pack
from equipoise.report.reading import mapping
from equipoise.whole_file import write_whole

log = logging.getLogger(__name__)


_TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "subgroups": subgroups.subgroups_csv,
    "referral": referral.referral_csv,
    "coverage": coverage.coverage_csv,
    "utility": alerts.utility_csv,
    "value": tables.value_csv,
}
"""Written where they have a line."""


def write_report(folder: Path, results: Mapping[str, Any], context: Mapping[str, Any]) -> Path:
    """Writes the report and its tables; each file appears whole or not at all.

    Args:
        folder: the run folder; made where it is missing.
        results: as in results.json. A missing key or a null is printed as not estimated.
        context: of the run: command, versions, cohort manifest, training and so on; every key may be missing.

    Returns:
        The path of ``report.html``. Beside it lie ``tables/``, with a CSV behind every table and figure, and the pack: ``committee.html``,
        ``model_card.md``, ``tripod_ai.md``, ``probast_ai.md``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables").mkdir(exist_ok=True)
    made = {"endpoints": tables.endpoints_csv(results), "comparisons": tables.comparisons_csv(results)}
    made |= {name: text for name, make in _TABLES.items() if (text := make(results)).count("\n") > 1}
    made |= curve_tables(results)
    for name, text in made.items():
        _write(folder / "tables" / f"{name}.csv", text)
    for left in (folder / "tables").glob("*.csv"):
        if left.stem not in made:  # of an earlier report in this folder, by another protocol or of another table
            left.unlink()
    for name, text in pack(results, context).items():
        _write(folder / name, text)
    at = folder / "report.html"
    _write(at, page(results, context))
    return at


def written(folder: Path) -> list[str]:
    """What `write_report` has written into a folder, by name relative to it."""
    tables = sorted(f"tables/{p.name}" for p in (folder / "tables").glob("*.csv"))
    return [name for name in ("report.html", *PARTS) if (folder / name).is_file()] + tables


def _write(at: Path, text: str) -> None:
    write_whole(at, lambda f: f.write(text.encode()))


def page(results: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """The whole page as one HTML document without scripts or outside references; the same input gives the same bytes."""
    numbering = Numbering()
    first = Finding(results, context, numbering)
    further = [own for own in mapping(results, "tasks").values() if isinstance(own, Mapping)]
    others = [Finding(own, context, numbering, f"q{i}-") for i, own in enumerate(further, start=2)]
    body = [_safely("Title", lambda: opening.masthead(first)), *_question(first)]
    for other in others:
        body.append(_safely("Title", partial(opening.further, other)))
        body += _question(other)
    body += [
        _safely("Rehearsal", lambda: rehearsal.rehearsal(context, numbering)),
        _safely("Missing data", lambda: cohort.presence(context, numbering)),
        _safely("Cohort", lambda: cohort.cohort(context, numbering)),
        _safely("Training", lambda: making.training(context, numbering)),
        *[_safely("Comparators", partial(making.comparators, f)) for f in (first, *others)],
        _safely("What the fitted views did not know", lambda: making.reader_notes(context)),
        *[_safely("Limitations", partial(limits.limitations, f)) for f in (first, *others)],
        _safely("Reproducibility", lambda: making.reproducibility(first)),
        _footer(context),
    ]
    return document(f"{opening.title(first)}: Equipoise trial report", body)


def _question(finding: Finding) -> list[Html]:
    """The sections of one question, from the verdict to what each evidence is worth."""
    steps: dict[str, Callable[[Finding], Html]] = {
        "Verdict": opening.verdict,
        "Seal": opening.seal,
        "Rows": opening.glance,
        "Performance": endpoints.endpoints,
        "Paired differences": differences.differences,
        "This model, and this way of making it": way.way,
        "Secondary claims": secondary.secondary,
        recalibration.TITLE: recalibration.ladder,
        "Subgroups": subgroups.subgroups,
        "Figures": curves.curves,
        "Uncertainty of the predictions": certainty.certainty,
        "Referral of the least certain rows": referral.referral,
        "What alerts mean for a service": alerts.utility,
        "What each evidence adds": value.value,
        "What each evidence is worth": certainty.worth,
        "Protocol": protocol.protocol,
    }
    return [_safely(name, partial(make, finding)) for name, make in steps.items()]


def _safely(name: str, make: Callable[[], Html]) -> Html:
    """A section, or in its place a word that it could not be made: one odd number must not cost a finished run its page."""
    try:
        return make()
    except Exception as e:
        log.warning("report: section %r could not be made (%s)", name, fault(e))
        said = f"Not estimated: this section could not be made from the results ({type(e).__name__})."
        return tag("section", tag("h2", name), paragraph(said, kind="missing"))


def _footer(context: Mapping[str, Any]) -> Html:
    version = mapping(context, "versions").get("equipoise")
    return tag(
        "footer",
        f"Made by Equipoise{f' {version}' if version else ''}. A research report, not a medical device: no decision about a patient may rest on it. "
        "Every number on this page stands in results.json beside it, and in tables/ as CSV. Beside it lie two pages for a committee (committee.html), a "
        "model card, and checklists of TRIPOD+AI and PROBAST+AI; `equipoise verify` computes every number again.",
    )

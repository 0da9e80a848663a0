"""Two printed pages for a committee: the verdict, the numbers behind it, two figures, the limits, and what is theirs to decide."""

from __future__ import annotations

from equipoise.report import curves, opening
from equipoise.report.document import document
from equipoise.report.finding import Finding, triple
from equipoise.report.limits import limits_of
from equipoise.report.markup import Html, bullets, facts, join, paragraph, section, tag
from equipoise.report.protocol import document_lines
from equipoise.report.reading import mapping
from equipoise.report.text import estimate
from equipoise.report.vocabulary import GROUPS, Metric, model_label

MOST_LIMITS, MOST_MODELS, MOST_METRICS = 7, 4, 6
STYLE = """
main { max-width: 52rem; }
.pair figcaption { font-size: .72rem; }
.decide th { width: 62%; } .decide td { height: 1.7rem; border-bottom: 1px solid #999; }
@media print {
  @page { margin: 11mm 14mm 12mm; }
  body { font-size: 8.6pt; line-height: 1.28; }
  h1 { font-size: 14pt; } .verdict .label { font-size: 14pt; } .question { font-size: 10pt; margin-bottom: .5rem; }
  h2 { margin: .8rem 0 .3rem; padding-top: .25rem; font-size: 9.6pt; }
  .verdict { padding: .35rem 0; margin: 0 0 .4rem; } .verdict .said { font-size: 9.6pt; }
  .facts { margin: .2rem 0 .4rem; } .facts > div { padding: .1rem 0; } .glance { margin: .4rem 0 .1rem; } .seal { margin: .4rem 0; }
  table { font-size: 7.6pt; } td, tbody th { padding-top: .16rem; padding-bottom: .16rem; }
  .pair figure { margin: 0; } .pair svg { max-height: 50mm; width: auto; max-width: 100%; } .pair figcaption { font-size: 6.8pt; line-height: 1.25; }
  .second { break-before: page; }
}
"""
ASKED = (
    "Is the population above the one in which the model would be used?",
    "Is the estimand the one that the decision needs (risk under current care, or if untreated)?",
    "Is a gain of the size shown above worth the change in work?",
    "Who reviews the cases in which the model abstains or is least sure?",
    "What will be monitored, and what finding would stop its use?",
)


def committee(finding: Finding) -> str:
    """The two pages as one HTML document; printing it gives two sheets of A4."""
    first = [opening.masthead(finding), opening.verdict_box(finding), opening.seal(finding), opening.glance(finding), _table(finding)]
    figures = curves.curves(finding, ("calibration", "decision", "scatter"))
    limits = section("What limits the claim", bullets(limits_of(finding)[:MOST_LIMITS]), anchor="limits")
    declared = section("What was declared", _facts(finding), anchor="declared")
    several = len(mapping(finding.results, "tasks")) + 1
    if several > 1:
        limits = join(limits, paragraph(f"This run answers {several} questions; this is the first, the others stand in the full report.", kind="note"))
    second = tag("div", declared, limits, _decide(), _foot(), class_="second")
    return document(f"{opening.title(finding)}: for the committee", [*first, figures, second], STYLE)


def _table(finding: Finding) -> Html:
    models = finding.models[:MOST_MODELS]
    rows: list[list[object]] = []
    for metric in _chosen(finding):
        found = [triple(mapping(finding.endpoints(m), metric.key)) for m in models]
        digits = finding.digits(metric.key, found)
        rows.append([metric.label, *[estimate(*t, digits) for t in found]])
    left = len(finding.models) - len(models)
    note = f"{left} more comparators stand in the full report." if left > 0 else ""
    caption = f"In {finding.n_in_words}, with {finding.level_in_words} intervals."
    return section("Performance", finding.numbering.table(caption, ["", *map(model_label, models)], rows, note=note), anchor="performance")


def _chosen(finding: Finding) -> list[Metric]:
    """The primary endpoint first, then one after the other from each group."""
    metrics = sorted(finding.metrics, key=lambda m: m.key != finding.primary)
    seen: list[Metric] = metrics[:1]
    for wanted in range(MOST_METRICS):
        for group in GROUPS:
            own = [m for m in metrics if m.group == group and m not in metrics[:1]]
            seen += own[wanted : wanted + 1]
    return seen[:MOST_METRICS]


def _facts(finding: Finding) -> Html:
    return facts(document_lines(finding, mapping(finding.results, "protocol")))


def _decide() -> Html:
    rows = [[question, ""] for question in ASKED]
    body = tag("tbody", *[tag("tr", tag("th", q, scope="row"), tag("td", a)) for q, a in rows])
    return section("For the committee to decide", tag("table", body, class_="decide"), paragraph("Decision, date, signature:", kind="note"), anchor="decide")


def _foot() -> Html:
    text = (
        "Made by Equipoise from results.json. A research report, not a medical device. The full report, its data and `equipoise verify` stand beside this page."
    )
    return tag("footer", join(text))

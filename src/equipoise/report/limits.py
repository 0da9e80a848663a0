"""Limitations, generated from the facts of the run: each sentence stands only where its fact holds."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.report.finding import Finding, of_task
from equipoise.report.markup import Html, bullets, section
from equipoise.report.reading import dig, lines, mapping
from equipoise.report.text import count, finite, listed, percent, sentence

ENOUGH_EVENTS, ENOUGH_ROWS = 100, 100
"""Events, and rows without the event, below which validation is called imprecise (Collins, Ogundimu, Altman 2016, Stat Med 35:214)."""


def limitations(finding: Finding) -> Html:
    """Section: what the reader must keep in mind."""
    return section("Limitations", bullets(limits_of(finding)), anchor=f"{finding.anchor}limitations")


def limits_of(finding: Finding) -> list[str]:
    """The sentences, most about the claim first."""
    return [sentence(f) for f in (*_of_claim(finding), *_of_size(finding), *_of_rows(finding), *_of_evidence(finding), *_of_run(finding))]


def _of_claim(finding: Finding) -> Iterator[str]:
    context = finding.context
    seeds = len(set(context.get("seeds") or ())) or finite(context.get("members")) or 1
    if finding.tuning:
        yield "select rows chose epochs or settings; nothing on this page is a claim"
    elif finding.crossed:
        yield "cross-validation has no seal, and its folds share training rows: intervals describe these folds, not new cohorts"
    if not finding.crossed and not context.get("seeds"):
        yield "how many seeds or training samples stand behind the model is not recorded: the claim is about these predictions"
    elif not finding.crossed:
        if seeds <= 1:
            yield "one seed: the claim is about this fitted model, not about the way of making it; other seeds or training rows would give other models"
        else:
            yield f"{seeds:.0f} seeds were joined into one model: the claim is about this ensemble; the spread over training samples was not estimated"
    if finding.exploratory and not finding.tuning:
        k = finite(finding.opening)
        yield f"these rows had been opened before{'' if k is None else f' (opening {k:.0f})'}: the verdict is exploratory"
    if context.get("benchmark_note"):
        yield f"development benchmark: {context['benchmark_note']}"
    if not finding.tuning and finding.comparators:
        declared = " and the declared secondary claims behind it" if dig(finding.results, "protocol", "secondary") else ""
        yield f"one primary endpoint carries the verdict{declared}; the other endpoints describe and are not adjusted for their number"


def _of_size(finding: Finding) -> Iterator[str]:
    n = mapping(finding.results, "n")
    rows, events = finite(n.get("rows")), finite(n.get("events"))
    if events is not None and events < ENOUGH_EVENTS:
        yield f"few events ({count(events)}): below {ENOUGH_EVENTS}, calibration and differences between models are imprecise"
    elif events is not None and rows is not None and rows - events < ENOUGH_EVENTS:
        yield f"few rows without the event ({count(rows - events)}): below {ENOUGH_EVENTS}, calibration and differences between models are imprecise"
    elif events is None and rows is not None and rows < ENOUGH_ROWS:
        yield f"few rows ({count(rows)})"
    clusters = finite(n.get("clusters"))
    if clusters is not None and rows is not None and clusters < rows:
        yield f"the {count(rows)} rows come in {count(clusters)} clusters; rows of one cluster are dependent, and the information is that of the clusters"


def _of_rows(finding: Finding) -> Iterator[str]:
    manifest, n = mapping(finding.context, "cohort"), mapping(finding.results, "n")
    sources = " ".join(str(s.get("name", "")) for s in lines(manifest, "sources")).lower()
    if "synthetic" in sources:
        yield "the rows are simulated: they show that the method works where its truth is known, and nothing about patients"
    sites = _sites(finding)
    if sites == 1:
        yield "single site, or no sites named: whether the model travels to another place was not examined"
    elif sites is None and manifest:
        yield "no sites are named: all rows come from the same sources, and whether the model travels to another place was not examined"
    missing, abstained = finite(n.get("outcome_missing")), finite(n.get("abstained"))
    if missing:
        rows = finite(n.get("rows")) or 0
        share = percent(missing / (missing + rows))
        fate = "are left out; if they are missing for a reason, the endpoints are biased"
        if dig(finding.results, "protocol", "missing_outcomes") == "weight":
            fate = "are stood for by weighted rows with one; if they are missing for a reason that risks and site do not tell, the endpoints are biased"
        yield f"{count(missing)} rows without an observed outcome ({share}) {fate}"
    if abstained:
        yield f"the model abstained on {count(abstained)} rows"


def _sites(finding: Finding) -> float | None:
    for at in (("cohort", "counts", "sites"), ("cohort", "counts", "n_sites"), ("cohort", "n_sites")):
        found = dig(finding.context, *at)
        if found is not None:
            return finite(found) if not isinstance(found, dict | list) else float(len(found))
    return None


def _of_evidence(finding: Finding) -> Iterator[str]:
    if dig(finding.results, "uncertainty", "estimated") is False or not mapping(finding.results, "uncertainty"):
        yield "the uncertainty of the predictions was not estimated"
    elif dig(finding.results, "uncertainty", "median_width") is None:
        yield "no interval of a prediction was estimated"
    scenarios = mapping(finding.results, "scenarios")
    nested = any(str(s).startswith("refit:") for s in scenarios) or bool(mapping(finding.results, "value", "evidences"))
    if any(str(s).startswith("masked:") for s in scenarios) and not nested:
        yield "evidences were hidden from one fitted model; whether an evidence adds anything to a model fitted without it needs models refitted on each set"
    if finding.kind == "treatment_effect":
        yield "effects rest on no unmeasured confounding unless treatment was randomised; no individual's effect is ever observed"


def _of_run(finding: Finding) -> Iterator[str]:
    not_run = list(of_task(finding, mapping(finding.context, "not_run")))
    if not_run:
        yield f"comparators that could not be run: {listed(not_run)}"
    if not finding.comparators:
        yield "no comparator was run"
    failures = finding.context.get("failures") or []
    if failures:
        yield f"{len(failures)} {'step' if len(failures) == 1 else 'steps'} of the run failed and {'is' if len(failures) == 1 else 'are'} listed above"

"""A model card: what the model is, for whom, how it was judged, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.report.finding import Finding, triple
from equipoise.report.limits import limits_of
from equipoise.report.pack.places import made_here
from equipoise.report.reading import dig, lines, mapping
from equipoise.report.text import NOT_ESTIMATED, count, estimate, listed
from equipoise.report.vocabulary import VERDICTS


def model_card(finding: Finding) -> str:
    """The card as Markdown, by the sections of Mitchell et al. (2019); what is not known is said to be not declared."""
    parts = [f"# Model card: {finding.model_name} for {finding.target}", "", *_details(finding), *_use(finding), *_factors(finding)]
    return "\n".join([*parts, *_data(finding), *_performance(finding), *_caveats(finding), ""])


def _details(finding: Finding) -> Iterator[str]:
    context = finding.context
    yield "## Model details"
    if not made_here(finding):
        yield "- Made by: not recorded; its predictions came as a table"
        yield f"- Judged by: {context.get('command') or 'not recorded'}; {_versions(finding)}"
        yield "- Licence and contact: for the authors to say"
        yield ""
        return
    yield f"- Made by: {context.get('command') or 'not recorded'}"
    yield f"- Version: {_versions(finding)}; commit {context.get('commit') or 'not recorded'}; config {context.get('config_hash') or 'not recorded'}"
    parameters = context.get("n_parameters")
    yield f"- Size: {count(parameters)} parameters, {context.get('members') or 1} member(s)" if parameters else "- Size: not recorded"
    yield "- Licence and contact: for the authors to say"
    yield ""


def _versions(finding: Finding) -> str:
    return ", ".join(f"{k} {v}" for k, v in mapping(finding.context, "versions").items()) or "not recorded"


def _use(finding: Finding) -> Iterator[str]:
    yield "## Intended use"
    yield f"- Purpose and users: {_stated(finding, 'intended_use')}"
    yield f"- Population: {_declared(finding, 'population')}"
    yield f"- Prediction time: {_declared(finding, 'prediction_time')}"
    yield f"- Estimand: {_declared(finding, 'estimand').replace('_', ' ')}"
    yield "- Out of scope: any decision about a patient. This is a research model, not a medical device."
    yield ""


def _factors(finding: Finding) -> Iterator[str]:
    evidences = mapping(finding.context, "cohort", "evidences")
    groups = [str(s) for s in dig(finding.results, "protocol", "subgroups") or ()]
    yield "## Factors"
    any_subset = "; any subset is accepted, and without any the model abstains" if made_here(finding) else ""
    yield f"- Evidences: {listed(evidences) if evidences else 'not recorded'}{any_subset}"
    yield f"- Subgroups examined: {listed(groups) if groups else 'none declared'}"
    yield ""


def _data(finding: Finding) -> Iterator[str]:
    n = mapping(finding.results, "n")
    names = [str(s.get("name")) for s in lines(mapping(finding.context, "cohort"), "sources") if s.get("name")]
    yield "## Data"
    yield f"- Sources: {listed(names) if names else 'not recorded'}"
    opened = finding.opening if finding.opening is not None else "not recorded"
    yield f"- Evaluated: {finding.n_in_words}, {count(n.get('clusters'))} clusters; opening {opened}"
    yield f"- Ethics: {_stated(finding, 'ethics')}"
    yield ""


def _performance(finding: Finding) -> Iterator[str]:
    detail = mapping(finding.results, "verdict_detail")
    yield "## Performance"
    label = "tuning metrics, no claim" if finding.tuning else VERDICTS.get(str(finding.results.get("verdict")), "not evaluable")
    yield f"- Verdict: **{label}**. {detail.get('sentence') or ''}"
    yield ""
    yield f"| endpoint | {' | '.join(finding.models)} |"
    yield "|---|" + "---|" * len(finding.models)
    for metric in finding.metrics:
        found = [triple(mapping(finding.endpoints(m), metric.key)) for m in finding.models]
        digits = finding.digits(metric.key, found)
        yield f"| {metric.label} | {' | '.join(estimate(*t, digits) if t[0] is not None else NOT_ESTIMATED for t in found)} |"
    yield ""
    yield f"Intervals at {finding.level_in_words}. What each number rests on stands in report.html."
    yield ""


def _caveats(finding: Finding) -> Iterator[str]:
    yield "## Caveats"
    yield from (f"- {said}" for said in limits_of(finding))
    yield f"- Fairness: {_stated(finding, 'fairness')}"


def _declared(finding: Finding, key: str) -> str:
    return str(dig(finding.results, "protocol", key) or "not declared")


def _stated(finding: Finding, key: str) -> str:
    return str(dig(finding.context, "statements", key) or f"not declared (statements.{key})")

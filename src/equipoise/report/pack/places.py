"""Where in a run's artefacts a guideline's question is answered; "" where it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from equipoise.report.finding import Finding
from equipoise.report.reading import dig, lines, mapping
from equipoise.report.text import count, finite, listed

Place = Callable[[Finding], str]


def always(place: str) -> Place:
    """A place that every report has."""
    return lambda finding: place


def where(place: str, *keys: str, of: str = "results") -> Place:
    """A place that is there when this entry of the results, or of the context, is not empty."""

    def found(finding: Finding) -> str:
        return place if dig(finding.results if of == "results" else finding.context, *keys) else ""

    return found


def declared(key: str, *, place: str = "report.html, Protocol") -> Place:
    """The protocol's own words for it."""

    def found(finding: Finding) -> str:
        said = dig(finding.results, "protocol", key)
        return f"{place}: {said}" if said else ""

    return found


def title(finding: Finding) -> str:
    """Development or evaluation, and of what."""
    return f"report.html, title and question: {'development and evaluation' if made_here(finding) else 'evaluation'} for {finding.target}"


def made_here(finding: Finding) -> bool:
    """Whether Equipoise fitted the model; a foreign table brings predictions only."""
    return bool(finding.context.get("training"))


def of_development(place: str) -> Place:
    """A place that only a run that fitted a model has."""
    return lambda finding: place if made_here(finding) else ""


def sample_size(finding: Finding) -> str:
    """A calculation made beforehand, or the rehearsal; the numbers themselves are no justification."""
    found = mapping(finding.context, "rehearsal")
    first = " before the rows were opened" if found.get("in_ledger") and finding.opening == 1 else ""
    return f"report.html, Rehearsal: power and smallest demonstrable gain by simulation{first}" if found else ""


def updated(finding: Finding) -> str:
    """Endpoints after local recalibration, where some rung of the ladder was made."""
    rungs = mapping(finding.results, "recalibration_ladder", "rungs").values()
    return "report.html, After local recalibration" if any(mapping(r, "endpoints") for r in rungs) else ""


def recalibrated(finding: Finding) -> bool:
    """Whether the model's risks were recalibrated on calibrate rows."""
    own = str(dig(finding.context, "calibration", str(finding.results.get("task") or "")) or "")
    return bool(own) and own.partition(": ")[0] != "NoCalibration"


def imbalance(finding: Finding) -> str:
    """That class imbalance is left as it is, and whether risks were recalibrated."""
    if not made_here(finding):
        return ""
    after = "risks were recalibrated on calibrate rows" if recalibrated(finding) else "nothing was recalibrated"
    return f"nothing was done about class imbalance; {after} (report.html, Comparators)"


def threshold(finding: Finding) -> str:
    """The threshold at which a risk is judged; other predictions have none."""
    return declared("threshold", place="report.html, Protocol: a risk, judged at the threshold")(finding) if finding.kind in ("binary", "time_to_event") else ""


def against_overfitting(finding: Finding) -> str:
    """What kept the model from following its train rows too closely."""
    if not made_here(finding):
        return ""
    tuned = "; settings tuned inside train rows" if finding.context.get("tuned") else ""
    return f"report.html, Training: select rows choose the epoch{tuned}"


def every_step(finding: Finding) -> str:
    """What each fold of a cross-validation does anew."""
    if not finding.crossed or not made_here(finding):
        return ""
    more = [name for name, there in (("tuning", finding.context.get("tuned")), ("recalibration", recalibrated(finding))) if there]
    return f"each fold has its own {listed(['transforms', *more, 'comparators'])}"


def held_apart(finding: Finding) -> str:
    """How the rows were divided and sealed."""
    if finding.crossed:
        return "report.html, Seal: cross-validation; no cluster in two folds; how often these rows were opened"
    if finding.role == "held_out" and made_here(finding):
        return "report.html, Seal and Cohort: four roles, no cluster in two of them, the held-out rows' openings recorded"
    return ""


def sizes(finding: Finding) -> str:
    """Counts of rows and events by role."""
    n = mapping(finding.results, "n")
    if finite(n.get("rows")) is None:
        return ""
    events = f", {count(n['events'])} events" if finite(n.get("events")) is not None else ""
    return f"report.html, n at a glance: {count(n['rows'])} evaluated rows{events}" + ("; Cohort: rows and events by role" if made_here(finding) else "")


def measures(finding: Finding) -> str:
    """Which kinds of performance were measured."""
    groups = list(dict.fromkeys(m.group.lower() for m in finding.metrics))
    return f"report.html, Performance and Figures: {', '.join(groups)}" if groups else ""


def calibrated_and_useful(finding: Finding) -> str:
    """Discrimination, calibration and utility, all three, with intervals; a page that lacks one of them does not answer."""
    groups = {m.group for m in finding.metrics}
    if not finding.metrics or not any(finite(e.get("lo")) is not None for e in finding.endpoints(finding.model).values()):
        return ""
    needed = {"Discrimination", "Calibration"} | ({"Clinical utility"} if finding.kind == "binary" else set())
    return "report.html, Performance, with intervals" if needed <= groups else ""


def missing_data(finding: Finding) -> str:
    """What is done with absent evidence, missing predictions and missing outcomes."""
    place = "report.html, Protocol: missing predictions and outcomes"
    return place + ("; Missing data: presence of each evidence by role; absent evidence is modelled as absent, not imputed" if made_here(finding) else "")


def subgroup_results(finding: Finding) -> str:
    """Performance by subgroup, where subgroups were declared."""
    return "report.html, Subgroups" if mapping(finding.results, "subgroups") else ""


def site_results(finding: Finding) -> str:
    """Heterogeneity over sites, where sites are a subgroup."""
    return "report.html, Subgroups: site" if dig(finding.results, "subgroups", "site") else ""


def any_of(places: Sequence[Place]) -> Place:
    """The places that are there, together."""
    return lambda finding: "; ".join(p for p in (place(finding) for place in places) if p)


def cohort_flow(finding: Finding) -> str:
    """From the sources' rows to the included ones."""
    return "report.html, Cohort: flow from the sources to the included rows" if lines(mapping(finding.context, "cohort"), "flow") else ""

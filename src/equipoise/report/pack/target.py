"""The TARGET checklist of a target-trial emulation: 21 items, each pointing at an artefact or saying "not done"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from equipoise.report.finding import Finding
from equipoise.report.pack.checklist import Answer, Item, checklist
from equipoise.report.reading import dig

SOURCE = (
    "Cashin et al. (2025), TARGET: Transparent Reporting of Observational Studies Emulating a Target Trial; "
    "items are told in our words from the statement's structure, the published text is what counts"
)


def _protocol(*names: str) -> Answer:
    """Parts of the target trial's document, in its own words."""

    def found(finding: Finding) -> str:
        parts = {name: dig(finding.results, "emulation", "target_trial", name) for name in names}
        return "; ".join(f"{name.replace('_', ' ')}: {_words(part)}" for name, part in parts.items() if part)

    return found


def _result(place: str, *keys: str) -> Answer:
    """A place that is there when this entry of the emulation's results is not empty."""
    return lambda finding: place if dig(finding.results, "emulation", *keys) else ""


def _words(part: object) -> str:
    if isinstance(part, Mapping):
        return ", ".join(f"{k} ({v})" for k, v in part.items())
    return ", ".join(map(str, part)) if isinstance(part, Sequence) and not isinstance(part, str) else str(part)


_ESTIMAND = ("population", "strategies", "variable", "intercurrent_events", "summary_measure")
ABSTRACT = (Item("1", "Abstract", "that it is an observational emulation of a target trial; question, data, strategies, main result", statement="abstract"),)
INTRODUCTION = (
    Item("2", "Background", "what is known and what gap there is", statement="rationale"),
    Item("3", "Causal question", "the question in one sentence", _protocol(*_ESTIMAND)),
    Item("4", "Rationale", "why a target trial is emulated, and not run", statement="why_emulated"),
)
METHODS = (
    Item("5", "Data sources", "setting, dates, linkage, quality of treatments, outcomes and confounders", statement="sources"),
    Item("6a", "Target trial: eligibility", "criteria", _protocol("eligibility")),
    Item("6b", "Target trial: strategies", "strategies compared", _protocol("strategies", "intercurrent_events")),
    Item("6c", "Target trial: assignment", "how people would be assigned, and whether blinded", _protocol("assignment")),
    Item("6d", "Target trial: follow-up", "start and end", _protocol("time_zero", "follow_up")),
    Item("6e", "Target trial: outcomes", "definition and time", _protocol("variable")),
    Item("6f", "Target trial: causal contrasts", "contrast, effect measure, whose average", _protocol("causal_contrast", "summary_measure", "estimand")),
    Item("6g", "Target trial: assumptions", "what identifies the contrast", _protocol("assumptions")),
    Item("6h", "Target trial: analysis plan", "the analysis of the target trial", _protocol("analysis")),
    Item("7a", "Emulation: eligibility", "how each criterion was read from the data", statement="eligibility_emulated"),
    Item("7b", "Emulation: strategies", "how strategies were read from the data", statement="strategies_emulated"),
    Item("7c", "Emulation: assignment", "how assignment was emulated, with which confounders", _protocol("confounders")),
    Item("7d", "Emulation: follow-up", "time zero", _result("emulation.json, n: eligibility, assignment and follow-up were checked to start on one day", "n")),
    Item("7e", "Emulation: outcomes", "how outcomes were read from the data", statement="outcome_emulated"),
    Item("7f", "Emulation: causal contrasts", "observational analogue of each contrast", _result("emulation.json, estimates", "estimates")),
    Item(
        "7g", "Emulation: assumptions", "which stand in for randomisation, and how they are probed", _result("emulation.json, overlap and balance", "overlap")
    ),
    Item("7h", "Emulation: analysis", "weights, models, missing data, intervals", _result("emulation.json, estimates: method", "estimates")),
)
RESULTS = (
    Item("8", "Selection", "numbers from assessed to analysed, by strategy", _result("emulation.json, n: eligible and treated", "n"), "flow"),
    Item("9", "Baseline", "characteristics by strategy, before and after adjustment", _result("emulation.json, balance", "balance")),
    Item("10", "Follow-up", "length of follow-up, reasons for its end", statement="follow_up_observed"),
    Item("11", "Missing data", "amount by variable and strategy", _result("emulation.json, n: outcome_missing", "n")),
    Item("12", "Outcomes", "frequency or distribution under each strategy", _result("emulation.json, estimates: untreated and treated", "estimates")),
    Item("13", "Effect estimates", "contrasts with intervals", _result("emulation.json, estimates", "estimates")),
    Item(
        "14",
        "Additional analyses",
        "sensitivity to assumptions and choices",
        _result("emulation.json, trimmed, negative_controls and bias_curve", "bias_curve"),
    ),
)
DISCUSSION = (
    Item("15", "Interpretation", "in view of the causal question and other evidence"),
    Item("16", "Limitations", "departures from the target trial, sources of bias", _result("emulation.json, sentences", "sentences"), "limitations"),
)
OTHER = (
    Item("17", "Ethics", "approval and consent", statement="ethics"),
    Item("18", "Registration", "where and when registered, deviations", statement="registration"),
    Item("19", "Data sharing", "availability of data and code", statement="data_sharing"),
    Item("20", "Funding", "sources and role of funders", statement="funding"),
    Item("21", "Conflicts of interest", "of all authors", statement="conflicts"),
)
SECTIONS = {"Abstract": ABSTRACT, "Introduction": INTRODUCTION, "Methods": METHODS, "Results": RESULTS, "Discussion": DISCUSSION, "Other information": OTHER}


def target(finding: Finding) -> str:
    """The checklist as Markdown; the finding's results hold the emulation under ``emulation``."""
    lead = f"Source: {SOURCE}. An item that points somewhere says where this run answers it, not that the answer is good."
    return checklist("TARGET: transparent reporting of an emulated target trial", lead, SECTIONS, finding)

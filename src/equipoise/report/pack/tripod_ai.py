"""The TRIPOD+AI checklist of a run: 27 items, each pointing at an artefact or saying "not done"."""

from __future__ import annotations

from equipoise.report.finding import Finding
from equipoise.report.pack import places as at
from equipoise.report.pack.checklist import Item, checklist

SOURCE = "Collins et al. (2024), BMJ 385:e078378; the items are told in our words, the guideline's own text is what counts"

_PAGE = "report.html"
TITLE_ABSTRACT = (
    Item("1", "Title", "development or evaluation of a prediction model, target population, outcome", at.title),
    Item("2", "Abstract", "an abstract by TRIPOD+AI for Abstracts"),
)
INTRODUCTION = (
    Item("3a", "Background", "healthcare context, rationale, existing models", statement="rationale"),
    Item("3b", "Background", "target population, purpose in the care pathway, intended users", statement="intended_use"),
    Item("3c", "Background", "known health inequalities between sociodemographic groups", statement="inequalities"),
    Item("4", "Objectives", "objectives; development, evaluation or both", at.always(f"{_PAGE}, question and Protocol: claim")),
)
METHODS = (
    Item(
        "5a",
        "Data",
        "sources for development and evaluation, why these, representativeness",
        at.where(f"{_PAGE}, Cohort: sources and their hashes", "cohort", "sources", of="context"),
        "sources",
    ),
    Item("5b", "Data", "dates of accrual and end of follow-up", statement="dates"),
    Item("6a", "Participants", "setting, number and location of centres", statement="setting"),
    Item("6b", "Participants", "eligibility criteria", at.any_of((at.declared("population"), at.cohort_flow))),
    Item("6c", "Participants", "treatments received and how they were handled", at.declared("estimand", place=f"{_PAGE}, Protocol: estimand"), "treatments"),
    Item(
        "7",
        "Data preparation",
        "pre-processing and quality checks, alike across groups",
        at.of_development(f"{_PAGE}, The full config: views and their transforms, fitted on train rows"),
        "preparation",
    ),
    Item("8a", "Outcome", "definition, horizon, how and when assessed, why this outcome", at.declared("outcome")),
    Item("8b", "Outcome", "who assessed it, where it needs judgement", statement="outcome_assessors"),
    Item("8c", "Outcome", "blinding of the assessment", statement="blinding"),
    Item("9a", "Predictors", "how the initial predictors were chosen", statement="predictor_choice"),
    Item(
        "9b",
        "Predictors",
        "definition of all predictors, how and when measured",
        at.where(f"{_PAGE}, Cohort: evidences, and the cohort's tables", "cohort", "evidences", of="context"),
        "predictors",
    ),
    Item("9c", "Predictors", "who assessed them, where they need judgement", statement="predictor_assessors"),
    Item("10", "Sample size", "how the size was arrived at, and that it is enough", at.sample_size, "sample_size"),
    Item("11", "Missing data", "how missing data were handled, why data were omitted", at.missing_data),
    Item("12a", "Analysis", "how the data were used and divided", at.held_apart),
    Item("12b", "Analysis", "how predictors were handled: form, scaling, transformation", at.of_development(f"{_PAGE}, The full config: modality")),
    Item("12c", "Analysis", "type of model, all building steps, tuning, internal validation", at.of_development(f"{_PAGE}, Training and The full config")),
    Item("12d", "Analysis", "heterogeneity of performance across clusters", at.site_results),
    Item("12e", "Analysis", "measures and plots, and how models are compared", at.measures),
    Item("12f", "Analysis", "model updating", at.updated),
    Item("12g", "Analysis", "how predictions were calculated", at.of_development("manifest.json and Reproducibility: command, versions; predictions.parquet")),
    Item(
        "13",
        "Class imbalance",
        "whether it was treated, and recalibration after it",
        at.imbalance,
    ),
    Item("14", "Fairness", "approaches to fairness and why", statement="fairness"),
    Item(
        "15",
        "Model output",
        "what the output is; thresholds and how they were chosen",
        at.threshold,
    ),
    Item(
        "16",
        "Training and evaluation",
        "differences between development and evaluation data",
        at.where(f"{_PAGE}, Missing data: presence by role", "presence", of="context"),
        "differences",
    ),
    Item("17", "Ethics", "ethics committee, consent or waiver", statement="ethics"),
)
OPEN_SCIENCE = (
    Item("18a", "Funding", "source and role of the funders", statement="funding"),
    Item("18b", "Conflicts", "conflicts of interest", statement="conflicts"),
    Item("18c", "Protocol", "where the protocol can be read", at.declared("hash", place=f"{_PAGE}, Protocol, and claims.json; hash")),
    Item("18d", "Registration", "register and number, or that there is none", statement="registration"),
    Item("18e", "Data sharing", "availability of the data", statement="data_sharing"),
    Item("18f", "Code sharing", "availability of the code", at.where(f"{_PAGE}, Reproducibility: command and commit", "command", of="context")),
    Item("19", "Public involvement", "patient and public involvement, or none", statement="public_involvement"),
)
RESULTS = (
    Item("20a", "Participants", "flow, with and without the outcome, follow-up time", at.cohort_flow),
    Item(
        "20b",
        "Participants",
        "characteristics, dates, predictors, events, missing data",
        at.where(f"{_PAGE}, Cohort and Missing data", "cohort", "counts", of="context"),
    ),
    Item("20c", "Participants", "distribution of important predictors in both data sets"),
    Item("21", "Development", "participants and events in each analysis", at.sizes),
    Item(
        "22",
        "Specification",
        "the full model, for predictions in new people, and limits of its use",
        at.of_development("ensemble.pt with `equipoise predict model=RUN`; config.yaml"),
    ),
    Item("23a", "Performance", "estimates with intervals, in key subgroups", at.any_of((at.calibrated_and_useful, at.subgroup_results))),
    Item("23b", "Performance", "heterogeneity across clusters, where examined", at.site_results),
    Item("24", "Updating", "results of updating", at.updated),
)
DISCUSSION = (
    Item("25", "Interpretation", "overall interpretation, fairness, previous studies", statement="interpretation"),
    Item("26", "Limitations", "limitations and their effects", at.always(f"{_PAGE}, Limitations: those that follow from the run's facts")),
    Item(
        "27a",
        "Usability",
        "handling of poor or unavailable input when in use",
        at.of_development("report.html, Missing data: any subset of evidences is accepted; without any the model abstains"),
    ),
    Item("27b", "Usability", "what users must do, and the expertise they need", statement="users"),
    Item("27c", "Usability", "next steps, applicability, generalisability", statement="next_steps"),
)
SECTIONS = {
    "Title and abstract": TITLE_ABSTRACT,
    "Introduction": INTRODUCTION,
    "Methods": METHODS,
    "Open science and involvement": OPEN_SCIENCE,
    "Results": RESULTS,
    "Discussion": DISCUSSION,
}


def tripod_ai(finding: Finding) -> str:
    """The checklist as Markdown."""
    lead = f"Where this run answers the 27 items of TRIPOD+AI. Source: {SOURCE}. What software cannot know is for the authors to write."
    return checklist("TRIPOD+AI checklist", lead, SECTIONS, finding)

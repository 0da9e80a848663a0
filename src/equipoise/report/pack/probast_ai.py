"""The PROBAST+AI self-audit of a run: signalling questions of development and evaluation, each pointing at what would answer it, or "not done"."""

from __future__ import annotations

from equipoise.report.finding import Finding
from equipoise.report.pack import places as at
from equipoise.report.pack.checklist import Item, checklist

SOURCE = "Moons et al. (2025), BMJ 388:e082505; the questions are told in our words, the tool's own text is what counts"


def _shared(domain: int) -> tuple[Item, ...]:
    """Domains 1 to 3 ask the same of development and of evaluation."""
    made: dict[int, tuple[Item, ...]] = {
        1: (
            Item("1.1", "Participants and data", "appropriate data sources", statement="sources"),
            Item("1.2", "Participants and data", "an appropriate study design", statement="design"),
            Item("1.3", "Participants and data", "in- and exclusions that leave a representative data set", at.cohort_flow, "representativeness"),
        ),
        2: (
            Item("2.1", "Predictors", "defined and assessed alike for all", statement="predictors"),
            Item("2.2", "Predictors", "pre-processing alike for all", at.of_development("one fitted transform for all rows (config.yaml: modality)")),
            Item(
                "2.3",
                "Predictors",
                "assessed without knowledge of the outcome",
                at.of_development("nothing after the prediction time enters (law of the modality room)"),
                "blinding",
            ),
            Item("2.4", "Predictors", "available when the model is to be used", at.declared("prediction_time")),
        ),
        3: (
            Item("3.1", "Outcome", "defined and assessed appropriately", at.declared("outcome")),
            Item("3.2", "Outcome", "defined and assessed alike for all", statement="outcome_assessors"),
            Item("3.3", "Outcome", "assessed without use of predictor data", statement="blinding"),
            Item(
                "3.4",
                "Outcome",
                "an appropriate time between predictors and outcome",
                at.any_of((at.declared("horizon_days", place="report.html, Protocol: horizon in days"), at.declared("prediction_time"))),
            ),
        ),
    }
    return made[domain]


DEVELOPMENT = (
    *_shared(1),
    *_shared(2),
    *_shared(3),
    Item("4.1", "Analysis", "evidence that the sample size was reasonable", at.sample_size, "sample_size"),
    Item(
        "4.2",
        "Analysis",
        "continuous and categorical predictors handled appropriately",
        at.of_development("config.yaml: modality (scaling, rank-normal, embeddings; no cut points)"),
    ),
    Item("4.3", "Analysis", "missing or censored data handled appropriately", at.missing_data),
    Item("4.4", "Analysis", "recalibration, if class imbalance was treated", at.of_development("class imbalance was not treated")),
    Item(
        "4.5",
        "Analysis",
        "methods against overfitting",
        at.against_overfitting,
    ),
)
EVALUATION = (
    *_shared(1),
    *_shared(2),
    *_shared(3),
    Item("4.1", "Analysis", "more than apparent performance", at.held_apart),
    Item("4.2", "Analysis", "evidence that the sample size was reasonable", at.sample_size, "sample_size"),
    Item("4.3", "Analysis", "missing or censored data handled appropriately", at.missing_data),
    Item("4.4", "Analysis", "evaluated without imbalance correction", at.of_development("the evaluated rows are as they are")),
    Item("4.5", "Analysis", "no leakage between training and test", at.held_apart),
    Item(
        "4.6",
        "Analysis",
        "resampling repeats every step of development",
        at.every_step,
    ),
    Item("4.7", "Analysis", "calibration, discrimination and net benefit", at.calibrated_and_useful),
)


def probast_ai(finding: Finding) -> str:
    """The self-audit as Markdown. It judges no risk of bias: that is for someone who did not make the model."""
    lead = (
        "A self-audit: which of the tool's 34 signalling questions this run gives material for. It rates nothing; risk of bias is for a reader who did not "
        f"make the model. Source: {SOURCE}."
    )
    sections = ({"Model development": DEVELOPMENT} if at.made_here(finding) else {}) | {"Model evaluation": EVALUATION}
    return checklist("PROBAST+AI self-audit", lead, sections, finding)

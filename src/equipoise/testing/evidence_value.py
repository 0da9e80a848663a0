"""What an evidence adds, measured by a nested refit in the trial, beside what it adds in truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from equipoise.contract.tables import MODEL
from equipoise.testing.known_truth import KnownCohort, evidences_of, held_out_forecast
from equipoise.testing.nearness import nearness
from equipoise.trial.evaluate import evaluate
from equipoise.trial.protocol import protocol_of


@dataclass(frozen=True)
class EvidenceValue:
    """What one evidence adds to all the others, in nats of log score; positive: it helps.

    Args:
        evidence: which one.
        gain: the trial's paired difference of the network with all evidences from its refit without this one.
        lo: of its interval.
        hi: likewise.
        verdict: the trial's, with the refit as the one required comparator.
        expected_gain: the same two fits' difference in expectation over outcomes, that is without the noise of the held-out outcomes.
        true_gain: what the evidence adds to the best possible risk, over the whole cohort.
    """

    evidence: str
    gain: float
    lo: float
    hi: float
    verdict: str
    expected_gain: float
    true_gain: float


def evidence_values(known: KnownCohort, evidences: Sequence[str]) -> list[EvidenceValue]:
    """Trains with all evidences once and without each of these once, and puts every pair through the trial.

    Args:
        known: the cohort.
        evidences: which ones are left out in turn.
    """
    whole = held_out_forecast(known)
    return [_value(known, e, whole, held_out_forecast(known, without=e)) for e in evidences]


def _value(known: KnownCohort, evidence: str, whole: pl.DataFrame, nested: pl.DataFrame) -> EvidenceValue:
    refit = f"without_{evidence}"
    both = pl.concat([whole, nested], how="diagonal_relaxed")
    protocol = protocol_of(known.config["trial"])
    results = evaluate(both, protocol, kind="binary", task="risk", required=[refit], role="held_out", opening=None)
    found = results["comparisons"][refit]["log_score"]  # the whole's minus the refit's; less is better
    expected = dict(nearness(both, known.truth, evidences_of(known)).select("model", "log_score").iter_rows())
    return EvidenceValue(
        evidence=evidence,
        gain=-found["difference"],
        lo=-found["hi"],
        hi=-found["lo"],
        verdict=results["verdict"],
        expected_gain=expected[refit] - expected[MODEL],
        true_gain=known.truth.facts["added_value"][evidence]["log_score_to_the_rest"],
    )

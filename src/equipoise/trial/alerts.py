"""What acting at the threshold means for a service: alerts, people treated, costs; with intervals and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from equipoise.stats.alerts import alerts_per_100, cost_per_person, number_needed_to_alert, number_needed_to_treat
from equipoise.trial.compare import difference_table, endpoint_table
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.fairness import alerted
from equipoise.trial.judged import Arm, Judged
from equipoise.trial.protocol import Protocol


def utility_tables(judged: Judged, own: Arm, others: Sequence[Arm]) -> dict[str, Any]:
    """{"threshold", "endpoints", "comparators", "comparisons"} of a binary outcome; {} for another.

    Alerts per 100 people and alerts for each true one always; people treated for each event averted where ``relative_risk_reduction`` is declared;
    cost per person where ``unit_costs`` are.

    Args:
        judged: estimates.
        own: the model.
        others: the comparators.
    """
    if judged.rows.kind != "binary" or not judged.usable(own).any():
        return {}
    one = Judged(judged.rows, judged.protocol, _endpoints(judged.protocol), judged.propensity, judged.score)
    one.resample([(own, other) for other in others], [own, *others])
    return {
        "threshold": judged.protocol.threshold,
        "endpoints": endpoint_table(one, own),
        "comparators": {other[0]: endpoint_table(one, other) for other in others},
        "comparisons": {other[0]: difference_table(one, own, other) for other in others},
    }


def _endpoints(protocol: Protocol) -> tuple[Endpoint, ...]:
    made = [
        Endpoint("alerts_per_100", "", lambda s, w: alerts_per_100(alerted(s), w), floor=0.0, ceiling=100.0),
        Endpoint("number_needed_to_alert", "lower", lambda s, w: number_needed_to_alert(alerted(s), s.y, w), floor=1.0),
    ]
    reduction, costs = protocol.relative_risk_reduction, protocol.unit_costs
    if reduction is not None:
        made.append(Endpoint("number_needed_to_treat", "lower", lambda s, w: number_needed_to_treat(alerted(s), s.y, reduction, w), floor=1.0))
    if costs is not None:
        made.append(Endpoint("cost_per_person", "lower", lambda s, w: cost_per_person(alerted(s), s.y, costs, w)))
    return tuple(made)

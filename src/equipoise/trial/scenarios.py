"""Scenarios: one fitted model with an evidence hidden (``masked:``), or another fit (``refit:``, ``placebo:``), against the model as it is."""

from __future__ import annotations

from typing import Any

from equipoise.contract.tables import RESAMPLED_PREFIX, SCENARIO_ALL
from equipoise.predict_table import hidden_in
from equipoise.trial.compare import difference_table, endpoint_table
from equipoise.trial.judged import Arm, Judged
from equipoise.trial.protocol import Protocol
from equipoise.trial.rows import Rows


def scenario_arms(rows: Rows, model: str, protocol: Protocol) -> list[Arm]:
    """The model's scenarios beside ``all``, in the table's order: with several evidences hidden, or of claims about evidences, none: see `trial.value`."""
    mine = [arm for arm in rows.forecasts if arm[0] == model and arm[1] != SCENARIO_ALL and len(hidden_in(arm[1])) <= 1]
    mine = [arm for arm in mine if not arm[1].startswith(RESAMPLED_PREFIX)]
    return [arm for arm in mine if hidden_in(arm[1])] if protocol.value_of else mine


def scenario_tables(judged: Judged, model: str) -> dict[str, dict[str, Any]]:
    """scenario -> {"endpoints", "difference" (scenario minus all, paired on the rows where both predict), "n"}."""
    made = {}
    for arm in scenario_arms(judged.rows, model, judged.protocol):
        differences = difference_table(judged, arm, (model, SCENARIO_ALL))
        made[arm[1]] = {"endpoints": endpoint_table(judged, arm), "difference": differences, "n": int(judged.both(arm, (model, SCENARIO_ALL)).sum())}
    return made

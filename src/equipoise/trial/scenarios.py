"""Scenarios: one fitted model with an evidence hidden (``masked:``), or another fit (``refit:``, ``placebo:``), against the model as it is."""

from __future__ import annotations

from typing import Any

from equipoise.contract.tables import SCENARIO_ALL
from equipoise.trial.compare import difference_table, endpoint_table
from equipoise.trial.judged import Arm, Judged
from equipoise.trial.rows import Rows


def scenario_arms(rows: Rows, model: str) -> list[Arm]:
    """The model's scenarios beside ``all``, in the table's order."""
    return [arm for arm in rows.forecasts if arm[0] == model and arm[1] != SCENARIO_ALL]


def scenario_tables(judged: Judged, model: str) -> dict[str, dict[str, Any]]:
    """scenario -> {"endpoints", "difference" (scenario minus all, paired on the rows where both predict), "n"}."""
    made = {}
    for arm in scenario_arms(judged.rows, model):
        differences = difference_table(judged, arm, (model, SCENARIO_ALL))
        made[arm[1]] = {"endpoints": endpoint_table(judged, arm), "difference": differences, "n": int(judged.both(arm, (model, SCENARIO_ALL)).sum())}
    return made

"""Contribution of each evidence to one fitted model: Shapley values of its primary endpoint over all subsets of hidden evidences.

It divides what the model's answers are worth beside no answer at all, and says nothing about a model that never had the evidence: that is what the refits
are for (`trial.value`). A model that was not trained with evidences hidden answers badly without one, and its contribution is then overstated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from equipoise.contract.tables import SCENARIO_ALL
from equipoise.predict_table import hidden_in
from equipoise.stats.bootstrap import percentile_interval
from equipoise.stats.shapley import coalition, shapley
from equipoise.trial.compare import number
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.judged import Arm, Judged
from equipoise.trial.rows import Forecasts, Rows
from equipoise.trial.value_gains import judged_on

NOTHING = "masked: everything"
"""The arm that answers everybody alike."""


def contribution_tables(judged: Judged, model: str, primary: Endpoint, evidences: Sequence[str]) -> dict[str, Any]:
    """{"n", "whole" (of the model beside no answer), "evidences" (by name: "value", "lo", "hi")}; positive is better.

    Judged on the rows for which the model answers with any evidence alone, that is, those that have every evidence. With all of them hidden a model
    abstains; there the answer is the rows' own mean outcome, the best that can be said of everybody alike.

    Args:
        judged: all rows.
        model: which model.
        primary: the endpoint that is divided.
        evidences: all of the model's.

    Returns:
        {} where a subset was not predicted; with a "note" where the contributions cannot be estimated.
    """
    arms = _arms(judged, model, evidences)
    if len(arms) < 2 ** len(evidences) - 1:
        return {}
    if judged.rows.kind not in ("binary", "multiclass", "continuous"):
        return {"note": f"not estimated for a {judged.rows.kind.replace('_', ' ')} outcome"}
    where = judged.rows.observed & np.logical_and.reduce([judged.rows.forecasts[a].given for a in arms.values()])
    if not where.any():
        return {"note": "no row has every evidence"}
    nothing = (model, NOTHING)
    own = judged_on(judged, where, list(arms.values()), (primary,), further={nothing: _alike(judged.rows, where)})
    order = [nothing, *(arms[s] for s in range(1, 2 ** len(evidences)))]
    everyone = np.ones(own.rows.size, dtype=bool)
    samples = [own.sample(arm, everyone) for arm in order]
    phi = shapley(primary.sign * np.array([float(primary.value(sample)) for sample in samples]))
    draws = np.empty((0, len(evidences)))
    if primary.resampled(samples[0]):
        draws = shapley(primary.sign * np.stack([own.draws(primary, arm, everyone) for arm in order], -1))
    lines = {}
    for i, evidence in enumerate(evidences):
        found = percentile_interval(float(phi[i]), draws[:, i], judged.protocol.level, samples[0].n_clusters)
        lines[evidence] = {"value": number(found.value), "lo": number(found.lo), "hi": number(found.hi)}
    return {"n": int(where.sum()), "whole": number(float(phi.sum())), "evidences": lines}


def _arms(judged: Judged, model: str, evidences: Sequence[str]) -> dict[int, Arm]:
    """The model's arms by the coalition of evidences that they see."""
    made = {}
    for arm in judged.rows.forecasts:
        hidden = hidden_in(arm[1])
        if arm[0] == model and (arm[1] == SCENARIO_ALL or hidden) and hidden < set(evidences):
            made[coalition([e for e in evidences if e not in hidden], evidences)] = arm
    return made


def _alike(rows: Rows, where: np.ndarray) -> Forecasts:
    """The same answer for everybody: the weighted mean outcome of these rows, with their spread as its variance."""
    weight = rows.weight[where] / rows.weight[where].sum()
    mean = weight @ rows.outcome[where]
    variance = weight @ (rows.outcome[where] - mean) ** 2
    blank = np.full(rows.outcome.shape, np.nan)
    risk, total = (np.broadcast_to(x, rows.outcome.shape).copy() for x in (mean, variance))
    return Forecasts(risk, total, blank, blank, blank, blank, blank, blank, np.full(rows.size, np.nan), 0)

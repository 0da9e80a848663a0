"""The claim about the way of making a model: what its gain would be had other people taught it, and its comparators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from equipoise.contract.tables import RESAMPLED_PREFIX, SCENARIO_ALL
from equipoise.stats.estimate import Estimate, normal_interval
from equipoise.trial.compare import number, oriented
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.judged import Arm, Judged

FEWEST = 5
"""Trainings below which their spread is hardly known."""


def trainings(judged: Judged, a: str, b: str) -> list[str]:
    """The scenarios in which both models were trained on the same resampled rows."""
    own, other = ({arm[1] for arm in judged.rows.forecasts if arm[0] == m and arm[1].startswith(RESAMPLED_PREFIX)} for m in (a, b))
    return sorted(own & other)


def over_trainings(judged: Judged, endpoint: Endpoint, a: Arm, b: Arm, found: Estimate, level: float) -> tuple[Estimate, float]:
    """A difference of two models as a difference of two ways of making them, and the standard deviation over trainings.

    The estimate stays that of the models at hand; to its variance over evaluated clusters that over training clusters is added, which the difference
    has in trainings on clusters drawn with replacement: se^2 = se_test^2 + s_training^2, with Student's quantile at Satterthwaite's degrees of freedom.
    That is the uncertainty about the difference that one more training set and one more test set would show on average.

    Args:
        judged: estimates.
        endpoint: which one.
        a: the model's arm; b: the comparator's.
        found: the difference of both, and its standard error over evaluated clusters.
        level: in (0, 1), of the interval.

    Returns:
        NaN bounds with fewer than 5 trainings.

    Source: ours; the bootstrap of training sets (Efron and Tibshirani 1997), Satterthwaite (1946).
    """
    each = np.array([_difference(judged, endpoint, (a[0], s), (b[0], s)) for s in trainings(judged, a[0], b[0])])
    each = each[np.isfinite(each)]
    if each.size < FEWEST or not np.isfinite(found.se):
        return Estimate(found.value, np.nan, np.nan, np.nan, "fewer than 5 trainings on resampled rows"), float("nan")
    training, test = float(each.var(ddof=1)), found.se**2
    df = (training + test) ** 2 / (training**2 / (each.size - 1)) if training > 0 else np.inf
    method = f"{found.method}, and the spread over {each.size} trainings on resampled rows"
    return normal_interval(found.value, float(np.sqrt(training + test)), level, method, df=df), float(np.sqrt(training))


def way_tables(judged: Judged, model: str, primary: Endpoint, against: Sequence[str]) -> dict[str, Any]:
    """comparator -> the primary gain with both intervals and the spread over trainings; {} without trainings on resampled rows."""
    made = {}
    for c in against:
        arms = (model, SCENARIO_ALL), (c, SCENARIO_ALL)
        if arms[1] not in judged.rows.forecasts or not (known := trainings(judged, model, c)):
            continue
        found = oriented(primary, judged.difference(primary, *arms))
        way, spread = over_trainings(judged, primary, *arms, found, judged.protocol.level)
        made[c] = {
            "trainings": len(known),
            "gain": number(found.value),
            "model": {"lo": number(found.lo), "hi": number(found.hi), "se": number(found.se)},
            "way": {"lo": number(way.lo), "hi": number(way.hi), "se": number(way.se)},
            "sd_over_trainings": number(spread),
        }
    return made


def _difference(judged: Judged, endpoint: Endpoint, a: Arm, b: Arm) -> float:
    where = judged.both(a, b)
    one, other = judged.sample(a, where), judged.sample(b, where)
    return float(endpoint.value(one) - endpoint.value(other)) if one.size else float("nan")

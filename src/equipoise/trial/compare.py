"""Endpoints and paired differences as they stand in results.json."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from equipoise.stats.estimate import Estimate
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.judged import Arm, Judged


def endpoint_table(judged: Judged, arm: Arm) -> dict[str, dict[str, Any]]:
    """name -> {"value", "se", "lo", "hi", "method", "better", and where there is something to say "note"} of an arm; null = not estimated."""
    sample = judged.sample(arm, judged.usable(arm))
    table = {}
    for endpoint in judged.endpoints:
        found = judged.estimate(endpoint, arm)
        line: dict[str, Any] = {"value": number(found.value), "se": number(found.se), **_bounds(found), "method": found.method, "better": endpoint.better}
        note = "no rows with an outcome and a prediction" if not sample.size else endpoint.note(sample) if endpoint.note else ""
        note = note or ("not estimable on these rows" if not math.isfinite(found.value) else endpoint.no_interval)
        if not note and found.value in (endpoint.floor, endpoint.ceiling) and not math.isfinite(found.lo):
            note = "no interval: at its limit in every resample, which does not say how far from it the truth may lie"
        table[endpoint.name] = line | ({"note": note} if note else {})
    return table


def difference_table(judged: Judged, a: Arm, b: Arm) -> dict[str, dict[str, Any]]:
    """name -> {"difference" (a - b), "se", "lo", "hi", "p", "better", "method", "n"}; null = not estimated."""
    n = int(judged.both(a, b).sum())
    table = {}
    for endpoint in judged.endpoints:
        found = judged.difference(endpoint, a, b)
        table[endpoint.name] = {
            "difference": number(found.value),
            "se": number(found.se),
            **_bounds(found),
            "p": number(found.p),
            "better": endpoint.better,
            "method": found.method,
            "n": n,
        }
    return table


def oriented(endpoint: Endpoint, difference: Estimate) -> Estimate:
    """The difference as a gain: positive where the first arm is better."""
    if endpoint.sign >= 0:
        return difference
    return Estimate(-difference.value, difference.se, -difference.hi, -difference.lo, difference.method, difference.p)


def one_sided(gain: Estimate) -> float:
    """p of no gain, from the two-sided one; NaN where it was not estimated."""
    return gain.p / 2 if gain.value > 0 else 1 - gain.p / 2


def number(x: float) -> float | None:
    """A number for JSON: null where it is not finite."""
    return float(x) if math.isfinite(x) else None


def numbers(x: np.ndarray) -> list[float | None]:
    """Numbers for JSON, of f64 (k,)."""
    return [number(float(v)) for v in x]


def _bounds(found: Estimate) -> dict[str, float | None]:
    return {"lo": number(found.lo), "hi": number(found.hi)}

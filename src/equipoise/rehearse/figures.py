"""From the twins' records to a rehearsal's figures: rates with Wilson intervals, coverage, the smallest demonstrable gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from equipoise.stats.proportion import wilson_interval

LEVEL = 0.95
POWER = 0.8


def figures_of(records: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """All figures.

    Args:
        records: of each twin, one record a planted gain (see `one.beside_truth`).

    Returns:
        "by_gain": one line a planted gain, increasing; "smallest_demonstrable_gain": {"planted", "by_formula"}; "twins". A rate is
        {"events", "n", "value", "lo", "hi"} with its 95 % interval over twins.
    """
    gains = sorted({float(r["gain"]) for twin in records for r in twin})
    lines = [_line(gain, [r for twin in records for r in twin if float(r["gain"]) == gain]) for gain in gains]
    formula = [line["mean_smallest"] for line in lines if line["mean_smallest"] is not None]
    power = {line["gain"]: line["claims"]["value"] for line in lines}
    return {
        "twins": len(records),
        "by_gain": lines,
        "smallest_demonstrable_gain": {
            "planted": demonstrable(power),
            "largest_planted": gains[-1] if gains else None,
            "by_formula": formula[0] if formula else None,
        },
    }


def _line(gain: float, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    judged = [r for r in records if r["models"]]
    models = sorted({c for r in judged for c in r["models"]})
    held = {c: [_held(r["models"][c]) for r in judged if c in r["models"]] for c in models}
    covered = {c: rate(sum(h for h in hits if h is not None), sum(h is not None for h in hits)) for c, hits in held.items()}
    risk = [r["risk_covered"] for r in judged if r.get("risk_covered") is not None]
    return {
        "gain": gain,
        "claims": rate(sum(bool(r.get("claimed")) for r in records), len(records)),
        "false": rate(sum(bool(r.get("false")) for r in records), len(records)),
        "truly_better": rate(sum(bool(r.get("truly_better")) for r in records), len(records)),
        "not_evaluable": sum(r["verdict"] == "not evaluable" for r in records),
        "verdicts": {v: sum(r["verdict"] == v for r in records) for v in sorted({str(r["verdict"]) for r in records})},
        "mean_true_gain": _mean([r["true_gain"] for r in judged]),
        "mean_smallest": _mean([r["smallest"] for r in judged]),
        "coverage": covered,
        "risk_coverage": _mean(risk),
    }


def rate(events: int, n: int) -> dict[str, Any]:
    """A share with its Wilson interval.

    >>> rate(0, 10)["hi"] < 0.28
    True
    """
    lo, hi = wilson_interval(np.array([float(events)]), np.array([float(n)]), LEVEL)
    return {"events": int(events), "n": int(n), "value": events / n if n else None, "lo": float(lo[0]) if n else None, "hi": float(hi[0]) if n else None}


def demonstrable(power: Mapping[float, float | None]) -> float | None:
    """The planted gain at which power crosses 80 %, on straight lines between the planted gains; None where it stays below.

    >>> demonstrable({0.0: 0.0, 0.02: 0.6, 0.04: 1.0})
    0.03
    """
    known = sorted((g, p) for g, p in power.items() if p is not None)
    for (low, a), (high, b) in pairwise(known):
        if a < POWER <= b:
            return float(round(low + (POWER - a) / (b - a) * (high - low), 10))
    return None


def _held(found: Sequence[float | None]) -> bool | None:
    """Whether an interval holds the true difference; None without an interval."""
    truth, _, lo, hi = found
    return None if truth is None or lo is None or hi is None else bool(lo <= truth <= hi)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(known)) if known else None

"""Several runs on the same rows: endpoints, paired differences from one of them with p-values adjusted for their number, the spread over seeds.

Two kinds of claim, kept apart:

about the fitted models      rows are resampled by clusters, the same resamples for all; the models are as they are
about the way of making them seeds are the sample, the rows are as they are; from three seeds on with Student's t

Neither resamples training rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from equipoise.contract.tables import SCENARIO_ALL
from equipoise.stats.estimate import Estimate
from equipoise.stats.means import mean_interval, welch_interval
from equipoise.stats.multiplicity import benjamini_hochberg, holm
from equipoise.trial.analysis_rows import analysis_rows
from equipoise.trial.compare import difference_table, endpoint_table, number
from equipoise.trial.endpoints import endpoints_of, primary_horizon
from equipoise.trial.judged import Judged
from equipoise.trial.obstacles import counts_of
from equipoise.trial.protocol import Protocol
from equipoise.trial.rows import rows_of
from equipoise.trial.table import validated
from equipoise.trial.treatment_effect import propensities, scores
from equipoise.trial.ways import averaged, with_ways

FEWEST_SEEDS = 3
"""From so many seeds on, their spread is known well enough for an interval."""


def beside(
    predictions: pl.DataFrame,
    protocol: Protocol,
    *,
    kind: str,
    ways: Mapping[str, Sequence[str]],
    comparators: Sequence[str],
    role: str,
) -> dict[str, Any]:
    """Judges runs beside one another; the first way is the one that the others are compared with.

    Args:
        predictions: a predictions table of one task, each run a model, on the same rows.
        protocol: by which all are judged.
        kind: of the outcome.
        ways: name -> its runs, which differ in their seed alone; a way of one run has the run's name.
        comparators: other models of the table, shown beside the runs.
        role: of the rows. On select rows no p-value is given: they chose what they would judge.

    Returns:
        Plain values without NaN: "n", "prevalence", "protocol", "primary", "analysis" (what the estimand and missing outcomes did), "reference",
        "ways" (name -> runs, endpoints, seeds),
        "runs" and "comparators" (name -> endpoints), "differences" (way -> endpoint -> its difference from the reference, p, p_adjusted, seeds).
    """
    single, said = analysis_rows(rows_of(validated(predictions), kind, (), abstain=protocol.abstain), protocol)
    propensity, score = np.empty(single.size), np.empty(0)
    if kind == "treatment_effect":
        propensity, _ = propensities(single, protocol)
        score = scores(single, propensity)
    endpoints, primary = endpoints_of(kind, protocol, single.horizons_days)
    several = any(len(runs) > 1 for runs in ways.values())
    judged = Judged(with_ways(single, ways), protocol, tuple(averaged(e, several=several) for e in endpoints), propensity, score)
    reference, *others = ways
    runs = [run for found in ways.values() for run in found]
    models = list(dict.fromkeys([*ways, *runs, *comparators]))
    judged.resample([(_arm(way), _arm(reference)) for way in others], [_arm(m) for m in models])
    tables = {m: endpoint_table(judged, _arm(m)) for m in models}
    differences = {way: difference_table(judged, _arm(way), _arm(reference)) for way in others}
    values = {way: {e.name: _values(tables, found, e.name) for e in endpoints} for way, found in ways.items()}
    for way, table in differences.items():
        for endpoint in endpoints:
            found = _over_seeds_of_two(values[way][endpoint.name], values[reference][endpoint.name], protocol.level)
            table[endpoint.name]["seeds"] = found
    _adjust(differences, primary.name, tuning=role == "select")
    horizon = primary_horizon(protocol, single.horizons_days) if kind == "time_to_event" else None
    counts = counts_of(judged, _arm(runs[0]), horizon)
    return {
        "n": counts.as_dict(),
        "prevalence": counts.prevalence,
        "protocol": protocol.as_dict(),
        "primary": primary.name,
        "analysis": list(said.values()),
        "reference": reference,
        "ways": {
            way: {"runs": list(found), "endpoints": tables[way], "seeds": {e.name: _over_seeds(values[way][e.name], protocol.level) for e in endpoints}}
            for way, found in ways.items()
        },
        "runs": {run: {"endpoints": tables[run]} for run in runs},
        "comparators": {c: {"endpoints": tables[c]} for c in comparators},
        "differences": differences,
    }


def _arm(model: str) -> tuple[str, str]:
    return model, SCENARIO_ALL


def _values(tables: Mapping[str, Mapping[str, Any]], runs: Sequence[str], endpoint: str) -> np.ndarray:
    """The endpoint of each run, f64 (k,), NaN where it was not estimated."""
    found = [tables[run][endpoint]["value"] for run in runs]
    return np.array([np.nan if v is None else v for v in found], dtype=np.float64)


def _over_seeds(values: np.ndarray, level: float) -> dict[str, Any]:
    """Mean and spread over the runs of a way; an interval from three on."""
    known = values[np.isfinite(values)]
    several = known.size > 1
    return {
        "n": int(known.size),
        "mean": number(float(known.mean())) if known.size else None,
        "sd": number(float(known.std(ddof=1))) if several else None,
        "min": number(float(known.min())) if several else None,
        "max": number(float(known.max())) if several else None,
        **_interval(mean_interval(values, level), known.size >= FEWEST_SEEDS),
    }


def _over_seeds_of_two(values: np.ndarray, reference: np.ndarray, level: float) -> dict[str, Any]:
    """The difference of two ways' means over seeds; its interval from three seeds on in each."""
    found = welch_interval(values, reference, level)
    enough = min(np.isfinite(values).sum(), np.isfinite(reference).sum()) >= FEWEST_SEEDS
    return {"difference": number(found.value), **_interval(found, bool(enough)), "p": number(found.p) if enough else None}


def _interval(found: Estimate, enough: bool) -> dict[str, Any]:
    if not enough:
        return {"lo": None, "hi": None, "method": f"no interval with fewer than {FEWEST_SEEDS} seeds"}
    return {"lo": number(found.lo), "hi": number(found.hi), "method": found.method.replace("values", "seeds")}


def _adjust(differences: Mapping[str, dict[str, dict[str, Any]]], primary: str, *, tuning: bool) -> None:
    """Writes p_adjusted beside every p: Holm over the pairs on the primary endpoint, Benjamini and Hochberg over pairs and secondary endpoints."""
    names = list(dict.fromkeys(name for table in differences.values() for name in table))
    entries = {name: [table[name] for table in differences.values()] for name in names}
    of_primary = entries.pop(primary, [])
    of_secondary = [entry for found in entries.values() for entry in found]
    for found, adjust, method in ((of_primary, holm, "Holm"), (of_secondary, benjamini_hochberg, "Benjamini-Hochberg")):
        for part in (found, [entry["seeds"] for entry in found]):
            if tuning:
                for entry in part:
                    entry |= {"p": None, "p_adjusted": None, "adjustment": "none: select rows", "adjusted_over": 0}
                continue
            p = np.array([np.nan if entry["p"] is None else entry["p"] for entry in part], dtype=np.float64)
            for entry, adjusted in zip(part, adjust(p), strict=True):
                entry |= {"p_adjusted": number(float(adjusted)), "adjustment": method, "adjusted_over": int(np.isfinite(p).sum())}

"""Numbers and settings of a comparison of runs as CSV, at full precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from equipoise.report.reading import lines, mapping
from equipoise.report.tables import as_csv

_SEEDS = ("n", "mean", "sd", "min", "max", "lo", "hi")
ENDPOINTS = ("task", "what", "name", "metric", "value", "lo", "hi", "better", "method", "note", *(f"seeds_{k}" for k in _SEEDS))
DIFFERENCES = (
    *("task", "name", "reference", "metric", "difference", "lo", "hi", "p", "p_adjusted", "adjustment", "adjusted_over", "better", "method", "n"),
    *(f"seeds_{k}" for k in ("difference", "lo", "hi", "p", "p_adjusted", "adjustment", "adjusted_over", "method")),
)


def comparison_csvs(results: Mapping[str, Any]) -> dict[str, str]:
    """File name -> text: config differences, endpoints, paired differences."""
    return {"configs.csv": _configs(results), "endpoints.csv": as_csv(ENDPOINTS, [*_endpoints(results)]), "differences.csv": _differences(results)}


def _configs(results: Mapping[str, Any]) -> str:
    ways = list(mapping(results, "ways"))
    return as_csv(("key", *ways), [{"key": key, **{way: _plain(v) for way, v in line.items()}} for key, line in mapping(results, "configs").items()])


def _plain(value: Any) -> str:
    return "null" if value is None else str(value)


def _endpoints(results: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """A way of several runs has a line of its own, and each of its runs one."""
    for question in lines(results, "questions"):
        several = {way for way, found in mapping(question, "ways").items() if len(found["runs"]) > 1}
        groups = [("way", way, found) for way, found in mapping(question, "ways").items() if way in several]
        groups += [("run", run, found) for run, found in mapping(question, "runs").items()]
        groups += [("comparator", name, found) for name, found in mapping(question, "comparators").items()]
        for what, name, found in groups:
            for key, entry in mapping(found, "endpoints").items():
                seeds = {f"seeds_{k}": v for k, v in mapping(found, "seeds", key).items()}
                yield {"task": question.get("task"), "what": what, "name": name, "metric": key, **entry, **seeds}


def _differences(results: Mapping[str, Any]) -> str:
    made = []
    for question in lines(results, "questions"):
        for way, table in mapping(question, "differences").items():
            for key, entry in mapping(table).items():
                seeds = {f"seeds_{k}": v for k, v in mapping(entry, "seeds").items()}
                about = {"task": question.get("task"), "name": way, "reference": question.get("reference"), "metric": key}
                made.append({**about, **entry, **seeds})
    return as_csv(DIFFERENCES, made)

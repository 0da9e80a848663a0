"""What one site sends to be pooled: aggregates of a finished trial, never a row, nothing about few people.

Three ways in which aggregates betray few people are closed here. A small group: see `trial.cells`. A threshold with few people on one side: net
benefit counts them, so it is sent only where many counts give the same value (`trial.cells.told`). Two totals that differ by few people: where a
comparator answered for a few people more or fewer than the model, only their paired difference is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.contract.errors import UserError
from equipoise.contract.tables import SCENARIO_ALL
from equipoise.record import write_json
from equipoise.trial.analysis_rows import analysis_rows
from equipoise.trial.cells import Judgeable, cells, decision, edges_of, told
from equipoise.trial.censoring import known_of
from equipoise.trial.judged import Arm
from equipoise.trial.protocol import Protocol, protocol_of
from equipoise.trial.rows import ROW_KEY, Rows, rows_of
from equipoise.trial.sample import Sample
from equipoise.trial.table import validated

WHAT, SCHEMA = "site summary", 1
FILE = "site.json"
COUNTS = ("accuracy", "event1", "event2")
"""Endpoints that can be turned back into counts of few people."""


def write_site_summary(folder: Path, results: Mapping[str, Any], predictions: pl.DataFrame, *, site: str, fitted: str = "") -> Path:
    """Writes ``site.json`` into a folder and returns its path; the arguments as in `site_summary`."""
    write_json(folder / FILE, site_summary(results, predictions, site=site, fitted=fitted))
    return folder / FILE


def site_summary(results: Mapping[str, Any], predictions: pl.DataFrame, *, site: str, fitted: str = "") -> dict[str, Any]:
    """The aggregates of one site, for `equipoise pool`.

    Args:
        results: from `evaluate`, further tasks under "tasks".
        predictions: the table that was evaluated.
        site: the site's declared name.
        fitted: hash of the fitted model, where it is known: pooling then refuses sites that judged different ones.

    Returns:
        Plain values: what, schema, site, fitted, protocol, and "questions", by task: kind, target, unit, model, role, opening, exported; and, where
        it is, n, prevalence, primary, required, lacking, endpoints, differences, cells, decision, withheld. A question with too few people says only why.

    Raises:
        UserError: the site has no name, or bears the identifier of a subject or cluster.
    """
    table = validated(predictions)
    _refuse_name(site, table)
    questions = [results, *results.get("tasks", {}).values()]
    protocol = {k: v for k, v in results["protocol"].items() if k != "hash"}
    return {
        "what": WHAT,
        "schema": SCHEMA,
        "site": site.strip(),
        "fitted": fitted,
        "protocol": results["protocol"],
        "questions": {q["task"]: _question(q, table, protocol_of(protocol)) for q in questions},
    }


def estimates_of(results: Mapping[str, Any]) -> dict[str, Any]:
    """Endpoints by model and paired differences by comparator, each with value, standard error and which way is better: what pooling needs of a site."""
    of_models = {results["model"]: results["endpoints"]} | {c: v["endpoints"] for c, v in results["comparators"].items()}
    return {
        "endpoints": {model: {name: _estimate(e, "value") for name, e in table.items()} for model, table in of_models.items()},
        "differences": {c: {name: _estimate(e, "difference") for name, e in table.items()} for c, table in results["comparisons"].items()},
    }


def _estimate(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {"value": entry[key], "se": entry["se"], "better": entry["better"]}


def _refuse_name(site: str, table: pl.DataFrame) -> None:
    if not site.strip():
        raise UserError("The site has no name", expected="a name that tells it from the other sites", mend="name it")
    if (table["subject_id"] == site.strip()).any() or (table["cluster"] == site.strip()).any():
        raise UserError("The site bears the identifier of a subject or a cluster", expected="the name of a hospital or cohort", mend="give it another name")


def _question(results: Mapping[str, Any], table: pl.DataFrame, protocol: Protocol) -> dict[str, Any]:
    made = {k: results[k] for k in ("kind", "target", "unit", "model", "role")} | {"opening": results["verdict_detail"]["opening"]}
    if results["role"] == "select":
        return made | {"exported": False, "reason": "these are select rows: tuning metrics, no claim"}
    table = table.filter(pl.col("task") == results["task"]) if (table["task"] == results["task"]).any() else table
    rows, _ = analysis_rows(rows_of(table, results["kind"], (), abstain=protocol.abstain), protocol)
    site = _Site(rows, _people(table), protocol, results["model"])
    if (results["model"], SCENARIO_ALL) not in site.rows.forecasts or not site.enough(site.judged(results["model"])):
        return made | {"exported": False, "reason": f"fewer than {protocol.min_cell} people to be judged, or with or without the event, or in an arm"}
    return made | {"exported": True} | site.summary(results)


def _people(table: pl.DataFrame) -> np.ndarray:
    """Whose row each of `Rows` is, i64 (n,)."""
    return np.unique(table.select(ROW_KEY).unique().sort(ROW_KEY)["subject_id"].to_numpy(), return_inverse=True)[1]


class _Site:
    """The rows of one question at one site, and what may be said of them."""

    def __init__(self, rows: Rows, person: np.ndarray, protocol: Protocol, model: str) -> None:
        self.rows, self.person, self.protocol, self.model = rows, person, protocol, model
        declared = protocol.horizon_days or max(rows.horizons_days, default=0.0)
        self.at = rows.horizons_days.index(declared) if rows.horizons_days else 0
        self.first = rows.repeat == rows.repeat.min()

    def judged(self, model: str) -> np.ndarray:
        """bool (n,): rows of the first repeat on which a model is judged."""
        return self.first & self.rows.observed & self.rows.forecasts[(model, SCENARIO_ALL)].given

    def groups(self, where: np.ndarray) -> list[np.ndarray]:
        """The groups of rows (bool (n,)) that must not be small: with and without the event by the (primary) horizon, by arm, or all."""
        match self.rows.kind:
            case "binary":
                return [where & (self.rows.outcome[:, 0] == outcome) for outcome in (0, 1)]
            case "time_to_event":
                return [where & (status == outcome) for status in [self._status(where)] for outcome in (0, 1)]
            case "treatment_effect":
                return [where & (self.rows.treatment == arm) for arm in (0, 1)]
            case _:
                return [where]

    def enough(self, where: np.ndarray) -> bool:
        """Whether each group has at least ``min_cell`` people."""
        return min(self.n_people(group) for group in self.groups(where)) >= self.protocol.min_cell

    def n_people(self, where: np.ndarray) -> int:
        return int(np.unique(self.person[where]).size)

    def summary(self, results: Mapping[str, Any]) -> dict[str, Any]:
        own = self.judged(self.model)
        detail = results["verdict_detail"]
        made: dict[str, Any] = {"n": self._counts(own), "primary": detail["primary"], "required": list(detail["against"]), "lacking": self._lacking(results)}
        made |= estimates_of(results) | {"cells": {}, "decision": {}, "withheld": {}}
        self._withhold_comparators(made)
        hidden: list[str] = []
        if self.rows.kind in ("binary", "time_to_event"):
            made["prevalence"] = results["prevalence"]
            for model in (self.model, *made["differences"]):
                rows = self._judgeable(model)
                edges = edges_of(rows, self.protocol.threshold, self.protocol.min_cell)
                hidden += [model] if told(rows, edges, self.protocol.threshold, self.protocol.min_cell) else []
                if model in made["endpoints"]:
                    made["cells"][model], made["decision"][model] = cells(rows, edges), decision(rows, edges)
        self._withhold_endpoints(made, hidden)
        return made

    def _withhold_comparators(self, made: dict[str, Any]) -> None:
        """Takes out comparators whose rows are too few, or differ by too few from those of the model or of another that is shown."""
        few, own = f"fewer than {self.protocol.min_cell} people", self.judged(self.model)
        shown = [own]
        for c in list(made["differences"]):
            rows = self.judged(c)
            if not self.enough(own & rows):
                del made["endpoints"][c], made["differences"][c]
                made["withheld"][c] = f"{few} to be judged beside the model"
            elif any(self._nearly_the_same(rows, other) for other in shown):
                del made["endpoints"][c]
                made["withheld"][c] = f"judged on rows that differ from others by {few}: only the paired differences are given"
            else:
                shown.append(rows)

    def _nearly_the_same(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Whether two sets of rows differ, in either direction, by some people but too few."""
        return any(alone.any() and not self.enough(alone) for alone in (a & ~b, b & ~a))

    def _withhold_endpoints(self, made: dict[str, Any], hidden: list[str]) -> None:
        """Takes out endpoints that could be turned back into counts of few people."""
        tables: list[tuple[dict[str, Any], tuple[str, ...]]] = [(table, (model,)) for model, table in made["endpoints"].items()]
        tables += [(table, (self.model, c)) for c, table in made["differences"].items()]
        for table, models in tables:
            for name in list(table):
                if why := self._of_few(name, any(m in hidden for m in models)):
                    del table[name]
                    made["withheld"][f"{name} ({' against '.join(models)})"] = why

    def _of_few(self, name: str, hidden: bool) -> str:
        """Why an endpoint is not sent, or "". ``hidden``: net benefit at the threshold would tell a count of few people."""
        bare, _, horizon = name.partition("@h=")
        other = bool(horizon) and float(horizon) != self.rows.horizons_days[self.at]
        if bare in COUNTS:
            return "it can be turned back into counts"
        if bare == "net_benefit" and (other or hidden):
            return "it counts those on a side of the threshold" + (" at another horizon" if other else f": fewer than {self.protocol.min_cell} people")
        if other and not self._enough_by(float(horizon)):
            return f"fewer than {self.protocol.min_cell} people with or without the event by then"
        return ""

    def _counts(self, own: np.ndarray) -> dict[str, int | None]:
        least = self.protocol.min_cell
        made: dict[str, int | None] = {"rows": int(own.sum()), "people": self.n_people(own)}
        if self.rows.kind in ("binary", "time_to_event"):
            made["non_events"], made["events"] = (int(group.sum()) for group in self.groups(own))
        silent = self.first & self.rows.observed & ~self.rows.forecasts[(self.model, SCENARIO_ALL)].given
        for name, where in (("abstained", silent), ("outcome_missing", self.first & ~self.rows.observed)):
            made[name] = None if 0 < self.n_people(where) < least else int(where.sum())
        return made

    def _lacking(self, results: Mapping[str, Any]) -> list[str]:
        """The model and required comparators that gave no prediction for more rows than the protocol allows, or that are not there."""
        found = []
        for name in (self.model, *results["verdict_detail"]["against"]):
            forecasts = self.rows.forecasts.get((name, SCENARIO_ALL))
            if forecasts is None or float((~forecasts.given[self.rows.observed]).mean()) > self.protocol.max_missing:
                found.append(name)
        return found

    def _sample(self, arm: Arm, where: np.ndarray) -> Sample:
        return Sample.of(self.rows, self.rows.forecasts[arm], where, self.protocol, np.full(self.rows.size, np.nan), np.empty(0))

    def _status(self, where: np.ndarray, horizon: float | None = None) -> np.ndarray:
        """Status by a horizon, f64 (n,): NaN outside ``where`` and where censoring hides it."""
        status = np.full(self.rows.size, np.nan)
        whole = where & (self.rows.entry <= 0)
        if whole.any():
            known = known_of(self._sample((self.model, SCENARIO_ALL), whole), horizon or self.rows.horizons_days[self.at])[1]
            status[whole] = np.where(known.weight > 0, known.status, np.nan)
        return status

    def _enough_by(self, horizon: float) -> bool:
        own = self.judged(self.model)
        status = self._status(own, horizon)
        return min(self.n_people(own & (status == outcome)) for outcome in (0, 1)) >= self.protocol.min_cell

    def _judgeable(self, model: str) -> Judgeable:
        where = self.judged(model)
        if self.rows.kind == "binary":
            sample, status, weight = self._sample((model, SCENARIO_ALL), where), self.rows.outcome[where, 0], self.rows.weight[where]
            person = self.person[where]
        else:
            where &= self.rows.entry <= 0
            sample, known = known_of(self._sample((model, SCENARIO_ALL), where), self.rows.horizons_days[self.at])
            status, weight, person = known.status, known.weight, self.person[where]
        seen = np.flatnonzero(weight > 0)
        return Judgeable(sample.risk[seen, self.at], status[seen], weight[seen], person[seen], sample.cluster[seen])

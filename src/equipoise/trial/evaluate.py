"""Puts predictions through the trial: a predictions table and a protocol -> results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from equipoise.contract.tables import MODEL, REFUSED, SCENARIO_ALL
from equipoise.stats.bootstrap import FEWEST_CLUSTERS
from equipoise.stats.estimate import Estimate
from equipoise.trial.alerts import utility_tables
from equipoise.trial.analysis_rows import analysis_rows
from equipoise.trial.certainty import certainty_of
from equipoise.trial.compare import difference_table, endpoint_table, number, oriented
from equipoise.trial.coverage import coverage_tables, set_tables
from equipoise.trial.curves import curves_of
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.endpoints import endpoints_of, primary_horizon
from equipoise.trial.judged import Arm, Judged
from equipoise.trial.obstacles import counts_of, obstacles_to
from equipoise.trial.protocol import Protocol
from equipoise.trial.recalibration_ladder import ladder
from equipoise.trial.referral import referral_of
from equipoise.trial.rows import Rows, rows_of
from equipoise.trial.scenarios import scenario_arms, scenario_tables
from equipoise.trial.secondary import secondary_claims, secondary_endpoints
from equipoise.trial.subgroups import subgroup_tables
from equipoise.trial.table import validated
from equipoise.trial.treatment_effect import propensities, scores
from equipoise.trial.value import value_tables
from equipoise.trial.verdict import decide, sentence
from equipoise.trial.way import over_trainings, trainings, way_tables

SCHEMA = 1
IN_WORDS = {
    "log_score": "log score",
    "crps": "CRPS",
    "rmse": "RMSE",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "td_auc": "cumulative/dynamic AUC",
    "antolini_c": "Antolini's C",
    "integrated_brier": "integrated IPCW Brier score",
    "ipcw_brier": "IPCW Brier score",
    "brier": "Brier score",
}


def evaluate(
    predictions: pl.DataFrame,
    protocol: Protocol,
    *,
    kind: str,
    task: str,
    required: Sequence[str],
    role: str,
    opening: int | None,
    classes: Sequence[str] = (),
    unit: str = "",
    target: str = "",
    model: str = MODEL,
    not_run: Mapping[str, str] | None = None,
    interval: Mapping[str, Any] | None = None,
    sets: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Endpoints of the model and its comparators, their paired differences, the verdict, scenarios and curves.

    Args:
        predictions: a predictions table (see `contract.tables.PREDICTIONS`), at least subject_id, outcome, risk; one task's lines are used.
        protocol: how to judge.
        kind: of the outcome, one of `contract.question.TargetKind`.
        task: the question's name; lines of other tasks are left out.
        required: comparators over which the verdict asks for a gain.
        role: "held_out", "cross-validation", or "select" (tuning metrics, no verdict).
        opening: which opening of held-out rows this is; from the second the verdict is exploratory.
        classes: of a multiclass outcome, in order.
        unit: of a continuous outcome.
        target: what the outcome is called.
        model: which model is on trial.
        not_run: comparator (or "comparator/task") -> why it does not apply here. A required comparator that does not apply is no part of the verdict,
            and the verdict's detail says so; one that was refused (`contract.tables.REFUSED`) leaves none.
        interval: what the predictions' intervals are: "kind", "level", "of".
        sets: what their conformal sets are: "level", "of"; None where nothing is said of any.

    Returns:
        Plain values, JSON-able, without NaN: null is "not estimated", with a "note". Keys: schema, task, kind, target, unit, model, role, n,
        prevalence, protocol, endpoints, comparators, comparisons, verdict, verdict_detail, secondary, scenarios, value, curves, uncertainty,
        subgroups, referral, utility, and recalibration_ladder where the protocol asks for it.

    Raises:
        UserError: the table or the protocol is not what it should be.
    """
    table = validated(predictions)
    table = table.filter(pl.col("task") == task) if (table["task"] == task).any() else table
    rows, said = analysis_rows(rows_of(table, kind, tuple(classes), abstain=protocol.abstain, groups=protocol.subgroups), protocol)
    endpoints, primary = endpoints_of(kind, protocol, rows.horizons_days)
    own = (model, SCENARIO_ALL)
    head = {"schema": SCHEMA, "task": task, "kind": kind, "target": target, "unit": unit, "model": model, "role": role, "protocol": protocol.as_dict()}
    required = required if protocol.comparators is None else protocol.comparators
    secondary_endpoints(protocol.secondary, endpoints)
    excused, refused = _not_run(required, task, not_run or {}, rows)
    against = [c for c in required if c not in excused]
    if own not in rows.forecasts:
        return head | _nothing(f"the predictions table holds no row of model {model}", primary, against, opening)
    propensity, propensity_note, score = np.empty(rows.size), "", np.empty(0)
    if kind == "treatment_effect":
        propensity, propensity_note = propensities(rows, protocol)
        score = scores(rows, propensity)
    judged = Judged(rows, protocol, endpoints, propensity, score)
    others = [arm for arm in rows.forecasts if arm[0] != model and arm[1] == SCENARIO_ALL]
    masked = scenario_arms(rows, model, protocol)
    judged.resample([(own, other) for other in others] + [(arm, own) for arm in masked], [own, *others, *masked])
    horizon = primary_horizon(protocol, rows.horizons_days) if kind == "time_to_event" else None
    counts = counts_of(judged, own, horizon)
    made: dict[str, Any] = head | {
        "n": counts.as_dict(),
        "prevalence": counts.prevalence,
        "endpoints": endpoint_table(judged, own),
        "comparators": {c[0]: {"required": c[0] in required, "endpoints": endpoint_table(judged, c), "notes": _notes(judged, c)} for c in others},
        "comparisons": {c[0]: difference_table(judged, own, c) for c in others},
        "scenarios": scenario_tables(judged, model),
        "value": value_tables(judged, table, model, primary, role=role, opening=opening, words=in_words(primary.name)),
        "curves": {arm[0]: curve for arm in (own, *others) if (curve := curves_of(judged, arm, horizon_days=horizon, banded=arm == own))},
        "uncertainty": certainty_of(rows, rows.forecasts[own], interval or {})
        | {"by_group": coverage_tables(judged, own, interval or {}), "sets": set_tables(judged, own, sets or {})},
        "referral": referral_of(judged, own, against),
        "utility": utility_tables(judged, own, others),
    }
    if protocol.recalibration_ladder:
        made["recalibration_ladder"] = ladder(rows, protocol, endpoints, model, SCENARIO_ALL)
    obstacles = obstacles_to(judged, own, against, counts, role, refused)
    made |= _judgement(judged, own, primary, against, obstacles, role, opening, excused, counts.prevalence or 0.0)
    made["way"] = way_tables(judged, model, primary, against)
    made["secondary"] = {} if role == "select" else secondary_claims(judged, own, against, made["verdict"] == "demonstrated gain")
    made["subgroups"] = {} if role == "select" else subgroup_tables(judged, own, against, primary, horizon)
    if propensity_note:
        made["verdict_detail"]["propensity"] = propensity_note
    if counts.clusters < protocol.few_clusters:
        said["few clusters"] = f"{counts.clusters} clusters: intervals rest on few independent units{_instead(counts.clusters)}"
    made["verdict_detail"]["analysis"] = said
    return made


def _not_run(required: Sequence[str], task: str, not_run: Mapping[str, str], rows: Rows) -> tuple[dict[str, str], dict[str, str]]:
    """Required comparators that do not apply to this question, and those that could answer and were refused; with the reasons."""
    there = {arm[0] for arm in rows.forecasts}
    reasons = {c: not_run.get(f"{c}/{task}") or not_run.get(c) for c in required if c not in there}
    found = {c: reason for c, reason in reasons.items() if reason}
    refused = {c: reason.removeprefix(REFUSED) for c, reason in found.items() if reason.startswith(REFUSED)}
    return {c: reason for c, reason in found.items() if c not in refused}, refused


def _judgement(
    judged: Judged,
    own: Arm,
    primary: Endpoint,
    against: list[str],
    obstacles: list[str],
    role: str,
    opening: int | None,
    excused: dict[str, str],
    prevalence: float,
) -> dict[str, Any]:
    protocol = judged.protocol
    benefit_margin = protocol.net_benefit_margin_share * prevalence
    present = [c for c in against if (c, SCENARIO_ALL) in judged.rows.forecasts]
    gains = {c: oriented(primary, _difference(judged, primary, own, (c, SCENARIO_ALL))) for c in present}
    benefit = _net_benefit_endpoint(judged)
    benefits = {c: _difference(judged, benefit, own, (c, SCENARIO_ALL)) for c in present} if benefit is not None else {}
    if protocol.about == "way" and not all(trainings(judged, own[0], c) for c in present):
        obstacles = [*obstacles, "the claim is about the way of making the model, and nothing was trained on resampled rows (validation.resampled)"]
    words = in_words(primary.name)
    verdict = decide(
        gains,
        benefits,
        obstacles=obstacles,
        primary=words,
        level=protocol.level,
        margin=protocol.margin,
        net_benefit_margin=benefit_margin,
        claim=protocol.claim,
        worthwhile=protocol.worthwhile_gain,
    )
    claim = _claim(judged, own, role)
    name = own[0].capitalize() if own[0] == MODEL else own[0]
    detail = {
        "sentence": sentence(
            verdict,
            model=name,
            primary=words,
            gains=gains,
            claim=claim,
            opening=opening,
            margin=protocol.margin,
            worthwhile=protocol.worthwhile_gain,
        ),
        "primary": primary.name,
        "against": against,
        "reasons": list(verdict.reasons),
        "smallest_demonstrable_gain": {c: number(g) for c, g in verdict.smallest_gain.items()},
        "net_benefit": _worst(benefits, protocol, benefit_margin),
        "margin": protocol.margin,
        "worthwhile_gain": protocol.worthwhile_gain,
        "claim": claim,
        "not_applicable": excused,
        "exploratory": opening is not None and opening > 1,
        "opening": opening,
    }
    return {"verdict": verdict.label, "verdict_detail": detail}


def _difference(judged: Judged, endpoint: Endpoint, own: Arm, other: Arm) -> Estimate:
    """The difference that the claim is about: of the fitted models, or of the ways of making them."""
    found = judged.difference(endpoint, own, other)
    return over_trainings(judged, endpoint, own, other, found, judged.protocol.level)[0] if judged.protocol.about == "way" else found


def _net_benefit_endpoint(judged: Judged) -> Endpoint | None:
    """Net benefit is part of the rule for a binary outcome, whether or not it is among the reported endpoints."""
    return next((e for e in judged.endpoints if e.name == "net_benefit"), None) if judged.rows.kind == "binary" else None


def _worst(benefits: Mapping[str, Estimate], protocol: Protocol, margin: float) -> dict[str, Any]:
    """The comparator against which net benefit is least sure."""
    if not benefits:
        return {}
    worst = min(benefits, key=lambda c: benefits[c].lo if np.isfinite(benefits[c].lo) else -np.inf)
    found = benefits[worst]
    return {
        "threshold": protocol.threshold,
        "margin": margin,
        "margin_share": protocol.net_benefit_margin_share,
        "against": worst,
        "difference": number(found.value),
        "lo": number(found.lo),
        "hi": number(found.hi),
        "not_inferior": bool(found.lo > -margin),
    }


def _claim(judged: Judged, own: Arm, role: str) -> str:
    if judged.protocol.about == "way":
        return "about this way of making a model: clusters of evaluated rows were resampled, and those of training rows for trainings anew"
    crossed = judged.sample(own, judged.usable(own)).crossed
    if crossed or role.startswith("cross"):
        return "about the fitted models of these folds: clusters of evaluated rows were resampled, training rows and seeds were not"
    return "about this fitted model: clusters of evaluated rows were resampled, training rows and seeds were not"


def _instead(clusters: int) -> str:
    """What stands in for resamples of few clusters, beside the intervals that have a formula."""
    return "; those without a formula leave out one cluster at a time" if clusters >= FEWEST_CLUSTERS else "; only those with a formula are given"


def _notes(judged: Judged, arm: Arm) -> dict[str, Any]:
    n = judged.rows.forecasts[arm].n_abstained
    return {"rows without a prediction": n} if n else {}


def _nothing(reason: str, primary: Endpoint, against: list[str], opening: int | None) -> dict[str, Any]:
    """Results without a model to judge: same keys, nothing in them."""
    detail: dict[str, Any] = {
        "sentence": f"Not evaluable: {reason}.",
        "primary": primary.name,
        "against": against,
        "reasons": [reason],
        "smallest_demonstrable_gain": {},
        "net_benefit": {},
        "margin": None,
        "exploratory": opening is not None and opening > 1,
        "opening": opening,
    }
    n = {"rows": 0, "clusters": 0, "events": None, "abstained": 0, "outcome_missing": 0, "folds": 0, "repeats": 0}
    kept = ("endpoints", "comparators", "comparisons", "secondary", "scenarios", "value", "curves", "subgroups", "referral", "utility", "way")
    empty: dict[str, Any] = {key: {} for key in kept}
    return {"n": n, "prevalence": None, **empty, "uncertainty": {"estimated": False}, "verdict": "not evaluable", "verdict_detail": detail}


def in_words(name: str) -> str:
    """An endpoint's name within a sentence.

    >>> in_words("ipcw_brier@h=365"), in_words("calibration_slope")
    ('IPCW Brier score at 365 days', 'calibration slope')
    """
    bare, _, horizon = name.partition("@h=")
    words = IN_WORDS.get(bare, bare.replace("_", " "))
    return f"{words} at {horizon} days" if horizon else words

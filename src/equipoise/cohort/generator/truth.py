"""Writes what only the generator knows: rows.parquet, best_risk.parquet, best_risk_error.parquet, variants.parquet and truth.json with their hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.generator.dials import EVIDENCES, GENERATOR_VERSION, all_subsets, subset_name
from equipoise.cohort.generator.expected import added_values, expected_scores
from equipoise.cohort.generator.posterior import EXTRA, Best, best_predictions
from equipoise.cohort.generator.world import World

TRUTH_FORMAT = 1
_TABLES = ("rows", "best_risk", "best_risk_error", "variants")


def write_truth_tables(world: World, subject_id: list[str], fingerprint: dict[str, Any], folder: Path) -> None:
    """Writes the truth of a world.

    Args:
        world: the world.
        subject_id: names in row order.
        fingerprint: of the cohort that it belongs to.
        folder: made when absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    best, error = best_predictions(world, all_subsets())
    names = [subset_name(s) for s in all_subsets()]
    row_id = pl.Series("row_id", np.arange(world.size, dtype=np.int64))
    tables = {
        "rows": _rows(world, subject_id, best),
        "best_risk": pl.DataFrame({name: best.risk[:, i] for i, name in enumerate(names)}).insert_column(0, row_id),
        "best_risk_error": pl.DataFrame({name: error.risk[:, i] for i, name in enumerate(names)}).insert_column(0, row_id),
        "variants": _variants(world),
    }
    files = {}
    for name in _TABLES:
        path = folder / f"{name}.parquet"
        tables[name].write_parquet(path)
        files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    facts = cohort_truth(world, best, error)
    hashed = json.dumps({"files": files, "facts": facts, "fingerprint": fingerprint}, sort_keys=True)
    out = {
        "format": TRUTH_FORMAT,
        "generator": GENERATOR_VERSION,
        "hash": hashlib.sha256(hashed.encode()).hexdigest(),
        "cohort_fingerprint": fingerprint,
        "files": files,
        "facts": facts,
    }
    (folder / "truth.json").write_text(json.dumps(out, indent=1))


def cohort_truth(world: World, best: Best, error: Best) -> dict[str, Any]:
    """What is true of the whole cohort: scores of every subset's best risk in expectation over outcomes, added values, average effect."""
    risk = world.course.risk
    scores = {subset_name(s): expected_scores(best.risk[:, i], risk) for i, s in enumerate(all_subsets())}
    outcome = world.dials.outcome
    effect = world.trial.mu1 - world.trial.mu0
    return {
        "n": world.size,
        "evidences": list(EVIDENCES),
        "prevalence": float(risk.mean()),
        "oracle": expected_scores(risk, risk),
        "subsets": scores,
        "added_value": added_values(scores),
        "largest_error": {subset_name(s): float(error.risk[:, i].max()) for i, s in enumerate(all_subsets())},
        "average_effect": float(effect.mean()),
        "average_effect_on_treated": float(effect[world.trial.treatment == 1].mean()) if world.trial.treatment.any() else None,
        "naive_effect": _naive_effect(world),
        "survival": {"horizon_days": outcome.horizon_days, "shape": outcome.shape, "follow_up_days": outcome.follow_up_days},
        "causal_variants": int((world.genome.effect != 0).sum()),
    }


def _naive_effect(world: World) -> float | None:
    """Difference of mean responses between the arms, in expectation over responses: the average effect and its confounding."""
    treated = world.trial.treatment == 1
    if treated.all() or not treated.any():
        return None
    return float(world.trial.mu1[treated].mean() - world.trial.mu0[~treated].mean())


def _rows(world: World, subject_id: list[str], best: Best) -> pl.DataFrame:
    course, trial, outcome = world.course, world.trial, world.dials.outcome
    extra = dict(zip(EXTRA, best.extra.T, strict=True))
    loss_rate = -np.log1p(-outcome.censoring) / outcome.horizon_days
    columns: dict[str, Any] = {"row_id": np.arange(world.size, dtype=np.int64), "subject_id": subject_id}
    columns |= {f"z{i + 1}": world.z[:, i] for i in range(4)}
    columns |= {"genetic_score": world.genome.score, "liability": outcome.liability(world.z), "risk": course.risk}
    columns |= {"hazard_event": course.hazard[:, 0], "hazard_death": course.hazard[:, 1], "loss_rate_per_day": np.full(world.size, loss_rate)}
    columns |= {"mu0": trial.mu0, "mu1": trial.mu1, "effect": trial.mu1 - trial.mu0, "propensity": trial.propensity}
    columns |= {f"presence_probability_{e}": world.presence_probability[:, i] for i, e in enumerate(EVIDENCES)}
    columns |= {f"ancestry_{i + 1}": world.people.ancestry[:, i] for i in range(3)}
    columns |= {"household": world.people.household, "sibship": world.people.sibship, "calendar": world.people.calendar}
    best_effect = -_best_reduction(world, extra["reduction_by_biomarker"])
    columns |= {"best_mu0": extra["mu0"], "best_mu1": extra["mu0"] + best_effect, "best_effect": best_effect}
    columns |= {f"severity_{k}": course.severity_probability[:, k] for k in range(3)}
    columns |= {f"best_severity_{k}": extra[f"severity_{k}"] for k in range(3)}
    columns |= {"best_biomarker_future": future_value(extra["future"])}
    return pl.DataFrame(columns)


def _best_reduction(world: World, by_biomarker: np.ndarray) -> np.ndarray:
    dials = world.dials.treatment
    match dials.effect:
        case "constant":
            return np.full(world.size, dials.size)
        case "by_biomarker":
            return by_biomarker
        case "by_genotype":
            return 2.0 * dials.size * np.where(world.has("genotype"), world.carrier, world.carrier.mean())
        case _:
            return np.zeros(world.size)


def future_value(standard: np.ndarray) -> np.ndarray:
    """The future biomarker in its unit (HbA1c, mmol/mol): 38 (1 + 0.12 x)."""
    return np.asarray(38.0 * (1.0 + 0.12 * standard))


def _variants(world: World) -> pl.DataFrame:
    genome = world.genome
    marker = np.arange(genome.effect.size) == genome.marker
    return genome.variants.select("variant_id").with_columns(
        pl.Series("effect", genome.effect), pl.Series("frequency", genome.dosage.mean(axis=0) / 2.0), pl.Series("modifies_effect", marker)
    )

"""One twin: rows drawn, outcomes drawn, models fitted, the trial held, and the verdict beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.frozen import Cohort
from equipoise.contract.counter import numpy_stream
from equipoise.contract.errors import UserError
from equipoise.contract.question import Question
from equipoise.contract.tables import MODEL, SCENARIO_ALL
from equipoise.rehearse.expected import true_gain
from equipoise.rehearse.fits import Fits, fitted
from equipoise.rehearse.twin import Draw, draw_rows, twin_of
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.endpoints import endpoints_of
from equipoise.trial.evaluate import evaluate
from equipoise.trial.protocol import Protocol

GAIN = "demonstrated gain"


@dataclass(frozen=True)
class World:
    """From what the twins are drawn.

    Args:
        config: of twins.
        cohort: the source.
        question: the first one.
        protocol: the run's, with no more endpoints than its rule needs.
        primary: the primary endpoint.
        observed: share of the train rows whose outcome is known; held-out rows get outcomes at this rate.
        risks: planted gain -> risks f64 (n,) of all rows of the source.
        declared: what rehearsal.json says of the truth.
    """

    config: Mapping[str, Any]
    cohort: Cohort
    question: Question
    protocol: Protocol
    primary: Endpoint
    observed: float
    risks: Mapping[float, np.ndarray]
    declared: Mapping[str, Any]


def lean(protocol: Protocol) -> Protocol:
    """The protocol without what the verdict does not need."""
    primary = endpoints_of("binary", protocol)[1].name
    return replace(protocol, endpoints=(primary,), extra_endpoints=(), secondary=(), subgroups=(), loess_bootstrap=0)


def one_twin(world: World, number: int, folder: Path) -> list[dict[str, Any]]:
    """The twin's records, one a planted gain; equal rows and equal chance stand behind all of them.

    Args:
        world: from what it is drawn.
        number: of the twin.
        folder: for its fits.
    """
    seed = int(world.config["rehearse"]["seed"])
    draw = draw_rows(world.cohort, seed, number)
    return [_trial(world, draw, seed, number, gain, folder / f"{i}") for i, gain in enumerate(world.risks)]


def _trial(world: World, draw: Draw, seed: int, number: int, gain: float, folder: Path) -> dict[str, Any]:
    risk = world.risks[gain]
    rng = numpy_stream("rehearse-outcomes", seed, number)
    held_out = world.cohort.rows_in("held_out")
    outcome = (rng.random(draw.at.size) < risk[draw.at]).astype(np.float64)
    judged = (rng.random(draw.judged.size) < risk[held_out[draw.judged]]).astype(np.float64)
    judged[rng.random(draw.judged.size) >= world.observed] = np.nan
    taught = np.arange(draw.at.size) < draw.split.held_out[0]
    known = np.zeros(draw.at.size, bool)
    known[taught] = world.cohort.target(world.question.target).table["observed"].to_numpy()[draw.at[taught]]
    twin = twin_of(world.cohort, world.question.target, draw, np.where(taught, outcome, np.nan), known, f"{seed} {number} {gain!r}")
    try:
        fits = fitted(world.config, twin, draw.split, world.question, folder)
        found = _judged(world, fits, draw, judged)
    except UserError as e:
        # A twin may be too small where the cohort is just large enough: its run would have ended without a verdict.
        return {"gain": gain, "verdict": "not evaluable", "why": e.recorded, "models": {}}
    return {"gain": gain, **beside_truth(world, fits, found, risk[held_out])}


def _judged(world: World, fits: Fits, draw: Draw, outcome: np.ndarray) -> dict[str, Any]:
    """The trial on the drawn held-out rows: predictions are those of the rows from which they were drawn."""
    own = {
        "subject_id": pl.Series([f"J{i:07d}" for i in range(outcome.size)]),
        "cluster": pl.Series([f"C{c:07d}" for c in draw.judged_cluster]),
        "outcome": pl.Series(outcome).fill_nan(None),
    }
    blocks = [block[draw.judged].with_columns(**own) for block in fits.table.partition_by("model", "scenario", maintain_order=True)]
    return evaluate(
        pl.concat(blocks),
        world.protocol,
        kind=world.question.kind,
        task=world.question.task,
        required=fits.required,
        role="held_out",
        opening=1,
        target=world.question.target,
        not_run=fits.not_run,
        interval=fits.interval,
    )


def beside_truth(world: World, fits: Fits, found: Mapping[str, Any], truth: np.ndarray) -> dict[str, Any]:
    """A twin's verdict and intervals beside what is true of the very models that were fitted.

    Args:
        world: protocol and primary endpoint.
        fits: predictions of all held-out rows, in order.
        found: what `evaluate` said.
        truth: f64 (m,), the held-out rows' risks.

    Returns:
        "verdict"; "claimed": a gain; "truly_better": the true primary difference from every required comparator is above the protocol's
        worthwhile gain (0 by default); "true_gain": the least
        of them; "false": a gain was claimed and some true difference is not above it, or the true net benefit is below the margin; "smallest": the
        largest of the standard-error formula's gains; "risk_covered": share of rows whose interval holds their true risk, or None; "models":
        comparator -> [true difference, difference, lo, hi].
    """
    blocks = {str(b["model"][0]): b for b in fits.table.filter(pl.col("scenario") == SCENARIO_ALL).partition_by("model", maintain_order=True)}
    risk = {name: b["risk"].fill_null(np.nan).to_numpy() for name, b in blocks.items()}
    weight = blocks[MODEL]["weight"].fill_null(1.0).to_numpy()
    detail = found["verdict_detail"]
    against = [c for c in detail["against"] if c in risk]
    gains = {c: true_gain(world.primary, world.protocol, risk[MODEL], risk[c], truth, weight) for c in against}
    benefit = next(e for e in endpoints_of("binary", world.protocol)[0] if e.name == "net_benefit")
    margin = world.protocol.net_benefit_margin_share * float(np.average(truth, weights=weight))
    useful = all(true_gain(benefit, world.protocol, risk[MODEL], risk[c], truth, weight) > -margin for c in against)
    better = bool(against) and all(g > world.protocol.worthwhile_gain for g in gains.values())
    claimed = found["verdict"] == GAIN
    sign = world.primary.sign
    return {
        "verdict": found["verdict"],
        "claimed": claimed,
        "truly_better": better,
        "true_gain": min(gains.values(), default=None),
        "false": claimed and not (better and useful),
        "smallest": max((g for g in detail["smallest_demonstrable_gain"].values() if g is not None), default=None),
        "risk_covered": _covered(blocks[MODEL], truth),
        "models": {c: [gains[c], *_turned(found["comparisons"][c][world.primary.name], sign)] for c in against},
    }


def _turned(entry: Mapping[str, Any], sign: float) -> list[float | None]:
    """Difference, lo and hi, turned so that positive is better."""
    value, lo, hi = entry["difference"], entry["lo"], entry["hi"]
    if value is None or lo is None or hi is None:
        return [value, None, None]
    return [value, lo, hi] if sign >= 0 else [-value, -hi, -lo]


def _covered(block: pl.DataFrame, truth: np.ndarray) -> float | None:
    lo, hi = (block[c].fill_null(np.nan).to_numpy() for c in ("lo", "hi"))
    known = np.isfinite(lo) & np.isfinite(hi)
    return float(np.mean((lo[known] <= truth[known]) & (truth[known] <= hi[known]))) if known.any() else None

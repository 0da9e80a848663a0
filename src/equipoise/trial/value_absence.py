"""What absence does to a gain: presence masked at random beside presence as observed, and outcomes that differ where the evidence is absent."""

from __future__ import annotations

import zlib
from dataclasses import fields, replace
from typing import Any

import numpy as np

from equipoise.contract.counter import numpy_stream
from equipoise.stats.presence_weights import presence_weights, tilt, tilt_normal
from equipoise.trial.compare import oriented
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.judged import Judged
from equipoise.trial.rows import Forecasts
from equipoise.trial.value_gains import ArmsOf, gain_line, gains, judged_on

MASKS = 10
"""How often presence is masked at random."""


def absence_tables(judged: Judged, arms: ArmsOf, primary: Endpoint, usable: np.ndarray, present: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
    """{"at_random", "delta"}, each with a "note" where it was not estimated.

    Args:
        judged: all rows.
        arms: of the evidence.
        primary: the endpoint of the gains.
        usable: bool (n,), rows on which every arm has a prediction.
        present: bool (n,), rows with the evidence.
        probability: f64 (n,), P(present | base columns, site).
    """
    return {
        "at_random": _at_random(judged, arms, primary, usable, present),
        "delta": _delta(judged, arms, primary, usable, present, probability),
    }


def _at_random(judged: Judged, arms: ArmsOf, primary: Endpoint, usable: np.ndarray, present: np.ndarray) -> dict[str, Any]:
    """The total gain among rows with the evidence when it is hidden from as many as lack it, chosen by chance: absence then tells nothing.

    Beside it the total gain in the population as it is, where absence tells what it tells. A gain that is there only as observed comes from the care
    process. Each row's answer is the model's own, or its answer with the evidence hidden; `MASKS` draws, averaged.
    """
    absent = float(1 - present.mean())
    if not arms.hidden or not arms.refit:
        return {"note": "there are no predictions with this evidence hidden, or no refit"}
    if absent == 0:
        return {"note": "every row has it"}
    own, hidden = judged.rows.forecasts[arms.own], judged.rows.forecasts[arms.hidden[0]]
    where = usable & present & hidden.given
    masks = {(arms.own[0], f"masked_random:{arms.evidence}#{j}"): _mixed(own, hidden, _drawn(judged, arms.evidence, j) < absent) for j in range(MASKS)}
    random = judged_on(judged, where, list(arms.refit), (primary,), further=masks)
    observed = judged_on(judged, usable, [arms.own, *arms.refit], (primary,))
    return {
        "hidden": absent,
        "rows": int(where.sum()),
        "observed": gain_line(oriented(primary, observed.contrast(primary, [arms.own], arms.refit))),
        "random": gain_line(oriented(primary, random.contrast(primary, list(masks), arms.refit))),
    }


def _drawn(judged: Judged, evidence: str, draw: int) -> np.ndarray:
    return numpy_stream("masked at random", judged.protocol.seed, zlib.crc32(evidence.encode()), draw).random(judged.rows.size)


def _mixed(own: Forecasts, hidden: Forecasts, hide: np.ndarray) -> Forecasts:
    arrays = [f.name for f in fields(Forecasts) if f.name != "n_abstained"]
    chosen = {k: np.where(hide.reshape(-1, *[1] * (getattr(own, k).ndim - 1)), getattr(hidden, k), getattr(own, k)) for k in arrays}
    return replace(own, **chosen)


def _delta(judged: Judged, arms: ArmsOf, primary: Endpoint, usable: np.ndarray, present: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
    """The gains, had everyone the evidence, when the outcome of those without it differs by delta from that of like people with it.

    Rows with the evidence stand for those without it by the odds of absence (missing at random); there their outcome's log odds are shifted by delta by
    an exponential tilt about the predicted risk: a pattern mixture. Delta 0 is the reweighted estimand.
    """
    if not judged.protocol.delta:
        return {"note": "no shifts were declared"}
    if present.all():
        return {"note": "every row has it"}
    rows, own = judged.rows, judged.rows.forecasts[arms.own]
    if rows.kind not in ("binary", "continuous"):
        return {"note": f"not estimated for a {rows.kind.replace('_', ' ')} outcome"}
    where = usable & present
    if rows.kind == "continuous" and not (own.total[where] > 0).all():
        return {"note": "the predictions state no spread"}
    table, y, p = {}, rows.outcome[:, 0], own.risk[:, 0]
    for delta in judged.protocol.delta:
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # rows that are not judged may lack an outcome
            factor = tilt(y, p, delta) if rows.kind == "binary" else tilt_normal(y, p, np.sqrt(own.total[:, 0]), delta)
        weights = presence_weights(where, probability, np.where(where, factor, 1.0))
        shifted = judged_on(judged, where, arms.all, (primary,), weights.weight)
        table[f"{delta:g}"] = {"effective_rows": round(weights.effective_rows, 1), "gains": gains(shifted, arms)}
    return {"unit": "log odds" if rows.kind == "binary" else "standard deviations", "shifts": table, "sentence": _turning(table, primary.name)}


def _turning(table: dict[str, Any], primary: str) -> str:
    """At which shift the content gain stops, or starts, to be above 0."""
    above = {float(d): (line["gains"]["content"][primary]["lo"] or 0.0) > 0 for d, line in table.items()}
    start = min(above, key=abs)
    other = sorted((d for d, a in above.items() if a != above[start]), key=abs)
    held = "above 0" if above[start] else "not shown to be above 0"
    span = f"{min(above):g} to {max(above):g}"
    if not other:
        return f"The content gain is {held} at every shift from {span}."
    return f"The content gain is {held} at a shift of {start:g}; the nearest shift at which this changes is {other[0]:g}."

"""Synthetic sites: one cohort with a known truth, divided, each part judged on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit

from equipoise.trial.evaluate import evaluate
from equipoise.trial.protocol import Protocol
from equipoise.trial.site_summary import site_summary
from trial.simulated_predictions import protocol, table

SIZES = (400, 600, 900, 500)


def predictions(n: int, seed: int, **spread: float) -> pl.DataFrame:
    """A site's binary predictions: its base rate is its own, risks know the truth up to noise (log odds)."""
    rng = np.random.default_rng(seed)
    truth = -1.4 + rng.normal(0, 0.3) + rng.normal(0, 1.2, n)
    y = (rng.random(n) < expit(truth)).astype(float)
    spread = spread or {"equipoise": 0.2, "linear": 1.0}
    made = table({m: expit(truth + rng.normal(0, s, n)) for m, s in spread.items()}, y)
    return made.with_columns(pl.format("patient{}-{}", pl.lit(seed), pl.col("subject_id").str.strip_chars("s")).alias("subject_id"))


def judged(rows: pl.DataFrame, own: Protocol | None = None, **over: Any) -> dict[str, Any]:
    words: dict[str, Any] = {"kind": "binary", "task": "risk", "required": ["linear"], "role": "held_out", "opening": 1, "target": "death"}
    return evaluate(rows, own or protocol(n_bootstrap=100), **(words | over))


def summary(seed: int, n: int = 500, own: Protocol | None = None, **over: Any) -> dict[str, Any]:
    rows = predictions(n, seed)
    return site_summary(judged(rows, own, **over), rows, site=f"hospital {seed}")

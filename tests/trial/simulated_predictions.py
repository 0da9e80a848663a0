"""Predictions tables drawn from a known truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from scipy.special import expit

from equipoise.trial.evaluate import evaluate
from equipoise.trial.protocol import Protocol, protocol_of

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "trial" / "default.yaml"


def protocol(**over: Any) -> Protocol:
    """The default protocol with few resamples, and changes."""
    return protocol_of(yaml.safe_load(CONFIG.read_text()) | {"n_bootstrap": 200, "loess_bootstrap": 0} | over)


def table(risks: Mapping[str, np.ndarray], outcome: np.ndarray, **columns: Any) -> pl.DataFrame:
    """A long table: one frame a model (or ``model|scenario``), the same rows."""
    frames = []
    for name, risk in risks.items():
        model, _, scenario = name.partition("|")
        frame = pl.DataFrame({"subject_id": [f"s{i}" for i in range(len(risk))], "risk": risk, "outcome": outcome, **columns})
        frames.append(frame.with_columns(pl.lit(model).alias("model"), pl.lit(scenario or "all").alias("scenario")))
    return pl.concat(frames)


def binary(n: int = 500, seed: int = 0, rows_a_cluster: int = 1, **spread: float) -> pl.DataFrame:
    """Risks that know the truth up to noise of a model's own spread (log odds); clusters share half of the truth's variance and of the noise's."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(n) // rows_a_cluster

    def shared(sd: float) -> np.ndarray:
        if rows_a_cluster == 1:
            return rng.normal(0, sd, n)
        return rng.normal(0, sd / np.sqrt(2), cluster[-1] + 1)[cluster] + rng.normal(0, sd / np.sqrt(2), n)

    truth = -1.2 + shared(1.3)
    y = (rng.random(n) < expit(truth)).astype(float)
    return table({m.replace("__", "|"): expit(truth + shared(s)) for m, s in spread.items()}, y, cluster=[f"c{c}" for c in cluster])


def judged(predictions: pl.DataFrame, kind: str = "binary", required: tuple[str, ...] = ("linear",), **over: Any) -> dict[str, Any]:
    """Results with the test's protocol; ``protocol`` among the words replaces it, the rest goes to `evaluate`."""
    words: dict[str, Any] = {"task": "risk", "role": "held_out", "opening": 1, "protocol": protocol()} | over
    return evaluate(predictions, words.pop("protocol"), kind=kind, required=required, **words)

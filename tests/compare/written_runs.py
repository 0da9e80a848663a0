"""Run folders as `equipoise run` leaves them, written from simulated predictions without any training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from equipoise.judge import predictions_hash
from equipoise.record import config_hash, write_json
from equipoise.trial.table import validated
from trial.simulated_predictions import CONFIG, binary

TRIAL = yaml.safe_load(CONFIG.read_text()) | {"n_bootstrap": 100, "loess_bootstrap": 0, "endpoints": ["log_score", "auroc"]}
PEOPLE = binary(n=240, **dict(zip("abcdef", (0.3, 0.4, 0.5, 0.6, 0.7, 0.8), strict=True)), linear=0.6)
"""Six models' and one comparator's risks of the same 240 people."""


def config(run_dir: Path, *, seed: int = 0, fusion: str = "Concat", **over: Any) -> dict[str, Any]:
    made = {"name": "fake", "run_dir": str(run_dir), "seed": seed, "members": 1, "d_model": 8, "paths": {"ledger": str(run_dir / "ledger")}}
    made |= {"fusion": {"_target_": f"equipoise.fusion.{fusion.lower()}.{fusion}"}, "trial": dict(TRIAL)}
    return made | {"comparator": {"linear": {"_target_": "equipoise.comparator.linear.Linear", "seed": seed}}} | over


def predictions(model: str, *, comparator: str = "linear") -> pl.DataFrame:
    """What run of model ``model`` predicted, its comparator beside it."""
    own = PEOPLE.filter(pl.col("model") == model).with_columns(pl.lit("equipoise").alias("model"))
    other = PEOPLE.filter(pl.col("model") == comparator).with_columns(pl.lit("linear").alias("model"))
    return validated(pl.concat([own, other]))


def write_run(
    folder: Path,
    table: pl.DataFrame,
    *,
    role: str = "held_out",
    opening: int | None = 1,
    results: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
    **of_config: Any,
) -> Path:
    """A finished run's folder."""
    folder.mkdir(parents=True)
    own = config(folder, **of_config)
    (folder / "config.yaml").write_text(yaml.safe_dump(own))
    table.write_parquet(folder / "predictions.parquet")
    facts = {"status": "done", "opening": opening, "role": role, "predictions_hash": predictions_hash(table), "config_hash": config_hash(own)}
    facts |= {"cohort_hash": "c0", "command": "equipoise run", "versions": {"equipoise": "0.1.0"}, "commit": "abc"}
    write_json(folder / "manifest.json", facts | dict(manifest or {}))
    found = {"task": "risk", "kind": "binary", "target": "outcome", "unit": "", "role": role, "verdict": "no demonstrated gain"}
    write_json(folder / "results.json", found | dict(results or {}))
    return folder


def write_sweep(folder: Path) -> Path:
    """Two ways with three seeds each on select rows, and a job that failed."""
    for i, model in enumerate("abcdef"):
        job = write_run(folder / str(i), predictions(model), role="select", opening=None, seed=i % 3, fusion="Concat" if i < 3 else "Late")
        write_json(job / "job.json", {"status": "done"})
    write_json(folder / "6" / "job.json", {"status": "fault"})
    return folder

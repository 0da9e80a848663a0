"""A small cohort and the config of its rehearsal, for the tests of this room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.frozen import Cohort, freeze
from equipoise.config.compose import search_path
from equipoise.launch import checked
from equipoise.testing.cohorts import tiny_draft

WORDS = (
    "modality=[clinical,biomarker,lifestyle]",
    "comparator=[linear,prevalence]",
    "calibration=none",
    "trial.n_bootstrap=100",
    "rehearse.model=fast",
    "rehearse.gains=[0.0,0.05]",
)


def config_of(*words: str) -> dict[str, Any]:
    with search_path(None) as search:
        return checked([*WORDS, *words], search).values


def cohort_of(folder: Path, *, n: int = 300, held_out: str = "as they are") -> Cohort:
    """A tiny cohort; ``held_out``: "flipped" or "unknown" poisons the held-out outcomes of every target and changes nothing else."""
    draft = tiny_draft(n=n)
    poisoned = (draft.rows["role"] == "held_out").to_numpy() if held_out != "as they are" else np.zeros(n, bool)
    for target in draft.targets.values():
        y, observed = target.table["outcome"].to_numpy().copy(), target.table["observed"].to_numpy().copy()
        y[poisoned] = np.nan if held_out == "unknown" else 1 - y[poisoned]
        observed[poisoned] = held_out == "flipped"
        target.table = target.table.with_columns(pl.Series("outcome", y), pl.Series("observed", observed & np.isfinite(y)))
    return freeze(draft, folder / held_out.replace(" ", "_"), "0123456789abcdef", {"n": n})

"""Networks trained on a cohort whose truth is known: what the scripts and tests about the truth share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from equipoise.cohort.build import build_cohort
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.config.compose import search_path
from equipoise.contract.make import make
from equipoise.contract.tables import MODEL
from equipoise.fit import train_ensemble
from equipoise.launch import checked
from equipoise.testing.truth import Truth

LEVEL = 0.9
"""Of the risk's interval, as in a report."""


@dataclass(frozen=True)
class KnownCohort:
    """A synthetic cohort, how it is learnt from, and its truth.

    Args:
        config: the resolved config.
        cohort: what the learner sees.
        split: its roles.
        truth: what only tests and experiments see.
        folder: for the fits.
    """

    config: dict[str, Any]
    cohort: Cohort
    split: Split
    truth: Truth
    folder: Path


def known_cohort(overrides: Sequence[str], folder: Path) -> KnownCohort:
    """Composes a config and builds its synthetic cohort.

    Args:
        overrides: as on the command line.
        folder: for cohort, truth and fits.

    Raises:
        UserError: the config is wrong, or its cohort has no truth.
    """
    with search_path(None) as search:
        config = checked(overrides, search).values
    cohort = build_cohort(make(config["cohort"]), folder / "cohorts", truth_dir=folder / "truth")
    return KnownCohort(config, cohort, Split.of(cohort), Truth.open(folder / "truth" / cohort.hash), folder)


def held_out_forecast(known: KnownCohort, *, without: str | None = None, draws: int | None = None) -> pl.DataFrame:
    """Trains the config's network and predicts the held-out rows, in row order.

    Args:
        known: the cohort.
        without: an evidence that this fit never sees (its views are left out, everything else is equal); the table's model is then
            ``without_<evidence>``.
        draws: behind a prediction and its interval; None: the config's.

    Returns:
        A predictions table.
    """
    views = {name: view for name, view in known.config["modality"].items() if view["evidence"] != without}
    name = MODEL if without is None else f"without_{without}"
    ensemble = train_ensemble({**known.config, "modality": views}, known.cohort, known.split, known.folder / f"fit_{known.cohort.hash}" / name, [])
    draws = draws or int(known.config["learner"]["predict_draws"])
    return ensemble.predict(known.cohort, known.split.held_out, draws=draws, level=LEVEL).table.with_columns(pl.lit(name).alias("model"))


def evidences_of(known: KnownCohort) -> tuple[str, ...]:
    """The evidences that the config's network sees."""
    return tuple(dict.fromkeys(str(view["evidence"]) for view in known.config["modality"].values()))

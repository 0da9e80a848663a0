"""External validation: a model of one cohort, judged in another one with other columns and other base rates.

    python scripts/external.py --out runs/external [OVERRIDES of the first cohort's config ...]

Learns on a synthetic cohort, predicts a second one (drawn anew, more ill, badly measured), and writes what a hospital would send: a table with columns
patient, died, score, hospital and a column for each comparator. That file alone goes through

    equipoise evaluate predictions=table.parquet trial=external columns.subject_id=patient columns.outcome=died columns.risk=score run_dir=RUN

which this script starts; its report shows the endpoints as they are and, beside them, after local recalibration (the recalibration ladder).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import torch

from equipoise.cohort.frozen import Cohort
from equipoise.contract.tables import MODEL
from equipoise.fit import comparators_of, teaching_rows, train_ensemble
from equipoise.testing.known_truth import known_cohort

SETTING = ("task=[risk]", "comparator=[linear_clinical]")
ELSEWHERE = ("cohort.outcome.prevalence=0.3", "cohort.biomarker.noise=0.8", "cohort.outcome.site_shift=0.5")


def foreign_table(cohort: Cohort, predictions: pl.DataFrame, beside: dict[str, np.ndarray], target: str, path: Path) -> None:
    """The second hospital's table in its own words; ``beside``: comparator -> risk of every row."""
    own = predictions.filter(pl.col("model") == MODEL)
    table = own.select(pl.col("subject_id").alias("patient"), pl.col("risk").alias("score")).with_columns(
        cohort.target(target).table["outcome"].alias("died"),
        cohort.rows["site"].alias("hospital"),
        *(pl.Series(f"comparator_{name}", risk) for name, risk in beside.items()),
    )
    table.write_parquet(path)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--out", type=Path, required=True)
    words.add_argument("overrides", nargs="*")
    given = words.parse_args()
    torch.set_num_threads(1)
    here = known_cohort([*SETTING, *given.overrides], given.out / "here")
    elsewhere = known_cohort([*SETTING, *given.overrides, "cohort.seed=1", *ELSEWHERE], given.out / "elsewhere")
    ensemble = train_ensemble(here.config, here.cohort, here.split, given.out / "fit", [])
    rows = np.arange(elsewhere.cohort.size)
    made = ensemble.predict(elsewhere.cohort, rows, draws=int(here.config["learner"]["predict_draws"]))
    beside = {}
    for comparator in comparators_of(here.config):
        comparator.fit(here.cohort, teaching_rows(here.split, "held_out"), ensemble.questions[0])
        beside[comparator.name] = np.asarray(comparator.predict(elsewhere.cohort, rows).risk).reshape(rows.size)
    path = given.out / "table.parquet"
    foreign_table(elsewhere.cohort, made.table, beside, here.config["task"]["risk"]["target"], path)
    words_of = ["trial=external", "columns.subject_id=patient", "columns.outcome=died", "columns.risk=score", "columns.site=hospital"]
    command = [f"predictions={path}", *words_of, f"trial.n_bootstrap={here.config['trial']['n_bootstrap']}", f"run_dir={given.out / 'trial'}"]
    subprocess.run([sys.executable, "-m", "equipoise", "evaluate", *command], check=True)


if __name__ == "__main__":
    main()

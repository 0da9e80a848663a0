"""Temporal validation: learn from earlier people, judge on later ones.

    python scripts/temporal.py --out runs/temporal [--held-out 0.3] [OVERRIDES of the config ...]

Rows are cut at a prediction time: the latest share is held out, everybody before it serves train, select and calibrate. Of a cluster on both sides only
the later rows are used. With --known-after-days H, rows whose outcome was not known at the cut (predicted less than H days before it) are not learnt
from either: what could have been done at that time. Endpoints are printed for the later rows, and calibration for each of their quarters, since a model
that drifts may be right on average. Writes predictions.parquet, temporal.json and drift.csv. cohort=stress_calendar has a base rate that rises with time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import torch

from equipoise.cohort.build import build_cohort
from equipoise.cohort.roles import assign_roles
from equipoise.cohort.split import Split
from equipoise.config.compose import search_path
from equipoise.contract.make import make
from equipoise.contract.tables import MODEL
from equipoise.fit import fit_split
from equipoise.launch import checked
from equipoise.record import write_json
from equipoise.trial.evaluate import evaluate
from equipoise.trial.protocol import protocol_of
from equipoise.whole_file import write_whole

SHARES = {"train": 0.8, "select": 0.1, "calibrate": 0.1}
DAY_US = 86_400e6


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--held-out", type=float, default=0.3, help="share of the rows, the latest")
    words.add_argument("--known-after-days", type=float, default=0.0, help="outcomes are known this long after the prediction")
    words.add_argument("--out", type=Path, required=True)
    words.add_argument("overrides", nargs="*")
    given = words.parse_args()
    torch.set_num_threads(1)
    with search_path(None) as search:
        config = checked(["task=[risk]", "validation.masked=false", "cohort=stress_calendar", *given.overrides], search).values
    cohort = build_cohort(make(config["cohort"]), given.out / "cohorts")
    time, cluster = cohort.rows["prediction_time"], cohort.rows["cluster"].to_numpy()
    moment = time.dt.epoch("us").to_numpy()
    cut = np.quantile(moment, 1 - given.held_out)
    later = moment >= cut
    role = np.full(moment.size, "held_out", dtype="<U9")
    earlier = ~np.isin(cluster, cluster[later]) & (moment < cut - given.known_after_days * DAY_US)
    role[~later & ~earlier] = ""
    role[earlier] = assign_roles(cluster[earlier], SHARES, int(config["seed"]))
    split = Split.from_roles(role)
    fit = fit_split(config, cohort, split, "held_out", given.out / "fit", repeat=0, fold=0, loggers=[])
    write_whole(given.out / "predictions.parquet", fit.table.write_parquet)
    results = evaluate(fit.table, protocol_of(config["trial"]), kind="binary", task="risk", required=fit.notes["required"], role="held_out", opening=None)
    write_json(given.out / "temporal.json", results)
    print(f"learnt from {earlier.sum()} rows before {time.filter(later).min():%Y-%m-%d}, judged on {split.held_out.size} from then on")
    for name in ("auroc", "log_score", "calibration_in_the_large", "calibration_slope"):
        if e := results["endpoints"].get(name):
            print(f"{name:<26} {e['value']:.3f} ({e['lo']:.3f} to {e['hi']:.3f})")
    print(f"verdict: {results['verdict']}")
    own = fit.table.filter((pl.col("model") == MODEL) & (pl.col("scenario") == "all") & pl.col("risk").is_not_nan() & pl.col("outcome").is_not_nan())
    quarter = pl.col("prediction_time").dt.truncate("1q").alias("quarter")
    drift = (
        own.group_by(quarter).agg(pl.len().alias("rows"), pl.col("risk").mean().alias("expected"), pl.col("outcome").mean().alias("observed")).sort("quarter")
    )
    write_whole(given.out / "drift.csv", drift.write_csv)
    print(drift)


if __name__ == "__main__":
    main()

"""A silent prospective trial replayed: predictions in the order of time, outcomes only once their time has passed.

    python scripts/temporal.py --known-after-days 1095 --out runs/temporal
    python scripts/silent_replay.py --predictions runs/temporal/predictions.parquet --horizon-days 1095 --out runs/replay

The predictions must be made by a model that learnt only from people whose outcomes were known before, as scripts/temporal.py makes them with
--known-after-days; each row's own evidence ends at its prediction time. Month by month the replay counts predictions and alerts (risk at or above
--threshold). An outcome is read in the month in which prediction time + horizon falls, never before: until then it counts as not known, also where the
event came early, because early events alone would look like a high risk. Calibration (observed minus expected events, divided by its standard deviation
were the risks right) is shown over these months with a band of +-2: one month in twenty leaves it by chance, so look for runs, not for single months.
Writes replay.csv.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path

import polars as pl

from equipoise.contract.tables import MODEL
from equipoise.whole_file import write_whole


def replay(rows: pl.DataFrame, horizon_days: float, threshold: float) -> pl.DataFrame:
    """One line a month: what was said in it, and what became known in it.

    Args:
        rows: prediction_time, risk, outcome.
        horizon_days: after which an outcome is known.
        threshold: risk at which an alert is given.

    Returns:
        month, predictions, alerts, mean_risk; matured, expected, observed, z (null where nothing matured), outside (of the band), alerts_right.
    """
    said = (
        rows.group_by(pl.col("prediction_time").dt.truncate("1mo").alias("month"))
        .agg(pl.len().alias("predictions"), (pl.col("risk") >= threshold).sum().alias("alerts"), pl.col("risk").mean().alias("mean_risk"))
        .sort("month")
    )
    known = (
        rows.drop_nulls("outcome")
        .with_columns((pl.col("prediction_time") + timedelta(days=horizon_days)).dt.truncate("1mo").alias("month"))
        .group_by("month")
        .agg(
            pl.len().alias("matured"),
            pl.col("risk").sum().alias("expected"),
            pl.col("outcome").sum().alias("observed"),
            (pl.col("risk") * (1 - pl.col("risk"))).sum().sqrt().alias("sd"),
            ((pl.col("risk") >= threshold) & (pl.col("outcome") == 1)).sum().alias("alerts_right"),
        )
        .with_columns(((pl.col("observed") - pl.col("expected")) / pl.col("sd")).alias("z"))
        .with_columns((pl.col("z").abs() > 2).alias("outside"))
        .drop("sd")
    )
    return said.join(known, on="month", how="full", coalesce=True).sort("month").with_columns(pl.col("predictions", "alerts", "matured").fill_null(0))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--predictions", type=Path, required=True)
    words.add_argument("--horizon-days", type=float, required=True)
    words.add_argument("--threshold", type=float, default=0.3)
    words.add_argument("--model", default=MODEL)
    words.add_argument("--out", type=Path, required=True)
    given = words.parse_args()
    table = pl.read_parquet(given.predictions).filter((pl.col("model") == given.model) & (pl.col("scenario") == "all"))
    rows = table.select("prediction_time", pl.col("risk", "outcome").fill_nan(None)).drop_nulls("risk")
    months = replay(rows, given.horizon_days, given.threshold)
    given.out.mkdir(parents=True, exist_ok=True)
    write_whole(given.out / "replay.csv", months.write_csv)
    known = months.filter(pl.col("matured") > 0)
    alerts = months["alerts"].sum()
    print(f"{rows.height} predictions in {(months['predictions'] > 0).sum()} months, {alerts} alerts ({alerts / rows.height:.1%})")
    print(f"first outcomes known in {known['month'].min():%Y-%m}: {known['matured'].sum()} in {known.height} months")
    outside = known["outside"].sum()
    print(f"expected {known['expected'].sum():.1f} events, observed {known['observed'].sum():.0f}, {outside} of {known.height} months outside the band")


if __name__ == "__main__":
    main()

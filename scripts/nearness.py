"""How near does a run on a synthetic cohort come to the best possible risk?

    python scripts/nearness.py RUN TRUTH

RUN is a finished run folder, TRUTH the config's paths.truth (default cohorts/.truth). Prints for the network, its comparators, and the network with an
evidence hidden: expected log score over outcomes, its excess over the best possible risk given the evidences shown, and the share of the way from the
prevalence to the best risk (see `nearness`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import polars as pl

from equipoise.contract.tables import MODEL, SCENARIO_ALL
from equipoise.testing.nearness import nearness
from equipoise.testing.truth import Truth


def of_run(run: Path, truths: Path) -> pl.DataFrame:
    """The nearness of every model and scenario of a run's question about the outcome."""
    question = next(q for q in json.loads((run / "notes.json").read_text())["questions"] if q["target"] == "outcome")
    truth = Truth.open(truths / json.loads((run / "manifest.json").read_text())["cohort_hash"])
    return nearness(pl.read_parquet(run / "predictions.parquet"), truth, question["evidences"], task=question["task"])


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("run", type=Path)
    words.add_argument("truth", type=Path, nargs="?", default=Path("cohorts/.truth"))
    given = words.parse_args()
    for line in of_run(given.run, given.truth).filter((pl.col("model") == MODEL) | (pl.col("scenario") == SCENARIO_ALL)).iter_rows(named=True):
        arm = line["model"] if line["scenario"] == SCENARIO_ALL else f"{line['model']} {line['scenario']}"
        print(f"{arm:<28} {line['rows']:5d} rows, log score {line['log_score']:.4f}, best {line['best']:.4f},", end=" ")
        print(f"excess {line['excess']:.4f} nats, {line['share']:6.1%} of the way from the prevalence to the best risk")


if __name__ == "__main__":
    main()

"""Does the interval of the risk cover the best possible risk? Over many synthetic cohorts with a known truth.

    python scripts/coverage.py --cohorts 50 --out coverage.csv [--first 0] [OVERRIDES of the config ...]

For each cohort (seeds first .. first + cohorts - 1) the network of experiments/004_known_truth/run.yaml is trained, and the 90 % interval of every
held-out row is held against the best risk given the evidences that this row shows. Beside it stands an interval of constant width around the same
risks, whose width is the median of the network's: what the interval's varying width is worth. Prints coverage with its spread between cohorts,
median width, and the interval score (Gneiting & Raftery 2007, eq. 43; lower is better), and writes one line a cohort.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import torch

from equipoise.stats.scores import interval_score
from equipoise.testing.known_truth import LEVEL, KnownCohort, evidences_of, held_out_forecast, known_cohort

SETTING = "experiments=004_known_truth/run"
DRAWS = 200
"""Behind an interval: more than a report's, so that the quantiles' own noise is no part of the answer."""


def one_cohort(known: KnownCohort, seed: int) -> dict[str, float]:
    """Trains, and holds intervals against the truth."""
    told = held_out_forecast(known, draws=DRAWS)
    best = known.truth.best_risk(evidences_of(known))[known.split.held_out]
    risk, lo, hi = (told[c].to_numpy() for c in ("risk", "lo", "hi"))
    answered = np.isfinite(risk)
    risk, lo, hi, best = risk[answered], lo[answered], hi[answered], best[answered]
    half = float(np.median(hi - lo)) / 2
    flat_lo, flat_hi = np.clip(risk - half, 0, 1), np.clip(risk + half, 0, 1)
    return {
        "seed": seed,
        "rows": float(answered.sum()),
        "coverage": float(np.mean((lo <= best) & (best <= hi))),
        "median_width": 2 * half,
        "interval_score": float(interval_score(lo, hi, best, LEVEL).mean()),
        "constant_coverage": float(np.mean((flat_lo <= best) & (best <= flat_hi))),
        "constant_interval_score": float(interval_score(flat_lo, flat_hi, best, LEVEL).mean()),
        "rmse_to_best": float(np.sqrt(np.mean((risk - best) ** 2))),
    }


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--cohorts", type=int, default=50)
    words.add_argument("--first", type=int, default=0)
    words.add_argument("--out", type=Path, required=True)
    words.add_argument("overrides", nargs="*")
    given = words.parse_args()
    torch.set_num_threads(1)
    lines = []
    for seed in range(given.first, given.first + given.cohorts):
        with tempfile.TemporaryDirectory() as folder:
            known = known_cohort([SETTING, f"cohort.seed={seed}", f"seed={seed}", *given.overrides], Path(folder))
            lines.append(one_cohort(known, seed))
        pl.DataFrame(lines).write_csv(given.out)
        print(f"cohort {seed}: coverage {lines[-1]['coverage']:.3f}, median width {lines[-1]['median_width']:.3f}", flush=True)
    table = pl.DataFrame(lines)
    for name in table.columns[1:]:
        values = table[name].to_numpy()
        spread = f", sd between cohorts {values.std(ddof=1):.4f}, {values.min():.4f} to {values.max():.4f}" if values.size > 1 else ""
        print(f"{name:<24} mean {values.mean():.4f}{spread}")


if __name__ == "__main__":
    main()

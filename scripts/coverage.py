"""Does the interval of the risk cover the best possible risk? Over many synthetic cohorts with a known truth.

    python scripts/coverage.py --cohorts 50 --out coverage.csv [--first 0] [OVERRIDES of the config ...]

For each cohort (seeds first .. first + cohorts - 1) small networks are trained, and the 90 % interval of every held-out row is held against the
best risk given the evidences that this row shows. Beside it stands an interval of constant width around the same risks, whose width is the
median of the network's: what the interval's varying width is worth. Prints coverage with its spread between cohorts, median width, and the
interval score (Gneiting & Raftery 2007, eq. 43; lower is better), and writes one line a cohort.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import torch

from equipoise.cohort.build import build_cohort
from equipoise.cohort.roles import Split
from equipoise.config.compose import compose_values, search_path
from equipoise.contract.make import make
from equipoise.fit import train_ensemble
from equipoise.testing.truth import Truth

LEVEL = 0.9
SMALL = ["cohort.n=1000", "cohort.genome.variants=200", "calibration=none", "trainer=cpu", "trainer.progress=false", "comparator=[]"]


def interval_score(lo: np.ndarray, hi: np.ndarray, truth: np.ndarray) -> float:
    """Mean of width + 2/alpha x the distance by which the truth is missed."""
    missed = np.maximum(lo - truth, 0) + np.maximum(truth - hi, 0)
    return float(np.mean(hi - lo + 2 / (1 - LEVEL) * missed))


def one_cohort(seed: int, overrides: list[str], folder: Path) -> dict[str, float]:
    """Builds, trains, and holds intervals against the truth."""
    with search_path(None) as search:
        config = compose_values([*SMALL, f"cohort.seed={seed}", f"seed={seed}", *overrides], search).values
    cohort = build_cohort(make(config["cohort"]), folder / "cohorts", truth_dir=folder / "truth")
    split = Split.of(cohort)
    ensemble = train_ensemble(config, cohort, split, folder / f"run_{seed}", [])
    told = ensemble.predict(cohort, split.held_out, draws=200, level=LEVEL).table
    truth = Truth.open(folder / "truth" / cohort.hash)
    seen = [e for e in cohort.evidences if e in ensemble.questions[0].evidences]
    best = truth.best_risk(seen)[split.held_out]
    risk, lo, hi = (told[c].to_numpy() for c in ("risk", "lo", "hi"))
    known = np.isfinite(risk)
    risk, lo, hi, best = risk[known], lo[known], hi[known], best[known]
    half = float(np.median(hi - lo)) / 2
    flat_lo, flat_hi = np.clip(risk - half, 0, 1), np.clip(risk + half, 0, 1)
    return {
        "seed": seed,
        "rows": float(known.sum()),
        "coverage": float(np.mean((lo <= best) & (best <= hi))),
        "median_width": 2 * half,
        "interval_score": interval_score(lo, hi, best),
        "constant_coverage": float(np.mean((flat_lo <= best) & (best <= flat_hi))),
        "constant_interval_score": interval_score(flat_lo, flat_hi, best),
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
            lines.append(one_cohort(seed, given.overrides, Path(folder)))
        pl.DataFrame(lines).write_csv(given.out)
        print(f"cohort {seed}: coverage {lines[-1]['coverage']:.3f}, median width {lines[-1]['median_width']:.3f}", flush=True)
    table = pl.DataFrame(lines)
    for name in table.columns[1:]:
        print(f"{name:<24} mean {table[name].mean():.4f}, sd between cohorts {table[name].std():.4f}")


if __name__ == "__main__":
    main()

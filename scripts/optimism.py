"""Optimism-corrected performance of a config: every step of model making is done again on each resample.

    python scripts/optimism.py --resamples 100 --out runs/optimism [OVERRIDES of the config ...]

The development rows are all rows with a role but held_out, which stay sealed. Whole clusters are drawn with replacement; each resample gets its own train,
select and calibrate rows and goes through `fit_split` (transforms, tuning, members, recalibration, comparators), and the models that come out are judged on
the resample and on the development rows. Every resample has its folder, a finished one is read and not made again: give the same --out to go on.
Writes optimism.csv: apparent, optimism, corrected with an interval, and .632+ beside. docs/designs.md says what it cannot say.
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
from equipoise.contract.counter import numpy_stream
from equipoise.contract.make import make
from equipoise.fit import fit_split
from equipoise.launch import checked
from equipoise.stats.bootstrap import percentile_interval
from equipoise.stats.optimism import location_shifted, optimism_corrected, point_632_plus
from equipoise.stats.recalibration import calibration_slope
from equipoise.stats.roc import auroc
from equipoise.stats.scores import brier
from equipoise.stats.weighting import weighted_mean

SHARES = {"train": 0.7, "select": 0.15, "calibrate": 0.15}
MEASURES = {
    "auroc": auroc,
    "brier": lambda risk, y, w: weighted_mean(brier(risk, y), w),
    "slope": calibration_slope,
}
"""f(risk (n,), outcome (n,), weight (..., n)) -> (...,)."""
INTERVAL_RESAMPLES = 500
"""For the interval of the model as it is: it needs no model making, so many are cheap."""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--resamples", type=int, default=100)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--out", type=Path, required=True)
    words.add_argument("overrides", nargs="*")
    given = words.parse_args()
    torch.set_num_threads(1)
    with search_path(None) as search:
        config = checked(["task=[risk]", "validation.masked=false", *given.overrides], search).values
    cohort = build_cohort(make(config["cohort"]), given.out / "cohorts")
    development = np.sort(np.concatenate([cohort.rows_in(role) for role in SHARES]))
    names, code = np.unique(cohort.rows["cluster"].to_numpy()[development], return_inverse=True)
    outcome = cohort.target(config["task"]["risk"]["target"]).table["outcome"].to_numpy()[development]

    def risks(times: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
        """Model -> risk of every development row, made on clusters drawn this often; a cluster's copies serve one role."""
        role = np.full(development.size, "", dtype="<U9")
        drawn = times[code] > 0
        role[drawn] = assign_roles(code[drawn], SHARES, given.seed)
        rows = {name: np.repeat(development[role == name], times[code][role == name]) for name in SHARES}
        table = fit_split(config, cohort, Split(**rows, held_out=development), "held_out", folder, repeat=0, fold=0, loggers=[]).table
        own = table.filter(pl.col("scenario") == "all")
        return {name: own.filter(pl.col("model") == name)["risk"].to_numpy() for name in own["model"].unique(maintain_order=True)}

    rng = numpy_stream("optimism", given.seed)
    draws = [np.bincount(rng.integers(0, names.size, names.size), minlength=names.size) for _ in range(given.resamples)]
    apparent = risks(np.ones(names.size, dtype=np.int64), given.out / "apparent")
    resampled = []
    for b, times in enumerate(draws):
        resampled.append(risks(times, given.out / f"resample_{b:04d}"))
        print(f"resample {b + 1} of {given.resamples} is done", flush=True)

    many = rng.multinomial(names.size, np.full(names.size, 1 / names.size), INTERVAL_RESAMPLES).astype(np.float64)
    lines = []
    for model, risk in apparent.items():
        seen = np.isfinite(risk) & np.isfinite(outcome)
        own, y = [r[model] for r in resampled], outcome[seen]
        once, weights = np.ones(y.size), [times[code][seen].astype(np.float64) for times in draws]
        for measure, of in MEASURES.items():
            value = float(of(risk[seen], y, once))
            both = [(of(r[seen], y, w), of(r[seen], y, once)) for r, w in zip(own, weights, strict=True)]
            made = optimism_corrected(value, *np.array(both, dtype=np.float64).T)
            fixed = percentile_interval(value, of(risk[seen], y, many[:, code[seen]]), 0.95, names.size)
            interval = location_shifted(fixed, made)
            # .632+ has no rate of no information for a slope.
            shuffled = {"auroc": 0.5, "brier": float(np.mean((risk[seen][:, None] - y[None, :]) ** 2))}.get(measure)
            left_out = np.nanmean([of(r[seen], y, (w == 0).astype(np.float64)) for r, w in zip(own, weights, strict=True)])
            plus = None if shuffled is None else point_632_plus(value, float(left_out), shuffled)
            shown = {"apparent": value, "optimism": made.optimism, "optimism_se": made.se, "corrected": made.corrected}
            lines.append(
                {"model": model, "measure": measure, **shown, "lo": interval.lo, "hi": interval.hi, "point_632_plus": plus, "resamples": made.resamples}
            )
            print(f"{model:<16} {measure:<6} apparent {value:.3f}, corrected {made.corrected:.3f} ({interval.lo:.3f} to {interval.hi:.3f})")
    pl.DataFrame(lines).write_csv(given.out / "optimism.csv")


if __name__ == "__main__":
    main()

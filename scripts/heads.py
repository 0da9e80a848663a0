"""Every head beside the others where the truth is known: log score, calibration, coverage of the best possible risk, far shifts, cost.

    python scripts/heads.py --cohorts 20 --out heads.csv [--first 0] [--only laplace mean_field] [--setting experiments=007_heads/run] [-- OVERRIDES ...]

For each cohort (seeds first .. first + cohorts - 1) the setting's network is trained with every option of the group `head`, and as ensembles of five.
On its held-out rows: log score and how far it lies above the best possible risk's in expectation over outcomes (nats); expected calibration error, ten
groups of equal size; the share of rows whose 90 % interval holds the best risk given the evidences that the row shows, the interval's median width and
its interval score (Gneiting & Raftery 2007, eq. 43; lower is better). Far shift: how well the variance of the mean (`epistemic`), the entropy (`total`)
and the distance before the head (`novelty`) tell these rows from the same people with every biomarker five standard deviations higher, as AUROC.
Costs: CPU seconds of training and recalibrating, and of predicting 1,000 rows with 200 draws, one thread. One line a head and cohort is written; means
and standard errors over cohorts are printed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from equipoise.cohort.draft import ColumnStore
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.contract.make import make
from equipoise.fit import train_ensemble
from equipoise.stats.calibration_curve import bins
from equipoise.stats.roc import auroc
from equipoise.stats.scores import interval_score, log_score
from equipoise.testing.discovery import options
from equipoise.testing.known_truth import LEVEL, KnownCohort, evidences_of, known_cohort

DRAWS, SHIFT = 200, 5.0
ENSEMBLES = {
    "5 x point": ["head=point", "members=5"],
    "5 x laplace": ["head=laplace", "members=5"],
    "5 x laplace, bootstrap": ["head=laplace", "members=5", "bootstrap_members=true"],
}


def variants() -> dict[str, list[str]]:
    """Overrides by name: every head there is, and ensembles."""
    heads = {name: [f"head={name}"] for name in sorted(options("head"))}
    return heads | {"identity": ["head=identity", "fusion=additive"]} | ENSEMBLES


def shifted(known: KnownCohort, folder: Path) -> Cohort:
    """The same people, every biomarker higher by `SHIFT` standard deviations."""
    draft = make(known.config["cohort"]).draft()
    store = draft.stores["biomarker"]
    assert isinstance(store, ColumnStore)
    store.number += SHIFT * np.nanstd(store.number, axis=0)
    return freeze(draft, folder, folder.name, {})


def measure(known: KnownCohort, other: Cohort) -> dict[str, float]:
    """Trains and predicts one variant; see the file's docstring."""
    start = time.process_time()
    ensemble = train_ensemble(known.config, known.cohort, known.split, known.folder / "fit", [])
    trained = time.process_time()
    rows = known.split.held_out
    table = ensemble.predict(known.cohort, rows, draws=DRAWS, level=LEVEL).table
    cost = {"train_s": trained - start, "predict_s_per_1000": (time.process_time() - trained) * 1000 / rows.size}
    far = ensemble.predict(other, rows, draws=DRAWS, level=LEVEL).table
    return against_truth(table, known) | far_shift(table, far, known.cohort.present_in("biomarker")[rows]) | cost


def against_truth(table: pl.DataFrame, known: KnownCohort) -> dict[str, float]:
    rows, evidences = known.split.held_out, evidences_of(known)
    answered = table["risk"].is_finite().fill_null(value=False).to_numpy()
    risk, lo, hi, outcome = (table[c].to_numpy()[answered] for c in ("risk", "lo", "hi", "outcome"))
    best = known.truth.best_risk(evidences)[rows][answered]
    own = known.truth.expected_scores(risk, rows[answered])["log_score"]
    groups = bins(risk, outcome, LEVEL, fewest=1)
    found = {
        "rows": float(risk.size),
        "log_score": float(log_score(risk, outcome).mean()),
        "excess": own - known.truth.best_scores(evidences, rows[answered])["log_score"],
        "ece": float(np.average(np.abs(groups.predicted - groups.observed), weights=groups.n)),
    }
    if not np.isfinite(lo).all():  # too few draws for an interval
        return found
    inside = (lo <= best) & (best <= hi)
    return found | {"coverage": float(inside.mean()), "width": float(np.median(hi - lo)), "interval_score": float(interval_score(lo, hi, best, LEVEL).mean())}


def far_shift(usual: pl.DataFrame, far: pl.DataFrame, present: np.ndarray) -> dict[str, float]:
    """AUROC by score of the rows that have biomarkers; none where a score is not estimated."""
    found = {}
    for score in ("epistemic", "total", "novelty"):
        both = np.concatenate([t[score].cast(pl.Float64).fill_null(np.nan).to_numpy()[present] for t in (usual, far)])
        if np.isfinite(both).all():
            found[f"ood_{score}"] = float(auroc(both, np.repeat([0.0, 1.0], present.sum())))
    return found


def one_cohort(setting: list[str], seed: int, chosen: Mapping[str, list[str]]) -> list[dict[str, object]]:
    """All variants on one cohort."""
    lines: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as place:
        home, other = Path(place), None
        for i, (name, own) in enumerate(chosen.items()):
            known = known_cohort([*setting, f"cohort.seed={seed}", f"seed={seed}", *own], home)
            other = other or shifted(known, home / "far")
            lines.append({"head": name, "seed": seed, **measure(replace(known, folder=home / str(i)), other)})
            said = lines[-1].get("coverage")
            print(f"cohort {seed}, {name}: log score {lines[-1]['log_score']:.4f}" + ("" if said is None else f", coverage {said:.3f}"), flush=True)
    return lines


def summary(table: pl.DataFrame) -> pl.DataFrame:
    """Mean and standard error over cohorts, one line a head."""
    numbers = [c for c in table.columns if c not in ("head", "seed", "rows")]
    mean = [pl.col(c).mean() for c in numbers]
    error = [(pl.col(c).std() / pl.col(c).count().sqrt()).alias(f"{c}_se") for c in numbers]
    return table.group_by("head", maintain_order=True).agg(*mean, *error)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--cohorts", type=int, default=20)
    words.add_argument("--first", type=int, default=0)
    words.add_argument("--only", nargs="+", choices=sorted(variants()))
    words.add_argument("--setting", default="experiments=007_heads/run")
    words.add_argument("--out", type=Path, required=True)
    words.add_argument("overrides", nargs="*")
    given = words.parse_args()
    torch.set_num_threads(1)
    chosen = {name: own for name, own in variants().items() if given.only is None or name in given.only}
    lines: list[dict[str, object]] = []
    for seed in range(given.first, given.first + given.cohorts):
        lines += one_cohort([given.setting, *given.overrides], seed, chosen)
        pl.DataFrame(lines, infer_schema_length=None).write_csv(given.out)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=250, float_precision=4):
        print(summary(pl.DataFrame(lines, infer_schema_length=None)))


if __name__ == "__main__":
    main()

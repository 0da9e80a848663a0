"""Speed of a trial: endpoints of two arms and their paired differences with 1,000 cluster bootstraps, at 10,000 and 100,000 rows.

    python benchmarks/trial.py

Runs what `equipoise evaluate` runs (`trial.judged.Judged`) on a binary and on a time-to-event question, and beside it, on the same data in the same
run, a loop over resamples with the usual library functions. The loop is timed on a few resamples and its time for all is extrapolated. The limits
hold for the sum of both questions; the script ends with 1 where one is not kept. It writes nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from equipoise.trial.endpoints import endpoints_of
from equipoise.trial.judged import Judged
from equipoise.trial.protocol import protocol_of
from equipoise.trial.rows import Rows, rows_of
from equipoise.trial.table import validated

LIMITS_S = {10_000: 2.0, 100_000: 20.0}
HORIZON = 365.0
ENDPOINTS = {
    "binary": ("auroc", "brier", "calibration_in_the_large", "calibration_slope", "net_benefit"),
    "time_to_event": ("ipcw_brier", "td_auc", "harrell_c"),
}
ARMS = (("equipoise", "all"), ("linear", "all"))
PROTOCOL = Path(__file__).parents[1] / "configs" / "trial" / "default.yaml"


def rows(kind: str, n: int) -> Rows:
    """Two arms on n people: log odds known up to noise, more of it in the second; exponential times, a third censored."""
    rng = np.random.default_rng(n)
    truth = rng.normal(-1.2, 1.3, n)
    event_days, censored_days = rng.exponential(2000 * np.exp(-truth - 1.2)), np.minimum(rng.exponential(1500, n), 1500)
    days = np.minimum(event_days, censored_days)
    happened = (event_days <= censored_days).astype(int)
    outcome = (rng.random(n) < expit(truth)).astype(float) if kind == "binary" else ((event_days <= HORIZON) & (happened == 1)).astype(float)
    extra = {} if kind == "binary" else {"target": f"h={HORIZON:g}", "time_days": days, "event": happened}
    frames = [
        pl.DataFrame({"subject_id": np.arange(n).astype(str), "risk": expit(truth + rng.normal(0, sd, n)), "outcome": outcome, "model": model, **extra})
        for (model, _), sd in zip(ARMS, (0.4, 0.8), strict=True)
    ]
    return rows_of(validated(pl.concat(frames)), kind, (), abstain="exclude")


def ours(rows: Rows, resamples: int, names: tuple[str, ...]) -> tuple[float, float]:
    """Wall and processor seconds of estimates and paired differences."""
    protocol = protocol_of(yaml.safe_load(PROTOCOL.read_text()) | {"n_bootstrap": resamples, "primary": names[0]})
    every, _ = endpoints_of(rows.kind, protocol, rows.horizons_days)
    chosen = tuple(e for e in every if e.name.partition("@")[0] in names)
    assert len(chosen) == len(names)
    wall, cpu = time.perf_counter(), time.process_time()
    judged = Judged(rows, protocol, chosen, np.full(rows.size, np.nan), np.empty(0))
    judged.resample([ARMS], list(ARMS))
    for endpoint in chosen:
        found = [judged.estimate(endpoint, arm) for arm in ARMS] + [judged.difference(endpoint, *ARMS)]
        assert all(f.lo <= f.value <= f.hi for f in found), endpoint.name
    return time.perf_counter() - wall, time.process_time() - cpu


def loop(rows: Rows, resamples: int, of: Callable[[np.ndarray, Rows, np.ndarray], object]) -> float:
    """Wall seconds of one resample of both arms, drawn as rows: the mean of a few."""
    rng = np.random.default_rng(0)
    wall = time.perf_counter()
    for _ in range(resamples):
        at = rng.integers(0, rows.size, rows.size)
        for arm in ARMS:
            of(rows.forecasts[arm].risk[:, 0], rows, at)
    return (time.perf_counter() - wall) / resamples


def binary_scores(risk: np.ndarray, rows: Rows, at: np.ndarray) -> object:
    """AUROC, Brier, slope with its intercept, and net benefit with scikit-learn and numpy; in-the-large is left out, to the loop's advantage."""
    p, y = risk[at], rows.outcome[at, 0]
    x = np.log(p / (1 - p))[:, None]
    slope = LogisticRegression(C=np.inf).fit(x, y).coef_
    return roc_auc_score(y, p), brier_score_loss(y, p), slope, np.mean((p >= 0.1) * (y - (1 - y) / 9))


def harrell_by_rows(risk: np.ndarray, rows: Rows, at: np.ndarray) -> object:
    """Harrell's C alone: a loop over cases, the later rows of each compared at once."""
    order = at[np.argsort(rows.time[at])]
    p, t, e = risk[order], rows.time[order], rows.event[order]
    won = pairs = 0.0
    for i in np.flatnonzero(e == 1):
        later = p[np.searchsorted(t, t[i], side="right") :]
        won, pairs = won + (later < p[i]).sum() + (later == p[i]).sum() / 2, pairs + later.size
    return won / pairs


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resamples", type=int, default=1000, help="the limits are for 1000")
    parser.add_argument("--rows", type=int, nargs="+", default=list(LIMITS_S), help="numbers of rows")
    asked = parser.parse_args()
    kept = True
    print(f"{asked.resamples} paired resamples, two arms\n{'rows':>8}  {'question':15}{'wall s':>8}{'cpu s':>8}{'loop s':>10}{'ratio':>8}  the loop computes")
    for n in asked.rows:
        total = 0.0
        for kind, names in ENDPOINTS.items():
            data = rows(kind, n)
            wall, cpu = ours(data, asked.resamples, names)
            of, few, what = (binary_scores, 4, "the same but in-the-large") if kind == "binary" else (harrell_by_rows, 1, "Harrell's C alone")
            naive = loop(data, few, of) * asked.resamples
            total += wall
            print(f"{n:8,}  {kind:15}{wall:8.2f}{cpu:8.2f}{naive:10.0f}{naive / wall:8.0f}  {what} (extrapolated from {few})", flush=True)
        limit = LIMITS_S.get(n, float("inf"))
        kept &= total < limit
        print(f"{n:8,}  {'both':15}{total:8.2f}  limit {limit:g} s: {'kept' if total < limit else 'NOT KEPT'}", flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

"""Does the pipeline find what each evidence is worth? Over synthetic cohorts with a known truth.

    python scripts/evidence_value.py --seeds 6 --out value.csv [--first 0] [--evidences genotype,ehr] [OVERRIDES of the config ...]
    python scripts/evidence_value.py --seeds 20 --out null.csv --evidences genotype cohort=null_genome_ancestry

For each cohort (seeds first .. first + seeds - 1) the network of experiments/004_known_truth/value.yaml is trained with all evidences and once
without each, and both go through the trial on held-out rows. Writes one line a cohort and evidence (see `EvidenceValue`); prints how the
measured added values rank beside the true ones, and how often a gain was claimed.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

import polars as pl
import torch
from scipy.stats import kendalltau, spearmanr

from equipoise.cohort.generator.dials import EVIDENCES
from equipoise.testing.evidence_value import evidence_values
from equipoise.testing.known_truth import known_cohort

SETTING = "experiments=004_known_truth/value"


def agreement(found: pl.DataFrame, by: str) -> str:
    """How one cohort's (or the mean) added values rank beside the true ones."""
    true, measured = found["true_gain"].to_numpy(), found[by].to_numpy()
    order = found.sort(by, descending=True)["evidence"].to_list()
    return f"Spearman {spearmanr(true, measured).statistic:+.2f}, Kendall {kendalltau(true, measured).statistic:+.2f}, {' > '.join(order)}"


def summary(table: pl.DataFrame) -> None:
    """Prints ranks by cohort and over their mean, and counts of what was claimed."""
    mean = table.group_by("evidence", maintain_order=True).agg(pl.col("gain", "expected_gain", "true_gain").mean())
    if mean.height > 1:
        for (seed,), own in table.group_by("seed", maintain_order=True):
            print(f"cohort {seed}: {agreement(own, 'gain')} (true: {' > '.join(own.sort('true_gain', descending=True)['evidence'])})")
        print(f"mean over cohorts, as measured: {agreement(mean, 'gain')}")
        print(f"mean over cohorts, expected over outcomes: {agreement(mean, 'expected_gain')}")
    for evidence, gain, expected, true in mean.iter_rows():
        own = table.filter(pl.col("evidence") == evidence)
        claimed, above, below = (own["verdict"] == "demonstrated gain").sum(), (own["lo"] > 0).sum(), (own["hi"] < 0).sum()
        print(f"{evidence:<10} gain {gain:+.4f}, expected {expected:+.4f}, true {true:+.4f} nats; of {own.height} cohorts:", end=" ")
        print(f"gain claimed in {claimed}, interval above 0 in {above}, below 0 in {below}, first fit truly better in {(own['expected_gain'] > 0).sum()}")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seeds", type=int, default=6)
    words.add_argument("--first", type=int, default=0)
    words.add_argument("--evidences", type=lambda text: text.split(","), default=list(EVIDENCES))
    words.add_argument("--out", type=Path, required=True)
    words.add_argument("overrides", nargs="*")
    given = words.parse_args()
    torch.set_num_threads(1)
    lines = []
    for seed in range(given.first, given.first + given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            known = known_cohort([SETTING, f"cohort.seed={seed}", f"seed={seed}", *given.overrides], Path(folder))
            lines += [{"seed": seed, **asdict(value)} for value in evidence_values(known, given.evidences)]
        pl.DataFrame(lines).write_csv(given.out)
        print(f"cohort {seed} is done", flush=True)
    summary(pl.DataFrame(lines))


if __name__ == "__main__":
    main()

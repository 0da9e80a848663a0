"""A target trial emulated where the answer is known.

    python scripts/target_trial.py --out runs/target_trial                     # the synthetic cohort: confounded, its average effect known
    python scripts/target_trial.py --out runs/actg --actg175 actg175.csv       # a randomised trial, made confounded by leaving people out

The synthetic cohort's treatment depends on age and reported habits; its truth is the cohort's own average effect. In actg175 the treated arms are kept
the more often the higher their CD4 count at baseline, zidovudine alone the more often the lower, so that everybody had the same chance of being kept:
the crude difference is then confounded, and the difference of means in the whole randomised trial (46.8 cells/mm3, se 6.8) is still the truth.
Writes emulation.json (aggregates only) and target.md, the TARGET checklist. docs/target_trial.md tells how to read them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import expit

from equipoise.comparator.design import Design
from equipoise.contract.counter import numpy_stream
from equipoise.record import write_json
from equipoise.report.finding import Finding
from equipoise.report.markup import Numbering
from equipoise.report.pack.target import target
from equipoise.testing.known_truth import known_cohort
from equipoise.trial.emulation import Observed, TargetTrial, emulate
from equipoise.whole_file import write_whole

SAME_DAY = "the day on which the person became eligible; the strategy of that day is the one assigned"


def protocol(population: str, strategies: tuple[str, str], variable: str, eligibility: tuple[str, ...], confounders: tuple[str, ...]) -> TargetTrial:
    """The target trial; what both examples share is said once."""
    return TargetTrial(
        population=population,
        strategies=strategies,
        variable=variable,
        intercurrent_events={
            "stopping or switching treatment": "treatment policy",
            "loss before the outcome": "hypothetical, weighted by the chance of being seen",
        },
        summary_measure="difference of means, second strategy minus first",
        eligibility=eligibility,
        assignment="at random and open in the target trial; in the emulation as if at random given the confounders",
        time_zero=SAME_DAY,
        follow_up="until the outcome is measured",
        causal_contrast="intention to treat",
        assumptions=(
            "no confounding given the confounders",
            "both strategies possible for everybody",
            "outcomes missing at random given both",
            "no interference",
        ),
        estimand="ATE",
        confounders=confounders,
    )


def synthetic(n: int, seed: int) -> tuple[TargetTrial, Observed, float]:
    """The synthetic cohort with all confounders measured, and its average effect."""
    dials = ["treatment.habits=0", "treatment.measured=1.0", "presence.lifestyle.share=1", "lifestyle.item_missing=0", "genome.variants=200"]
    with tempfile.TemporaryDirectory() as folder:
        known = known_cohort([f"cohort.{d}" for d in [*dials, f"n={n}", f"seed={seed}"]], Path(folder))
        stores = [known.cohort.store(name) for name in ("clinical", "lifestyle")]
        names = tuple(c.name for s in stores for c in (*s.numbers, *s.categories))
        raw = np.column_stack([np.column_stack([s.number, np.where(s.category < 0, np.nan, s.category)]) for s in stores]).astype(np.float64)
        told = known.cohort.target("response").table
        effect = float(known.truth.facts["average_effect"])
    x = Design().fit(raw).apply(raw)
    day = np.zeros(n)
    trial = protocol("the synthetic cohort", ("untreated", "treated"), "bad response, 0 or 1", ("everybody",), names)
    return (
        trial,
        Observed(
            treatment=told["treatment"].to_numpy(), outcome=told["outcome"].to_numpy(), confounders=x, eligible_day=day, assigned_day=day, followed_from_day=day
        ),
        effect,
    )


def actg175(path: Path, seed: int) -> tuple[TargetTrial, Observed, float]:
    """A confounded part of the randomised trial, and the difference of means in the whole of it."""
    table = pl.read_csv(path, null_values=["NA"])
    names = ("age", "wtkg", "hemo", "homo", "drugs", "karnof", "oprior", "z30", "preanti", "race", "gender", "str2", "symptom", "cd40", "cd80")
    treated, cd420 = table["treat"].to_numpy(), table["cd420"].to_numpy().astype(np.float64)
    cd40 = table["cd40"].to_numpy()
    share = treated.mean()
    high = np.clip(expit(0.8 * (cd40 - cd40.mean()) / cd40.std()), 0.2, 0.8)
    # P(kept | baseline) = share high k / share + (1 - share)(1 - high) k / (1 - share) = k: the same for everybody.
    k = min(share, 1 - share) / 0.8
    chance = np.where(treated == 1, high * k / share, (1 - high) * k / (1 - share))
    kept = np.flatnonzero(numpy_stream("actg175-kept", seed).random(treated.size) < chance)
    day = np.zeros(kept.size)
    trial = protocol(
        "adults with HIV-1 and 200 to 500 CD4 cells/mm3 (ACTG 175)",
        ("zidovudine alone", "another of the three regimens"),
        "CD4 cells/mm3 at 20 weeks",
        ("enrolled in ACTG 175", "kept by the selection that confounds it"),
        names,
    )
    x = table.select(names).to_numpy().astype(np.float64)[kept]
    observed = Observed(treatment=treated[kept], outcome=cd420[kept], confounders=x, eligible_day=day, assigned_day=day, followed_from_day=day)
    return trial, observed, float(cd420[treated == 1].mean() - cd420[treated == 0].mean())


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--n", type=int, default=4000, help="people in the synthetic cohort")
    words.add_argument("--actg175", type=Path, help="actg175.csv")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--out", type=Path, required=True)
    given = words.parse_args()
    if given.actg175 and not given.actg175.is_file():
        raise SystemExit(f"There is no file {given.actg175}: the ACTG 175 data are in R's package speff2trial; leave --actg175 out for the synthetic cohort.")
    trial, observed, truth = actg175(given.actg175, given.seed) if given.actg175 else synthetic(given.n, given.seed)
    made = emulate(trial, observed, seed=given.seed)
    made["known_effect"] = truth
    given.out.mkdir(parents=True, exist_ok=True)
    write_json(given.out / "emulation.json", made)
    page = target(Finding({"emulation": made}, {}, Numbering()))
    write_whole(given.out / "target.md", lambda file: file.write(page.encode()))
    print(f"known effect {truth:.4g}; {made['n']['rows']} people, {made['n']['treated']} treated, {made['n']['outcome_missing']} without the outcome")
    for name, contrast in made["estimates"].items():
        d = contrast["difference"]
        print(f"{name:<10} {d['value']:.4g} ({d['lo']:.4g} to {d['hi']:.4g})")
    worst = [max(abs(b[when]) for b in made["balance"]) for when in ("before", "after")]
    print(f"largest standardized difference {worst[0]:.2f} before, {worst[1]:.2f} after weighting")
    print("\n".join([made["overlap"]["sentence"], *made["sentences"]]))


if __name__ == "__main__":
    main()

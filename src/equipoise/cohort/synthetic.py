"""A synthetic cohort with a known truth: five evidences of one latent health state, every mechanism a dial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.draft import Column, ColumnStore, Draft, GenotypeStore, Store, TargetTable
from equipoise.cohort.generator.biomarkers import NAMES, BiomarkerDials, biomarker_store
from equipoise.cohort.generator.dials import EVIDENCES, GENERATOR_VERSION, require
from equipoise.cohort.generator.division import divide_rows, five_folds
from equipoise.cohort.generator.ehr import DAY_US, EhrDials, ehr_store
from equipoise.cohort.generator.genotypes import pack
from equipoise.cohort.generator.haplotypes import GenomeDials
from equipoise.cohort.generator.lifestyle import LifestyleDials, lifestyle_store
from equipoise.cohort.generator.outcome import SEVERITY, OutcomeDials
from equipoise.cohort.generator.people import PeopleDials
from equipoise.cohort.generator.presence import PresenceDials
from equipoise.cohort.generator.state import StateDials
from equipoise.cohort.generator.treatment import TreatmentDials
from equipoise.cohort.generator.truth import future_value, write_truth_tables
from equipoise.cohort.generator.world import Dials, World, as_plain, draw_world
from equipoise.cohort.source import Source
from equipoise.cohort.splits import check_shares


class Synthetic(Source):
    """Generates a cohort; equal keywords give equal cohorts.

    Args:
        n: people, each with one row; 50 to 1,000,000.
        seed: the cohort's own seed; a run's seed does not change its cohort.
        shares: role -> share of rows, clusters kept whole.
        split: by what the held-out rows are chosen: "random", "site" (whole sites, the last ones) or "calendar" (the latest).
        people: dials of clusters, ancestry, sites and calendar.
        state: dials of the latent state.
        genome: dials of the genotypes and their score.
        ehr: dials of the health record.
        biomarker: dials of the biomarkers.
        lifestyle: dials of the questionnaire.
        presence: dials of each evidence's presence.
        outcome: dials of outcome, event times, death, entry and censoring.
        treatment: dials of treatment and response.

    Raises:
        UserError: a dial is out of its range, or a role is none, naming it.
    """

    def __init__(
        self,
        *,
        n: int,
        seed: int,
        shares: Mapping[str, float],
        split: str,
        people: PeopleDials,
        state: StateDials,
        genome: GenomeDials,
        ehr: EhrDials,
        biomarker: BiomarkerDials,
        lifestyle: LifestyleDials,
        presence: PresenceDials,
        outcome: OutcomeDials,
        treatment: TreatmentDials,
    ) -> None:
        require("n", n, 50, 1_000_000)
        require("seed", seed, 0, 2**63)
        check_shares(shares, "cohort.shares")
        self.n, self.seed, self.shares, self.split = n, seed, dict(shares), split
        self.dials = Dials(
            people=people,
            state=state,
            genome=genome,
            ehr=ehr,
            biomarker=biomarker,
            lifestyle=lifestyle,
            presence=presence,
            outcome=outcome,
            treatment=treatment,
        )

    def fingerprint(self) -> dict[str, Any]:
        own = {"n": self.n, "seed": self.seed, "shares": self.shares, "split": self.split}
        return {"source": "synthetic", "generator": GENERATOR_VERSION, **own, **as_plain(self.dials)}

    def draft(self) -> Draft:
        world = self._world
        rows = _rows(world, self._subject_id, self._prediction_time_us)
        role = divide_rows(world.people, self.shares, self.split, self.seed)
        told = json.dumps(self.fingerprint(), sort_keys=True).encode()
        line = {"n_rows": world.size, "n_subjects": world.size}
        return Draft(
            rows=rows.with_columns(pl.Series("role", role, dtype=pl.String)),
            present=world.present,
            stores=_stores(world, self._prediction_time_us),
            targets=_targets(world),
            scores={"published": published_score(world)},
            folds=five_folds(world.people.cluster, self.seed),
            flow=[{"step": "generated", **line, "note": "synthetic people"}],
            sources=[{"name": f"synthetic generator {GENERATOR_VERSION}", "sha256": hashlib.sha256(told).hexdigest(), "bytes": len(told)}],
            counts={
                "clusters": int(np.unique(world.people.cluster).size),
                "sites": int(np.unique(world.people.site).size),
                "events": int(world.present[world.record.person, EVIDENCES.index("ehr")].sum()),
                "variants": int(world.genome.effect.size),
            },
        )

    def write_truth(self, folder: Path) -> None:
        write_truth_tables(self._world, self._subject_id, self.fingerprint(), folder)

    @cached_property
    def _world(self) -> World:
        return draw_world(self.n, self.seed, self.dials)

    @property
    def _subject_id(self) -> list[str]:
        return [f"S{i:07d}" for i in range(self.n)]

    @property
    def _prediction_time_us(self) -> np.ndarray:
        people, world = self.dials.people, self._world
        start = np.datetime64(datetime(people.start_year, 1, 1), "us").astype(np.int64)
        span_days = people.years * 365.25
        return np.asarray(start + np.floor((world.people.calendar + 1.0) / 2.0 * span_days).astype(np.int64) * DAY_US)


def published_score(world: World) -> np.ndarray:
    """A score as from a paper: age, sex and two biomarkers (C-reactive protein, eGFR) as measured, with coefficients of another population.

    The risks are too extreme (slope about 1.5 too large) and too high by 0.5 log odds; NaN where a biomarker or the clinical evidence is missing.

    Args:
        world: a world.

    Returns:
        Risks f64 (n,).
    """
    crp, egfr = NAMES.index("crp"), NAMES.index("egfr")
    x = np.maximum(world.biomarkers.x, world.dials.biomarker.limit)  # a value below the limit is reported as the limit
    prevalence = world.dials.outcome.prevalence
    odds = np.log(prevalence / (1.0 - prevalence)) + 0.5 + 0.55 * world.people.age + 0.3 * world.people.sex + 0.5 * x[:, crp] - 0.45 * x[:, egfr]
    known = world.has("clinical") & world.has("biomarker") & world.biomarkers.observed[:, [crp, egfr]].all(axis=1)
    return np.where(known, 1.0 / (1.0 + np.exp(-odds)), np.nan)


def _rows(world: World, subject_id: list[str], time_us: np.ndarray) -> pl.DataFrame:
    people = world.people
    return pl.DataFrame(
        {
            "row_id": np.arange(world.size, dtype=np.int64),
            "subject_id": subject_id,
            "prediction_time": pl.Series(time_us).cast(pl.Datetime("us")),
            "cluster": [f"C{c:07d}" for c in people.cluster],
            "site": [f"site_{s + 1}" for s in people.site],
        }
    )


def _stores(world: World, time_us: np.ndarray) -> dict[str, Store]:
    dials = world.dials
    genotyped = world.has("genotype")
    index = np.where(genotyped, np.cumsum(genotyped) - 1, -1)
    packed = pack(world.genome.dosage[genotyped], world.genome.missing[genotyped])
    return {
        "ehr": ehr_store(world.record, world.has("ehr"), time_us, dials.ehr),
        "genotype": GenotypeStore(packed, index.astype(np.int64), world.genome.variants),
        "biomarker": biomarker_store(world.biomarkers, world.has("biomarker"), dials.biomarker),
        "lifestyle": lifestyle_store(world.lifestyle, world.has("lifestyle")),
        "clinical": _clinical_store(world),
    }


def _clinical_store(world: World) -> ColumnStore:
    people, present = world.people, world.has("clinical")
    number = np.column_stack([55.0 + 10.0 * people.age, people.deprivation])
    category = np.column_stack([(people.sex > 0).astype(np.int32), people.site.astype(np.int32)])
    sites = tuple(f"site_{s + 1}" for s in range(world.dials.people.sites))
    return ColumnStore(
        (Column("age", "number", "a"), Column("deprivation", "number", "{score}")),
        (Column("sex", "category", levels=("female", "male")), Column("site", "category", levels=sites)),
        np.where(present[:, None], number, np.nan),
        np.where(present[:, None], category, -1).astype(np.int32),
    )


def _targets(world: World) -> dict[str, TargetTable]:
    course, trial = world.course, world.trial
    event = np.where(course.observed, course.event, -1)
    return {
        "outcome": TargetTable("binary", _target(course.outcome)),
        "survival": TargetTable(
            "time_to_event",
            _target(
                np.where(course.observed, course.event == 1, np.nan),
                observed=course.observed,
                time_days=np.where(course.observed, course.time_days, np.nan),
                event=event,
                entry_days=np.where(course.observed, course.entry_days, 0.0),
            ),
        ),
        "response": TargetTable("treatment_effect", _target(trial.response, treatment=trial.treatment)),
        "severity": TargetTable("multiclass", _target(course.severity), classes=SEVERITY),
        "biomarker_future": TargetTable("continuous", _target(future_value(world.future)), unit="mmol/mol"),
    }


def _target(outcome: np.ndarray, **given: np.ndarray) -> pl.DataFrame:
    n = outcome.size
    columns = {
        "outcome": outcome.astype(np.float64),
        "observed": np.ones(n, bool),
        "time_days": np.full(n, np.nan),
        "event": np.full(n, -1, np.int64),
        "entry_days": np.zeros(n),
        "treatment": np.full(n, -1, np.int64),
        "weight": np.ones(n),
    }
    return pl.DataFrame(columns | given)

"""Tiny cohorts for tests: five evidences partly missing, five kinds of targets, roles, folds, sites, repeated rows; seeded, from a known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from equipoise.cohort.draft import STATIC_TIME, Column, ColumnStore, Draft, EventStore, GenotypeStore, Store, TargetTable
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.contract.counter import numpy_stream
from equipoise.contract.tables import ROLES, TIME

DAY_US = 86_400_000_000
EVIDENCES = ("ehr", "genotype", "biomarker", "lifestyle", "clinical")
CODES = ("sex//female", "sex//male", "lab//creatinine", "lab//lactate", "diagnosis//diabetes", "drug//metformin", "vital//heart_rate", "rare//code")
UNITS = ("", "", "mg/dL", "mmol/L", "", "", "/min", "")


def tiny_cohort(folder: Path, *, n: int = 120, seed: int = 0, n_variants: int = 37) -> Cohort:
    """A frozen `tiny_draft` at ``folder``, which must not exist."""
    return freeze(tiny_draft(n=n, seed=seed, n_variants=n_variants), folder, f"tiny-{n}-{seed}-{n_variants}", {"n": n, "seed": seed, "n_variants": n_variants})


def tiny_draft(*, n: int = 120, seed: int = 0, n_variants: int = 37) -> Draft:
    """A draft whose truth is one latent state a person: severity ``u`` seen through every evidence, and a polygenic score ``g``.

    A tenth of the rows are second prediction times of earlier subjects. Row 0 has nothing present; row 1 has an empty EHR. The event store also
    holds events later than the prediction times, outside of the rows' segments. Evidence presence is 95, 70, 80, 85, 95 %.

    Args:
        n: rows, >= 20.
        seed: of everything.
        n_variants: V.
    """
    rng = numpy_stream("tiny-cohort", n, seed, n_variants)
    n_subjects = n - n // 10
    subject = np.concatenate([np.arange(n_subjects), 2 + np.arange(n // 10)])
    u = rng.standard_normal(n_subjects)
    genotype, g = _genotypes(rng, n_subjects, n_variants, subject)
    first_us = 1_577_836_800_000_000 + rng.integers(0, 700, n_subjects) * DAY_US
    time_us = first_us[subject] + np.where(np.arange(n) >= n_subjects, 90 * DAY_US, 0)
    present = rng.random((n, len(EVIDENCES))) < (0.95, 0.7, 0.8, 0.85, 0.95)
    present[0], present[1, 0] = False, True
    genotype.index[~present[:, 1]] = -1
    x = u[subject] + 0.2 * rng.standard_normal(n)
    ehr = _events(rng, u, subject, time_us)
    empty = ~present[:, 0]
    empty[1] = True
    ehr.stop[empty] = ehr.start[empty]
    stores: dict[str, Store] = {
        "ehr": ehr,
        "genotype": genotype,
        "biomarker": _biomarker(rng, x),
        "lifestyle": _lifestyle(rng, x),
        "clinical": _clinical(rng, x),
    }
    for column, store in enumerate(stores.values()):
        if isinstance(store, ColumnStore):
            store.number[~present[:, column]], store.category[~present[:, column]] = np.nan, -1
    risk = 1 / (1 + np.exp(-(1.2 * x + 0.8 * g[subject] - 0.5)))
    role = np.array(ROLES)[rng.choice(4, n_subjects, p=(0.6, 0.1, 0.1, 0.2))]
    site = np.array(["north", "south", "east"])[rng.integers(0, 3, n_subjects)]
    fold = [rng.permutation(n_subjects) % 4 for _ in range(2)]
    names = np.array([f"S{i:05d}" for i in range(n_subjects)])
    return Draft(
        rows=pl.DataFrame(
            {
                "row_id": np.arange(n),
                "subject_id": names[subject],
                "prediction_time": pl.Series(time_us).cast(TIME),
                "cluster": names[subject],
                "site": site[subject],
                "role": role[subject],
            }
        ),
        present=present,
        stores=stores,
        targets=_targets(rng, x, g[subject], risk),
        scores={"published": np.where(rng.random(n) < 0.1, np.nan, risk)},
        folds=pl.concat([pl.DataFrame({"row_id": np.arange(n), "repeat": np.full(n, r), "fold": fold[r][subject]}) for r in range(2)]),
        flow=[{"step": "generated", "n_rows": n, "n_subjects": n_subjects}],
        sources=[{"name": "tiny", "sha256": "0" * 64, "bytes": 0}],
    )


def _genotypes(rng: np.random.Generator, n_subjects: int, n_variants: int, subject: np.ndarray) -> tuple[GenotypeStore, np.ndarray]:
    """The store, and each subject's standardised polygenic score. Variant 0 does not vary; 3 % of the calls are missing."""
    frequency = rng.uniform(0.1, 0.9, n_variants)
    copies = rng.binomial(2, frequency, (n_subjects, n_variants))
    copies[:, 0] = 0
    score = (copies - 2 * frequency) @ rng.standard_normal(n_variants)
    score = (score - score.mean()) / max(float(score.std()), 1e-9)
    call = np.where(rng.random(copies.shape) < 0.03, 1, np.array([3, 2, 0])[copies]).astype(np.uint8)
    variants = pl.DataFrame(
        {
            "chromosome": [str(1 + v * 3 // n_variants) for v in range(n_variants)],
            "variant_id": [f"rs{v}" for v in range(n_variants)],
            "position": np.arange(n_variants, dtype=np.int64) * 1000 + 1,
            "counted_allele": ["AC"[v % 2] for v in range(n_variants)],
            "other_allele": ["GT"[v % 2] for v in range(n_variants)],
        }
    )
    return GenotypeStore(pack_calls(call), subject.astype(np.int64), variants), score


def pack_calls(call: np.ndarray) -> np.ndarray:
    """PLINK's 2-bit codes u8 (G, V) -> u8 (G, ceil(V/4)), lowest bits first.

    >>> pack_calls(np.array([[0, 1, 2, 3, 3]], np.uint8)).tolist()
    [[228, 3]]
    """
    padded = np.zeros((call.shape[0], -(-call.shape[1] // 4) * 4), np.uint8)
    padded[:, : call.shape[1]] = call
    quad = padded.reshape(call.shape[0], -1, 4)
    return quad[..., 0] | quad[..., 1] << 2 | quad[..., 2] << 4 | quad[..., 3] << 6


def _events(rng: np.random.Generator, u: np.ndarray, subject: np.ndarray, time_us: np.ndarray) -> EventStore:
    """Statics, then visits over a year before and a month after the last prediction time; sicker people have more visits."""
    person, code, value, time = [], [], [], []
    last_us = np.zeros(u.size, np.int64)
    np.maximum.at(last_us, subject, time_us)
    for i in range(u.size):
        k = 2 + rng.poisson(6 * np.exp(0.3 * u[i]))
        kind = rng.choice([2, 3, 4, 5, 6, 7], k, p=(0.3, 0.25, 0.1, 0.1, 0.24, 0.01))
        mean = np.array([0, 0, 1 + 0.4 * u[i], np.exp(0.5 * u[i]), np.nan, np.nan, 80 + 10 * u[i], np.nan])
        noise = np.array([0, 0, 0.2, 0.3, 0, 0, 6, 0])
        person += [i] * (k + 1)
        code += [int(rng.integers(0, 2)), *kind.tolist()]
        value += [np.nan, *(mean[kind] + noise[kind] * rng.standard_normal(k)).tolist()]
        time += [STATIC_TIME, *np.sort(last_us[i] - (rng.uniform(-30, 365, k) * DAY_US).astype(np.int64)).tolist()]
    person_of, time_of = np.array(person), np.array(time, np.int64)
    start = np.searchsorted(person_of, subject, "left")
    end = np.searchsorted(person_of, subject, "right")
    stop = np.array([s + np.searchsorted(time_of[s:e], t, "right") for s, e, t in zip(start, end, time_us, strict=True)], np.int64)
    return EventStore(CODES, UNITS, np.array(code, np.int32), np.array(value, np.float32), time_of, start, stop, time_us.astype(np.int64))


def _missing(rng: np.random.Generator, value: np.ndarray, share: float) -> np.ndarray:
    return np.where(rng.random(value.shape) < share, np.nan, value)


def _biomarker(rng: np.random.Generator, x: np.ndarray) -> ColumnStore:
    n = x.size
    number = np.stack([np.exp(0.8 * x + 0.4 * rng.standard_normal(n)), 3.2 + 0.6 * rng.standard_normal(n), 5.5 + 0.7 * x + 0.5 * rng.standard_normal(n)], 1)
    columns = (Column("crp", "number", "mg/L"), Column("ldl", "number", "mmol/L"), Column("glucose", "number", "mmol/L"))
    return ColumnStore(columns, (), _missing(rng, number, 0.15), np.zeros((n, 0), np.int32))


def _lifestyle(rng: np.random.Generator, x: np.ndarray) -> ColumnStore:
    n = x.size
    number = np.stack([np.exp(1 + rng.standard_normal(n)), 5 - x + rng.standard_normal(n)], 1)
    smoking = np.digitize(x + rng.standard_normal(n), (-0.3, 0.8)).astype(np.int32)
    smoking[rng.random(n) < 0.1] = -1
    category = (Column("smoking", "category", levels=("never", "former", "current")),)
    return ColumnStore((Column("alcohol", "number", "g/wk"), Column("exercise", "number", "h/wk")), category, _missing(rng, number, 0.1), smoking[:, None])


def _clinical(rng: np.random.Generator, x: np.ndarray) -> ColumnStore:
    n = x.size
    number = np.stack([rng.uniform(30, 80, n), 26 + 2 * x + 3 * rng.standard_normal(n)], 1)
    category = np.stack([rng.integers(0, 2, n), np.where(rng.random(n) < 0.2, -1, rng.integers(0, 3, n))], 1).astype(np.int32)
    columns = (Column("sex", "category", levels=("female", "male")), Column("region", "category", levels=("a", "b", "c")))
    return ColumnStore((Column("age", "number", "a"), Column("bmi", "number", "kg/m2")), columns, _missing(rng, number, 0.1), category)


def _targets(rng: np.random.Generator, x: np.ndarray, g: np.ndarray, risk: np.ndarray) -> dict[str, TargetTable]:
    """One target of each kind, all driven by the same state; one outcome in twenty is missing, except for survival."""
    n = x.size
    event_days = rng.exponential(400 * np.exp(-x - 0.5 * g))
    other_days, censored_days = rng.exponential(1500, n), rng.uniform(100, 1000, n)
    time_days = np.minimum(np.minimum(event_days, other_days), censored_days)
    event = np.select([time_days == event_days, time_days == other_days], [1, 2], 0)
    arm = rng.integers(0, 2, n)
    response = (rng.random(n) < 1 / (1 + np.exp(-(0.8 * x - arm * (0.5 + 0.5 * g))))).astype(float)
    return {
        "outcome": TargetTable("binary", _target(_missing(rng, (rng.random(n) < risk).astype(float), 0.05))),
        "severity": TargetTable(
            "multiclass",
            _target(_missing(rng, np.digitize(x + 0.3 * rng.standard_normal(n), (-0.5, 0.7)).astype(float), 0.05)),
            classes=("mild", "moderate", "severe"),
        ),
        "weight": TargetTable("continuous", _target(_missing(rng, 75 + 8 * x + 5 * g + 3 * rng.standard_normal(n), 0.05)), unit="kg"),
        "survival": TargetTable("time_to_event", _target((event > 0).astype(float), time_days=time_days, event=event)),
        "response": TargetTable("treatment_effect", _target(_missing(rng, response, 0.05), treatment=arm)),
    }


def _target(outcome: np.ndarray, *, time_days: np.ndarray | None = None, event: np.ndarray | None = None, treatment: np.ndarray | None = None) -> pl.DataFrame:
    n = outcome.size
    return pl.DataFrame(
        {
            "outcome": outcome,
            "observed": ~np.isnan(outcome),
            "time_days": np.full(n, np.nan) if time_days is None else time_days,
            "event": np.full(n, -1, np.int64) if event is None else event.astype(np.int64),
            "entry_days": np.zeros(n),
            "treatment": np.full(n, -1, np.int64) if treatment is None else treatment.astype(np.int64),
            "weight": np.ones(n),
        }
    )

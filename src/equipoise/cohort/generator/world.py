"""One synthetic world: every mechanism drawn in order, from its own stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from equipoise.cohort.generator.biomarkers import MODIFIER, BiomarkerDials, Biomarkers, draw_biomarkers
from equipoise.cohort.generator.dials import EVIDENCES, stream
from equipoise.cohort.generator.ehr import EhrDials, Record, draw_record
from equipoise.cohort.generator.genotypes import Genome, draw_genome
from equipoise.cohort.generator.haplotypes import GenomeDials, draw_panel
from equipoise.cohort.generator.lifestyle import Lifestyle, LifestyleDials, draw_lifestyle
from equipoise.cohort.generator.outcome import Course, OutcomeDials, draw_course
from equipoise.cohort.generator.people import People, PeopleDials, draw_people, site_probability
from equipoise.cohort.generator.presence import PresenceDials, draw_presence, presence_probability
from equipoise.cohort.generator.state import StateDials, draw_state
from equipoise.cohort.generator.treatment import TreatmentDials, Trial, draw_trial, reduction

_FUTURE_NOISE = 0.6  # of the future biomarker, on its standard scale


@dataclass(frozen=True, kw_only=True)
class Dials:
    """All mechanisms' dials (each documented beside its mechanism)."""

    people: PeopleDials
    state: StateDials
    genome: GenomeDials
    ehr: EhrDials
    biomarker: BiomarkerDials
    lifestyle: LifestyleDials
    presence: PresenceDials
    outcome: OutcomeDials
    treatment: TreatmentDials


@dataclass(frozen=True)
class World:
    """Everybody and everything, the hidden included. Only `generator` and `synthetic` may hold one.

    Args:
        dials: all dials.
        people: who there is.
        genome: genotypes, effects, score.
        z: f64 (n, 4), the latent state.
        record: the health records.
        biomarkers: the biomarkers.
        lifestyle: the questionnaires.
        presence_probability: f64 (n, 5).
        present: bool (n, 5), in the order of EVIDENCES.
        base: intercept of the log odds of the outcome.
        constant: f64 (sites,), added to the log odds at each site.
        course: outcome, event times, severity.
        carrier: bool (n,), of the effect's marker.
        trial: treatment and response.
        future: f64 (n,), the future biomarker on its standard scale.
    """

    dials: Dials
    people: People
    genome: Genome
    z: np.ndarray
    record: Record
    biomarkers: Biomarkers
    lifestyle: Lifestyle
    presence_probability: np.ndarray
    present: np.ndarray
    base: float
    constant: np.ndarray
    course: Course
    carrier: np.ndarray
    trial: Trial
    future: np.ndarray

    @property
    def size(self) -> int:
        """Number of people n."""
        return int(self.z.shape[0])

    def has(self, evidence: str) -> np.ndarray:
        """bool (n,): who has the evidence."""
        return self.present[:, EVIDENCES.index(evidence)]


def draw_world(n: int, seed: int, dials: Dials) -> World:
    """Draws a world of n people; the same for the same arguments.

    Args:
        n: people, >= 1.
        seed: a counter.
        dials: the dials.
    """
    people = draw_people(n, seed, dials.people)
    genome = draw_genome(people, draw_panel(seed, dials.genome), seed, dials.genome)
    z = draw_state(people, genome.score, seed, dials.state)
    lifestyle = draw_lifestyle(z, seed, dials.lifestyle)
    probability = np.column_stack([presence_probability(e, dials.presence, people.age, people.site, z[:, 2]) for e in EVIDENCES])
    constant = dials.outcome.site_constant(dials.people.sites)
    base = intercept(dials)
    course = draw_course(z, constant[people.site], people.calendar, base, seed, dials.outcome)
    allele = genome.dosage[:, genome.marker]
    carrier = (allele > 0) if allele.mean() < 1 else (allele < 2)
    confounder = (people.age + lifestyle.summary(dials.lifestyle)) / np.sqrt(2.0)
    lowered = reduction(modifier_level(z, dials.biomarker), carrier, dials.treatment)
    future_noise = _FUTURE_NOISE * stream("future biomarker", seed).standard_normal(n)
    return World(
        dials=dials,
        people=people,
        genome=genome,
        z=z,
        record=draw_record(z, seed, dials.ehr),
        biomarkers=draw_biomarkers(z, seed, dials.biomarker),
        lifestyle=lifestyle,
        presence_probability=probability,
        present=draw_presence(probability, seed),
        base=base,
        constant=constant,
        course=course,
        carrier=carrier,
        trial=draw_trial(z, dials.outcome.liability(z), confounder, lowered, seed, dials.treatment),
        future=future_mean(z, dials.biomarker) + future_noise,
    )


def modifier_level(z: np.ndarray, dials: BiomarkerDials) -> np.ndarray:
    """True level of the biomarker that may modify the effect, standardised, f64 (m,); 0 where the biomarkers carry no signal."""
    loading = dials.loading[MODIFIER]
    return z[:, :3] @ loading / max(float(np.linalg.norm(loading)), 1e-12)


def future_mean(z: np.ndarray, dials: BiomarkerDials) -> np.ndarray:
    """Expected future of that biomarker on its standard scale, f64 (m,): today's true level and a drift with morbidity (0.3 z3)."""
    return z[:, :3] @ dials.loading[MODIFIER] + 0.3 * z[:, 2]


def intercept(dials: Dials) -> float:
    """The base log odds at which the expected risk is the prevalence, with z1, z2, z3 normal and independent, sites at their average shares."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 3)
    w = np.multiply.outer(np.multiply.outer(weights, weights), weights).ravel()
    liability = dials.outcome.liability(grid)
    constant = dials.outcome.site_constant(dials.people.sites)
    shares = np.asarray(dials.people.populations) / np.sum(dials.people.populations)
    site = shares @ site_probability(np.eye(3), dials.people)
    low, high = -40.0, 40.0
    for _ in range(60):
        base = 0.5 * (low + high)
        mean = sum(float(p) * float(np.average(dials.outcome.risk(liability, c, base), weights=w)) for p, c in zip(site, constant, strict=True))
        low, high = (base, high) if mean < dials.outcome.prevalence else (low, base)
    return 0.5 * (low + high)


def as_plain(value: Any) -> Any:
    """Dials as JSON-able numbers and lists."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: as_plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return list(value) if isinstance(value, tuple) else value

"""The best possible risk for every subset of evidences: the outcome's probability given what is observed, by integrating over the state.

Given z = (z1, z2, z3) the evidences are independent, and so are outcome and evidences but for the site, which clinical evidence tells:

    P(y | E) = sum_s int pi_s(z) p(z1 | G or not) p(answers | z2) p(z2) p(biomarkers | z) p(record | z) p(presence | .) a(z3, s) dz / (the same without pi)

with a(z3, s) the joint density of z3 and site given the clinical content, or given ancestry (genome known, clinical not), or marginally. Sums run
over a regular lattice, whose error for smooth densities falls like exp(-2 pi^2 (sd / step)^2); the lattice moved by half a step along every axis errs
with the opposite sign, so the mean of the two is the result and half their difference the reported error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from equipoise.cohort.generator.biomarkers import BiomarkerLikelihood
from equipoise.cohort.generator.dials import EVIDENCES
from equipoise.cohort.generator.ehr import RecordLikelihood
from equipoise.cohort.generator.lifestyle import lifestyle_log_likelihood
from equipoise.cohort.generator.morbidity import Morbidity
from equipoise.cohort.generator.outcome import severity_probability
from equipoise.cohort.generator.presence import pattern_probability, presence_probability
from equipoise.cohort.generator.state import density_z1
from equipoise.cohort.generator.treatment import biomarker_reduction, untreated_mean_given_liability
from equipoise.cohort.generator.world import World, future_mean, modifier_level

STEP = 0.45
_REACH = 4.5
_BLOCK, _CHUNK = 512, 32  # rows whose likelihoods are computed together; rows that fit the processor's cache
EXTRA = ("mu0", "reduction_by_biomarker", "severity_0", "severity_1", "severity_2", "future")
"""What else is averaged over the state, given all evidences."""


@dataclass(frozen=True)
class Best:
    """Best predictions.

    Args:
        risk: f64 (n, subsets), in the order asked for.
        extra: f64 (n, len(EXTRA)), given all evidences.
    """

    risk: np.ndarray
    extra: np.ndarray


def best_predictions(world: World, subsets: tuple[tuple[str, ...], ...], *, step: float = STEP) -> tuple[Best, Best]:
    """Best predictions and their numerical errors.

    Args:
        world: a world.
        subsets: of evidences; a row uses those of them that it has. Which evidences a row has is always known.
        step: of the lattice, in standard deviations of the prior.

    Returns:
        The predictions, and half the differences between the two lattices in absolute value.
    """
    first, second = (_on_lattice(world, subsets, step, moved) for moved in (False, True))
    mean = Best(0.5 * (first.risk + second.risk), 0.5 * (first.extra + second.extra))
    return mean, Best(0.5 * np.abs(first.risk - second.risk), 0.5 * np.abs(first.extra - second.extra))


def _on_lattice(world: World, subsets: tuple[tuple[str, ...], ...], step: float, moved: bool) -> Best:
    lattice = _Lattice(world, step, moved)
    risk, extra = np.empty((world.size, len(subsets))), np.empty((world.size, len(EXTRA)))
    for begin in range(0, world.size, _BLOCK):
        block = np.arange(begin, min(begin + _BLOCK, world.size))
        dense = lattice.likelihoods(block, {("ehr" in c, "biomarker" in c) for c in subsets})
        for rows in np.split(block, range(_CHUNK, block.size, _CHUNK)):
            own = {used: likelihood[rows - begin] for used, likelihood in dense.items()}
            for content, means in lattice.averages(rows, own, subsets):
                risk[rows, subsets.index(content)] = means[:, 0]
                if set(content) == set(EVIDENCES):
                    extra[rows] = means[:, 1:]
    return Best(risk, extra)


class _Lattice:
    """Densities and likelihoods on one lattice; points are ordered (z3, z1, z2), z2 fastest."""

    def __init__(self, world: World, step: float, moved: bool) -> None:
        self.world, dials = world, world.dials
        reach = np.ceil(_REACH / step) * step
        self.axis = np.arange(-reach, reach + step / 2, step) + (step / 2 if moved else 0.0)
        z3, z1, z2 = (a.ravel() for a in np.meshgrid(self.axis, self.axis, self.axis, indexing="ij"))
        self.points = np.column_stack([z1, z2, z3])
        self.record = RecordLikelihood(self.points, dials.ehr)
        self.statistics = RecordLikelihood.statistics(world.record, world.size, dials.ehr)
        self.biomarkers = BiomarkerLikelihood(self.points, world.biomarkers.offset, dials.biomarker)
        self.biomarker_statistics = BiomarkerLikelihood.statistics(world.biomarkers, dials.biomarker)
        self.morbidity = Morbidity(world, self.axis)
        self.prior = norm.pdf(self.axis)
        self.z1_unknown = density_z1(self.axis, world.genome.score, dials.state).mean(axis=0)
        state_bound = dials.presence.by("mnar")
        p = {e: presence_probability(e, dials.presence, np.zeros(1), np.zeros(1), self.axis) for e in state_bound}
        self.presence_given_z3 = pattern_probability(world.present, state_bound, p)  # (n, len(axis)) or (n, 1)
        self._outcomes()

    def _outcomes(self) -> None:
        dials, points = self.world.dials, self.points
        liability = dials.outcome.liability(points)
        risk = [dials.outcome.risk(liability, c, self.world.base) for c in self.world.constant]
        level = modifier_level(points, dials.biomarker)
        extra = [untreated_mean_given_liability(liability), biomarker_reduction(level, dials.treatment), *severity_probability(liability, dials.outcome).T]
        extra.append(future_mean(points, dials.biomarker))
        m = self.axis.size
        self.functions = np.stack([np.ones_like(liability), *risk, *extra], axis=1).reshape(m, m * m, -1).astype(np.float32)
        self.n_sites = len(risk)

    def averages(
        self, rows: np.ndarray, dense: dict[tuple[bool, bool], np.ndarray], subsets: tuple[tuple[str, ...], ...]
    ) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
        """For each subset the rows' posterior means of the risk, and given all evidences of the extras too: f64 (len(rows), 1 or 1 + extras).

        Args:
            rows: i64.
            dense: the rows' `likelihoods`.
            subsets: of evidences.
        """
        line = self._line_densities(rows)
        known = self.presence_given_z3[rows][:, :, None]
        weights = {(g, c): known * self.morbidity.density(rows, genotype=g, clinical=c) for g in (False, True) for c in (False, True)}
        wanted: dict[tuple[bool, ...], list[tuple[str, ...]]] = {}
        for s in subsets:
            wanted.setdefault(tuple(e in s for e in ("ehr", "biomarker", "genotype", "lifestyle")), []).append(s)
        for (ehr, biomarker, genotype, lifestyle), contents in sorted(wanted.items()):
            plane = (line["z1", genotype][:, :, None] * line["z2", lifestyle][:, None, :]).reshape(rows.size, 1, -1).astype(np.float32)
            if ehr or biomarker:
                plane = plane * dense[ehr, biomarker]
            last = None if any(len(c) == len(EVIDENCES) for c in contents) else 1 + self.n_sites
            functions = self.functions[:, :, :last]
            # A plane without record and biomarkers is the same at every z3.
            sums = np.matmul(plane.transpose(1, 0, 2), functions).astype(np.float64)
            for content in contents:
                yield content, _average(sums, weights[genotype, "clinical" in content], self.n_sites)

    def likelihoods(self, rows: np.ndarray, used: set[tuple[bool, bool]]) -> dict[tuple[bool, bool], np.ndarray]:
        """Of the record, the biomarkers or both, scaled to at most 1; 1 where absent: f32 (len(rows), len(axis), len(axis)^2).

        Single precision (relative error 1e-7 of a sum of positive terms) is far below the lattice's error, and halves the time.

        Args:
            rows: i64.
            used: which of (record, biomarkers) are wanted together.
        """
        record = self.record(self.statistics[rows])
        record[~self.world.has("ehr")[rows]] = 0.0
        biomarker = self.biomarkers(self.biomarker_statistics[rows])
        biomarker[~self.world.has("biomarker")[rows]] = 0.0
        out = {}
        for key in used - {(False, False)}:
            log = record + biomarker if all(key) else record if key[0] else biomarker
            log = (log - log.max(axis=1, keepdims=True)).astype(np.float32)
            out[key] = np.exp(log, out=log).reshape(rows.size, self.axis.size, -1)
        return out

    def _line_densities(self, rows: np.ndarray) -> dict[tuple[str, bool], np.ndarray]:
        """Of z1 and z2 without and with what genome and questionnaire say: f64 (len(rows), len(axis))."""
        dials, world = self.world.dials, self.world
        known = density_z1(self.axis, world.genome.score[rows], dials.state)
        told = lifestyle_log_likelihood(world.lifestyle, rows, self.axis, dials.lifestyle)
        told = np.exp(told - told.max(axis=1, keepdims=True)) * self.prior
        no_genome, no_answer = np.broadcast_to(self.z1_unknown, known.shape), np.broadcast_to(self.prior, told.shape)
        return {
            ("z1", False): no_genome,
            ("z1", True): np.where(world.has("genotype")[rows][:, None], known, no_genome),
            ("z2", False): no_answer,
            ("z2", True): np.where(world.has("lifestyle")[rows][:, None], told, no_answer),
        }


def _average(sums: np.ndarray, weight: np.ndarray, n_sites: int) -> np.ndarray:
    """Posterior means f64 (rows, 1 + extras).

    Args:
        sums: f64 (m, rows, 1 + sites + extras): over z1 and z2, of the posterior without a(z3, site), times one, the risks by site, the extras.
        weight: f64 (rows, m, sites), a(z3, site).
        n_sites: number of sites.
    """
    total = weight.sum(axis=2)
    mass = np.einsum("im,mi->i", total, sums[:, :, 0])
    risk = np.einsum("ims,mis->i", weight, sums[:, :, 1 : 1 + n_sites]) / mass
    extra = np.einsum("im,mik->ik", total, sums[:, :, 1 + n_sites :]) / mass[:, None]
    return np.column_stack([risk, extra])

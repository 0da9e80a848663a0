"""Joint density of morbidity (z3) and site given what is known of a row's clinical content or ancestry, and of which evidences it has."""

from __future__ import annotations

import numpy as np

from equipoise.cohort.generator.dials import EVIDENCES
from equipoise.cohort.generator.people import ancestry_score, site_probability
from equipoise.cohort.generator.presence import pattern_probability, presence_probability
from equipoise.cohort.generator.state import density_z3, normal_density
from equipoise.cohort.generator.world import World

_REFERENCE = 400  # ancestries that stand for the population's where neither clinical content nor genome is known


class Morbidity:
    """a(z3, site) on an axis of z3, times the probability of the presence pattern as far as it depends on age and site.

    Args:
        world: a world.
        axis: f64 (m,), values of z3.

    The genome tells the pedigree's ancestry: an upper bound of what genotypes tell, close to it with hundreds of variants.
    """

    def __init__(self, world: World, axis: np.ndarray) -> None:
        self.world, self.axis = world, axis
        self.bound = world.dials.presence.by("mar")
        people, dials = world.people, world.dials
        self._confounded = dials.people.ancestry_confounding > 0
        self._ages, self._age_weights = np.polynomial.hermite_e.hermegauss(21)
        which = np.arange(dials.people.sites)
        p = {e: presence_probability(e, dials.presence, self._ages[:, None], which, np.zeros(())) for e in self.bound}
        self._pattern, self._pattern_of = np.unique(pattern_key(world.present, self.bound), axis=0, return_inverse=True)
        self._pattern_of = self._pattern_of.ravel()
        chosen = np.linspace(0, world.size - 1, min(_REFERENCE, world.size)).astype(np.int64)
        reference = people.ancestry[chosen]
        self._seen = pattern_probability(self._pattern.astype(bool), self.bound, p) if self.bound else np.ones((1, 1, 1))
        self._unknown = np.stack([self._hidden(reference, np.full(chosen.size, k)).mean(axis=0) for k in range(self._pattern.shape[0])])

    def density(self, rows: np.ndarray, *, genotype: bool, clinical: bool) -> np.ndarray:
        """f64 (len(rows), m, sites), up to a constant of the row.

        Args:
            rows: i64.
            genotype: whether the genome of rows that have it is used.
            clinical: whether the clinical content of rows that have it is used.
        """
        world, people, state = self.world, self.world.people, self.world.dials.state
        out = self._unknown[self._pattern_of[rows]]
        if genotype and self._confounded:
            told = world.has("genotype")[rows]
            out[told] = self._hidden(people.ancestry[rows[told]], self._pattern_of[rows[told]])
        if clinical:
            told = world.has("clinical")[rows]
            known = rows[told]
            out[told] = 0.0
            out[np.flatnonzero(told), :, people.site[known]] = density_z3(self.axis, state.mean(people)[known], state.residual_variance)
        return out

    def _hidden(self, ancestry: np.ndarray, pattern: np.ndarray) -> np.ndarray:
        """Without clinical content, given ancestry (k, 3): f64 (k, m, sites)."""
        dials = self.world.dials
        state, people = dials.state, dials.people
        site = site_probability(ancestry, people)
        c = people.ancestry_confounding
        centre = state.deprivation * c * ancestry_score(ancestry, people)
        variance = state.residual_variance + state.deprivation**2 * (1.0 - c * c)
        if not self.bound:
            z3 = sum(0.5 * density_z3(self.axis, centre + sex * state.sex, variance + state.age**2) for sex in (-1.0, 1.0))
            return np.asarray(z3)[:, :, None] * site[:, None, :]
        seen = self._seen[pattern]  # (k, ages, sites)
        out = np.zeros((ancestry.shape[0], self.axis.size, people.sites))
        for sex in (-1.0, 1.0):
            z3 = normal_density(self.axis[:, None], (centre + sex * state.sex)[:, None, None] + state.age * self._ages, variance)  # (k, m, ages)
            out += np.matmul(z3 * (0.5 * self._age_weights), seen)
        return out * site[:, None, :]


def pattern_key(present: np.ndarray, bound: tuple[str, ...]) -> np.ndarray:
    """Presence with evidences that do not count set to False, bool (n, 5)."""
    return present & np.array([e in bound for e in EVIDENCES])

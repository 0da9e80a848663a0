"""Who is in the cohort: clusters of households and sibships, ancestry, site, calendar time, age, sex, deprivation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from equipoise.cohort.generator.dials import require, stream

# One line a person: (household, sibship) inside the cluster. Parents are never in the cohort.
_TEMPLATES: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, 0),),  # alone
    ((0, 0), (0, 0)),  # two siblings in one household
    ((0, 0), (0, 0), (0, 0)),  # three siblings in one household
    ((0, 0), (0, 1)),  # a couple
    ((0, 0), (1, 0), (1, 1)),  # two siblings in two households, one with a partner: the cluster joins both households
)
_AFFINITY = 4.0  # logits of site per unit of ancestry, at ancestry_confounding = 1


@dataclass(frozen=True, kw_only=True)
class PeopleDials:
    """Dials of the population.

    Args:
        relatives: share of clusters with more than one person, 0 (off) to 1.
        populations: shares of the three populations, > 0; they are normalised.
        admixed: share of clusters with mixed ancestry, 0 (off) to 1.
        ancestry_confounding: correlation of the environment (deprivation) with ancestry, and strength of ancestry's pull on the site;
            0 (off) to 0.95. No causal variant is involved.
        sites: number of sites, >= 6.
        start_year: first calendar year of prediction times.
        years: calendar span of prediction times, years > 0.
    """

    relatives: float
    populations: tuple[float, float, float]
    admixed: float
    ancestry_confounding: float
    sites: int
    start_year: int
    years: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "populations", tuple(float(p) for p in self.populations))
        require("people.populations (their number)", len(self.populations), 3, 3)
        for p in self.populations:
            require("people.populations", p, 1e-6, 1e9)
        for dial, high in (("relatives", 1.0), ("admixed", 1.0), ("ancestry_confounding", 0.95)):
            require(f"people.{dial}", getattr(self, dial), 0.0, high)
        require("people.sites", self.sites, 6, 50)
        require("people.start_year", self.start_year, 1900, 2100)
        require("people.years", self.years, 0.1, 100.0)


@dataclass(frozen=True)
class People:
    """One entry a person; ints are numbers, not names.

    Args:
        cluster: i64 (n,): households and sibships joined.
        household: i64 (n,).
        sibship: i64 (n,): full siblings share it.
        ancestry: f64 (n, 3), the pedigree's proportions, the same within a cluster (mating is within ancestry).
        site: i64 (n,), the same within a cluster.
        calendar: f64 (n,), in [-1, 1], uniform, the same within a cluster.
        age: f64 (n,), standard normal; years are 55 + 10 age.
        sex: f64 (n,), -1 female, +1 male.
        deprivation: f64 (n,), mean 0, variance 1, the same within a household.
    """

    cluster: np.ndarray
    household: np.ndarray
    sibship: np.ndarray
    ancestry: np.ndarray
    site: np.ndarray
    calendar: np.ndarray
    age: np.ndarray
    sex: np.ndarray
    deprivation: np.ndarray


def draw_people(n: int, seed: int, dials: PeopleDials) -> People:
    """Draws n people."""
    cluster, household, sibship = _clusters(n, stream("clusters", seed), dials.relatives)
    n_clusters, n_households = int(cluster[-1]) + 1, int(household.max()) + 1
    ancestry = draw_ancestry(n_clusters, stream("ancestry", seed), dials)[cluster]
    at = stream("site", seed).random(n_clusters)[cluster]
    site = (at[:, None] > np.cumsum(site_probability(ancestry, dials), axis=1)[:, :-1]).sum(axis=1)
    calendar = stream("calendar", seed).uniform(-1.0, 1.0, n_clusters)[cluster]
    c = dials.ancestry_confounding
    own = stream("deprivation", seed).standard_normal(n_households)[household]
    deprivation = c * ancestry_score(ancestry, dials) + np.sqrt(1.0 - c * c) * own
    age = stream("age", seed).standard_normal(n)
    sex = np.where(stream("sex", seed).random(n) < 0.5, -1.0, 1.0)
    return People(cluster, household, sibship, ancestry, site, calendar, age, sex, deprivation)


def draw_ancestry(n: int, rng: np.random.Generator, dials: PeopleDials) -> np.ndarray:
    """Ancestry proportions f64 (n, 3): one population, or Dirichlet-mixed for the admixed share."""
    shares = np.asarray(dials.populations) / np.sum(dials.populations)
    single = np.eye(3)[(rng.random(n)[:, None] > np.cumsum(shares)[:-1]).sum(axis=1)]
    mixed = rng.dirichlet(np.full(3, 1.5), n)
    return np.where((rng.random(n) < dials.admixed)[:, None], mixed, single)


def ancestry_score(ancestry: np.ndarray, dials: PeopleDials) -> np.ndarray:
    """The one direction of ancestry that the environment follows: first minus third proportion, mean 0 and variance 1 over the population, f64 (n,)."""
    mean, sd = _score_moments(dials)
    return (ancestry[:, 0] - ancestry[:, 2] - mean) / sd


@lru_cache(maxsize=32)
def _score_moments(dials: PeopleDials) -> tuple[float, float]:
    # E and sd of q0 - q2: exact for single ancestry and for Dirichlet(1.5, 1.5, 1.5).
    p = np.asarray(dials.populations) / np.sum(dials.populations)
    mean = (1.0 - dials.admixed) * (p[0] - p[2])
    single = p[0] + p[2]
    mixed = 2.0 * (1.0 / 3.0) * (2.0 / 3.0) / 5.5 + 2.0 * (1.0 / 9.0) / 5.5  # Var q0 + Var q2 - 2 Cov
    second = (1.0 - dials.admixed) * single + dials.admixed * mixed
    return float(mean), float(np.sqrt(second - mean * mean))


def site_probability(ancestry: np.ndarray, dials: PeopleDials) -> np.ndarray:
    """P(site | ancestry), f64 (n, sites): unequal sites, each drawing on one population by ``ancestry_confounding``."""
    s = np.arange(dials.sites)
    shares = np.asarray(dials.populations) / np.sum(dials.populations)
    logit = -0.15 * s + _AFFINITY * dials.ancestry_confounding * (ancestry - shares)[:, s % 3]
    weight = np.exp(logit - logit.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


def _clusters(n: int, rng: np.random.Generator, relatives: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kind = np.where(rng.random(n) < relatives, rng.integers(1, len(_TEMPLATES), n), 0)  # n clusters are always enough
    size = np.array([len(t) for t in _TEMPLATES])[kind]
    kind = kind[: int(np.searchsorted(np.cumsum(size), n)) + 1]
    size = size[: kind.size]
    households = np.array([max(h for h, _ in t) + 1 for t in _TEMPLATES])[kind]
    sibships = np.array([max(s for _, s in t) + 1 for t in _TEMPLATES])[kind]
    cluster = np.repeat(np.arange(kind.size), size)
    place = np.arange(cluster.size) - np.repeat(np.cumsum(size) - size, size)
    widest = max(len(t) for t in _TEMPLATES)
    layout = np.array([[t[i] if i < len(t) else (0, 0) for i in range(widest)] for t in _TEMPLATES])
    inside = layout[kind[cluster], place]
    household = (np.cumsum(households) - households)[cluster] + inside[:, 0]
    sibship = (np.cumsum(sibships) - sibships)[cluster] + inside[:, 1]
    return cluster[:n], household[:n], sibship[:n]

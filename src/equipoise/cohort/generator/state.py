"""The latent health state: three dimensions that evidences and outcome see, and a fourth that only treatment and response see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.cohort.generator.dials import require, stream
from equipoise.cohort.generator.people import People


@dataclass(frozen=True, kw_only=True)
class StateDials:
    """Dials of the latent state.

    Args:
        heritability: share of the variance of z1 (inherited constitution) that the genome's score explains, 0 (off) to 0.9.
        age: coefficient of standardised age in z3 (acquired morbidity); 0 is off.
        sex: coefficient of sex (-1, +1) in z3; 0 is off.
        deprivation: coefficient of standardised deprivation in z3; 0 is off.
        household: share of z3's residual variance that a household shares, 0 (off) to 1.
    """

    heritability: float
    age: float
    sex: float
    deprivation: float
    household: float

    def __post_init__(self) -> None:
        require("state.heritability", self.heritability, 0.0, 0.9)
        require("state.household", self.household, 0.0, 1.0)
        require("state: age^2 + sex^2 + deprivation^2", self.age**2 + self.sex**2 + self.deprivation**2, 0.0, 0.9)

    @property
    def residual_variance(self) -> float:
        """Variance of z3 given age, sex and deprivation; z3 has variance 1."""
        return 1.0 - self.age**2 - self.sex**2 - self.deprivation**2

    def mean(self, people: People) -> np.ndarray:
        """E[z3 | age, sex, deprivation], f64 (n,)."""
        return self.age * people.age + self.sex * people.sex + self.deprivation * people.deprivation


def draw_state(people: People, score: np.ndarray, seed: int, dials: StateDials) -> np.ndarray:
    """Draws the state of everybody.

    z1 = sqrt(h2) G + sqrt(1 - h2) e1 (inherited constitution; G is the genome's standardised score),
    z2 = e2 (habits: the true lifestyle, of which questionnaires report with error),
    z3 = k_a age + k_s sex + k_d deprivation + e3 (acquired morbidity; e3 partly shared in the household),
    z4 = e4 (unmeasured: only treatment and response depend on it). All have mean 0 and variance 1; z1, z2, z3, z4 are independent.

    Args:
        people: everybody.
        score: f64 (n,), mean 0, variance 1.
        seed: the cohort's seed.
        dials: the dials.

    Returns:
        f64 (n, 4).

    Source: ours.
    """
    n = score.size
    own = stream("state", seed).standard_normal((n, 4))
    shared = stream("household", seed).standard_normal(int(people.household.max()) + 1)[people.household]
    residual = np.sqrt(dials.household) * shared + np.sqrt(1.0 - dials.household) * own[:, 2]
    z1 = np.sqrt(dials.heritability) * score + np.sqrt(1.0 - dials.heritability) * own[:, 0]
    z3 = dials.mean(people) + np.sqrt(dials.residual_variance) * residual
    return np.column_stack([z1, own[:, 1], z3, own[:, 3]])


def normal_density(x: np.ndarray, mean: np.ndarray | float, variance: float) -> np.ndarray:
    """Density of N(mean, variance) at x; broadcast."""
    return np.asarray(np.exp(-0.5 * (x - mean) ** 2 / variance) / np.sqrt(2.0 * np.pi * variance))


def density_z1(z1: np.ndarray, score: np.ndarray, dials: StateDials) -> np.ndarray:
    """p(z1 | G) on a grid: f64 (n, len(z1))."""
    h2 = dials.heritability
    return normal_density(z1, np.sqrt(h2) * score[:, None], 1.0 - h2)


def density_z3(z3: np.ndarray, mean: np.ndarray, variance: float) -> np.ndarray:
    """p(z3) on a grid, given its mean in every row: f64 (n, len(z3))."""
    return normal_density(z3, mean[:, None], variance)

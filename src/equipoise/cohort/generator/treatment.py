"""Treatment: who gets it, and what it does to the response."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from equipoise.cohort.generator.dials import require, require_choice, stream

EFFECTS = ("none", "constant", "by_biomarker", "by_genotype")
_U_NODES, _U_WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_U_WEIGHTS = _U_WEIGHTS / _U_WEIGHTS.sum()
_Z4 = 0.5  # influence of the unmeasured fourth dimension on the response


@dataclass(frozen=True, kw_only=True)
class TreatmentDials:
    """Dials of the treatment.

    Args:
        share: share treated, at the mean of the confounders, 0.01 to 0.99.
        measured: log odds of treatment per unit of the measured confounders (age and reported habits); 0 is off.
        habits: log odds of treatment per unit of true habits (z2), which only questionnaires tell; 0 is off.
        unmeasured: log odds of treatment per unit of z4, which nothing tells; 0 is off. All three off: a randomised trial.
        effect: "none", "constant", "by_biomarker" (true HbA1c level) or "by_genotype" (carriers of one marker).
        size: mean reduction of the response, 0 (off) to 0.1.
        response: "binary" (risk of a bad response) or "continuous" (the same mean, with noise).
        noise: standard deviation of a continuous response, > 0.
    """

    share: float
    measured: float
    habits: float
    unmeasured: float
    effect: str
    size: float
    response: str
    noise: float

    def __post_init__(self) -> None:
        require_choice("treatment.effect", self.effect, EFFECTS)
        require_choice("treatment.response", self.response, ("binary", "continuous"))
        require("treatment.share", self.share, 0.01, 0.99)
        for dial in ("measured", "habits", "unmeasured"):
            require(f"treatment.{dial}", getattr(self, dial), -5.0, 5.0)
        require("treatment.size", self.size, 0.0, 0.1)
        require("treatment.noise", self.noise, 1e-6, 100.0)


@dataclass(frozen=True)
class Trial:
    """Treatment and response of everybody.

    Args:
        propensity: f64 (n,), P(treated | all that it depends on).
        treatment: i64 (n,), 0 or 1.
        mu0: f64 (n,), mean response untreated, given the full state.
        mu1: f64 (n,), treated.
        response: f64 (n,).
    """

    propensity: np.ndarray
    treatment: np.ndarray
    mu0: np.ndarray
    mu1: np.ndarray
    response: np.ndarray


def untreated_mean(liability: np.ndarray, z4: np.ndarray | float) -> np.ndarray:
    """mu0 = 0.2 + 0.6 logistic(0.8 eta + 0.5 z4): between 0.2 and 0.8, so that every effect of at most 0.2 leaves a probability."""
    return 0.2 + 0.6 * expit(0.8 * liability + _Z4 * z4)


def untreated_mean_given_liability(liability: np.ndarray) -> np.ndarray:
    """mu0 averaged over z4, by Gauss-Hermite quadrature (15 nodes); what the best predictor knows at most."""
    return sum((w * untreated_mean(liability, u) for u, w in zip(_U_NODES, _U_WEIGHTS, strict=True)), np.zeros_like(liability))


def biomarker_reduction(level: np.ndarray, dials: TreatmentDials) -> np.ndarray:
    """Reduction by a biomarker's true standardised level: 2 size Phi(1.5 level), mean ``size``."""
    return 2.0 * dials.size * norm.cdf(1.5 * level)


def reduction(level: np.ndarray, carrier: np.ndarray, dials: TreatmentDials) -> np.ndarray:
    """mu0 - mu1 of everybody, f64 (n,), in [0, 0.2].

    Args:
        level: f64 (n,), the modifier's true level, standardised.
        carrier: bool (n,), at least one copy of the marker's rarer allele.
        dials: the dials.
    """
    match dials.effect:
        case "constant":
            return np.full(level.size, dials.size)
        case "by_biomarker":
            return biomarker_reduction(level, dials)
        case "by_genotype":
            return 2.0 * dials.size * carrier
        case _:
            return np.zeros(level.size)


def draw_trial(z: np.ndarray, liability: np.ndarray, measured: np.ndarray, lowered: np.ndarray, seed: int, dials: TreatmentDials) -> Trial:
    """Draws treatment and response.

    Args:
        z: f64 (n, 4).
        liability: f64 (n,), eta.
        measured: f64 (n,), the measured confounders' score, variance 1.
        lowered: f64 (n,), mu0 - mu1.
        seed: the cohort's seed.
        dials: the dials.
    """
    n = liability.size
    propensity = expit(logit(dials.share) + dials.measured * measured + dials.habits * z[:, 1] + dials.unmeasured * z[:, 3])
    treatment = (stream("treatment", seed).random(n) < propensity).astype(np.int64)
    mu0 = untreated_mean(liability, z[:, 3])
    mu1 = mu0 - lowered
    mean = np.where(treatment == 1, mu1, mu0)
    rng = stream("response", seed)
    response = (rng.random(n) < mean).astype(float) if dials.response == "binary" else mean + dials.noise * rng.standard_normal(n)
    return Trial(propensity, treatment, mu0, mu1, response)

"""Presence of each evidence: completely at random, by what is always known (age, site), or by the latent state itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from equipoise.cohort.generator.dials import EVIDENCES, require, require_choice, stream

MECHANISMS = ("mcar", "mar", "mnar")
# Sicker people have records and laboratory values more often, and answer questionnaires and give blood for genotyping less often.
_DIRECTION = {"ehr": 1.0, "genotype": -1.0, "biomarker": 1.0, "lifestyle": -1.0, "clinical": 1.0}
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)


@dataclass(frozen=True, kw_only=True)
class PresenceDial:
    """How one evidence comes to be present.

    Args:
        share: expected share of rows with the evidence, 0 to 1; 1 is off: always present.
        mechanism: "mcar": P = share; "mar": logit P = b + strength d (0.7 age + 0.7 r_site); "mnar": logit P = b + strength d z3;
            age and z3 standardised, r_site alternating between +-1, d = +-1 by evidence, b so that the share is right.
        strength: of the dependence, >= 0.
    """

    share: float
    mechanism: str
    strength: float

    def __post_init__(self) -> None:
        require("presence.*.share", self.share, 0.0, 1.0)
        require("presence.*.strength", self.strength, 0.0, 5.0)
        require_choice("presence.*.mechanism", self.mechanism, MECHANISMS)


@dataclass(frozen=True, kw_only=True)
class PresenceDials:
    """One dial an evidence.

    Args:
        ehr: of the health record.
        genotype: of the genotypes.
        biomarker: of the biomarkers.
        lifestyle: of the questionnaire.
        clinical: of age, sex, deprivation and site.
    """

    ehr: PresenceDial
    genotype: PresenceDial
    biomarker: PresenceDial
    lifestyle: PresenceDial
    clinical: PresenceDial

    def of(self, evidence: str) -> PresenceDial:
        """The dial of an evidence."""
        dial: PresenceDial = getattr(self, evidence)
        return dial

    def by(self, mechanism: str) -> tuple[str, ...]:
        """The evidences of that mechanism whose presence varies with what it depends on."""
        return tuple(e for e in EVIDENCES if self.of(e).mechanism == mechanism and 0.0 < self.of(e).share < 1.0 and self.of(e).strength > 0)


def site_pull(site: np.ndarray) -> np.ndarray:
    """r_site: +1 at even sites, -1 at odd ones."""
    return np.where(site % 2 == 0, 1.0, -1.0)


def presence_probability(evidence: str, dials: PresenceDials, age: np.ndarray, site: np.ndarray, z3: np.ndarray) -> np.ndarray:
    """P(present | age, site, z3), broadcast over its arguments."""
    dial = dials.of(evidence)
    shape = np.broadcast_shapes(np.shape(age), np.shape(site), np.shape(z3))
    if evidence not in (*dials.by("mar"), *dials.by("mnar")):
        return np.full(shape, dial.share)
    pull = dial.strength * _DIRECTION[evidence]
    if dial.mechanism == "mar":
        driver = 0.7 * age + 0.7 * site_pull(np.asarray(site))
        reference, weight = (0.7 * _NODES[:, None] + np.array([0.7, -0.7])).ravel(), np.repeat(_WEIGHTS, 2)
    else:
        driver, reference, weight = z3, _NODES, _WEIGHTS

    def excess(b: float) -> float:
        return float(np.average(expit(b + pull * reference), weights=weight)) - dial.share

    b = brentq(excess, logit(dial.share) - 60.0, logit(dial.share) + 60.0, xtol=1e-12)
    return np.broadcast_to(expit(b + pull * np.asarray(driver, float)), shape)


def draw_presence(probability: np.ndarray, seed: int) -> np.ndarray:
    """bool (n, 5) in the order of EVIDENCES."""
    return stream("presence", seed).random(probability.shape) < probability


def pattern_probability(present: np.ndarray, evidences: tuple[str, ...], probability: dict[str, np.ndarray]) -> np.ndarray:
    """Probability of a presence pattern: product over some evidences of P(present) or P(absent).

    Args:
        present: bool (n, 5).
        evidences: which evidences count.
        probability: of each, all of one shape (...).

    Returns:
        f64 (n, ...).
    """
    shape = np.shape(probability[evidences[0]]) if evidences else (1,)
    out = np.ones((present.shape[0], *shape))
    for e in evidences:
        here = present[:, EVIDENCES.index(e)].reshape(-1, *([1] * len(shape)))
        out *= np.where(here, probability[e], 1.0 - probability[e])
    return out

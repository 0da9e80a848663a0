"""Biomarkers: noisy, laboratory-dependent, censored at a detection limit, now and then in another unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from equipoise.cohort.draft import Column, ColumnStore
from equipoise.cohort.generator.dials import require, stream

# name, unit, location, coefficient of variation, loadings on (z1, z2, z3), limited, factor to its other unit (0: it has none)
_PANEL: tuple[tuple[str, str, float, float, tuple[float, float, float], bool, float], ...] = (
    ("crp", "mg/L", 1.8, 0.8, (0.0, 0.2, 0.42), True, 0.0),
    ("hba1c", "mmol/mol", 38.0, 0.12, (0.55, 0.1, 0.25), False, 0.0),
    ("ldl", "mmol/L", 3.2, 0.25, (0.55, 0.2, 0.0), False, 38.67),
    ("egfr", "mL/min/{1.73_m2}", 85.0, 0.18, (-0.2, 0.0, -0.38), False, 0.0),
    ("troponin", "ng/L", 6.0, 0.6, (0.25, 0.0, 0.35), True, 0.0),
    ("triglycerides", "mmol/L", 1.4, 0.3, (0.4, 0.35, 0.0), False, 88.57),
    ("urate", "umol/L", 320.0, 0.2, (0.25, 0.25, 0.05), False, 0.0),
    ("sodium", "mmol/L", 140.0, 0.02, (0.0, 0.0, 0.0), False, 0.0),
)
NAMES: tuple[str, ...] = tuple(p[0] for p in _PANEL)
LOCATION, VARIATION = np.array([p[2] for p in _PANEL]), np.array([p[3] for p in _PANEL])
_LOADING = np.array([p[4] for p in _PANEL])
_LIMITED = np.array([p[5] for p in _PANEL])
_FACTOR = np.array([p[6] for p in _PANEL])
_BIOLOGICAL = 0.6  # variation within a person that no better assay removes
LABORATORIES = ("lab_a", "lab_b", "lab_c")
MODIFIER = NAMES.index("hba1c")
"""The biomarker whose true level modifies the treatment's effect, and whose future value is a target."""


@dataclass(frozen=True, kw_only=True)
class BiomarkerDials:
    """Dials of the biomarkers.

    Args:
        signal: factor on all loadings; 0 is off: the biomarkers say nothing of the state.
        noise: standard deviation of the assay's error, in standard deviations of the true level; 0 is off.
        below_detection: share of values of the limited assays below the limit, reported as the limit; 0 (off) to 0.9.
        batch: standard deviation of the laboratories' offsets, in standard deviations of the true level; 0 is off.
        unit_mix: share of values (of biomarkers that have two units) stored in the other unit as if in the declared one; 0 (off) to 0.5.
        item_missing: share of single values missing completely at random; 0 (off) to 0.9.
        skewed: whether values are log-normal (true) or normal.
    """

    signal: float
    noise: float
    below_detection: float
    batch: float
    unit_mix: float
    item_missing: float
    skewed: bool

    def __post_init__(self) -> None:
        for dial, high in (("signal", 3.0), ("noise", 10.0), ("below_detection", 0.9), ("batch", 3.0), ("unit_mix", 0.5), ("item_missing", 0.9)):
            require(f"biomarker.{dial}", getattr(self, dial), 0.0, high)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation of a measurement given the state, f64 (J,)."""
        return np.full(len(_PANEL), float(np.hypot(_BIOLOGICAL, self.noise)))

    @property
    def loading(self) -> np.ndarray:
        """f64 (J, 3)."""
        return self.signal * _LOADING

    @property
    def limit(self) -> np.ndarray:
        """Detection limits on the standard scale, f64 (J,); minus infinity without one."""
        total = np.sqrt((self.loading**2).sum(axis=1) + self.sd**2)
        quantile = norm.ppf(self.below_detection) if self.below_detection > 0 else -np.inf
        return np.where(_LIMITED, quantile * total if np.isfinite(quantile) else -np.inf, -np.inf)


@dataclass(frozen=True)
class Biomarkers:
    """Biomarkers of everybody, whether or not the evidence is present.

    Args:
        x: f64 (n, J), measured, on the standard scale, laboratory offset included.
        observed: bool (n, J).
        below: bool (n, J), observed and below the limit.
        other_unit: bool (n, J), stored in the other unit.
        laboratory: i64 (n,).
        offset: f64 (3, J), of the laboratories.
    """

    x: np.ndarray
    observed: np.ndarray
    below: np.ndarray
    other_unit: np.ndarray
    laboratory: np.ndarray
    offset: np.ndarray


def draw_biomarkers(z: np.ndarray, seed: int, dials: BiomarkerDials) -> Biomarkers:
    """Measures everybody: x_j = lambda_j . z + offset_{lab, j} + sd e_j; values are location exp(cv x) or location (1 + cv x).

    Args:
        z: f64 (n, 4).
        seed: the cohort's seed.
        dials: the dials.
    """
    shape = (z.shape[0], len(_PANEL))
    offset = dials.batch * stream("laboratory offsets", seed).standard_normal((len(LABORATORIES), len(_PANEL)))
    laboratory = np.asarray(stream("laboratories", seed).integers(0, len(LABORATORIES), shape[0]))
    x = z[:, :3] @ dials.loading.T + offset[laboratory] + dials.sd * stream("biomarkers", seed).standard_normal(shape)
    observed = stream("biomarker items", seed).random(shape) >= dials.item_missing
    other = (stream("units", seed).random(shape) < dials.unit_mix) & (_FACTOR > 0)
    return Biomarkers(x, observed, observed & (x <= dials.limit), other & observed, laboratory, offset)


def value_of(x: np.ndarray, dials: BiomarkerDials) -> np.ndarray:
    """From the standard scale to the unit, f64 (..., J)."""
    return LOCATION * (np.exp(VARIATION * x) if dials.skewed else 1.0 + VARIATION * x)


def biomarker_store(drawn: Biomarkers, present: np.ndarray, dials: BiomarkerDials) -> ColumnStore:
    """What the cohort holds: values in the declared unit (or wrongly in another), and the laboratory."""
    value = value_of(np.where(drawn.below, dials.limit, drawn.x), dials)
    value = np.where(drawn.other_unit, value * _FACTOR, value)
    number = np.where(drawn.observed & present[:, None], value, np.nan)
    category = np.where(present, drawn.laboratory, -1)[:, None].astype(np.int32)
    numbers = tuple(Column(p[0], "number", p[1]) for p in _PANEL)
    return ColumnStore(numbers, (Column("laboratory", "category", levels=LABORATORIES),), number, category)


class BiomarkerLikelihood:
    """log p(biomarkers | z) on a grid, up to a constant of the row.

    A value in the other unit is far outside the biomarker's range (more than 8 standard deviations of its log), so that the unit counts as
    recognised.

    Args:
        points: f64 (K, 3).
        offset: f64 (3, J), of the laboratories.
        dials: the dials.
    """

    def __init__(self, points: np.ndarray, offset: np.ndarray, dials: BiomarkerDials) -> None:
        mean, sd = dials.loading @ points.T, dials.sd[:, None]
        limited = np.isfinite(dials.limit)
        below = [norm.logcdf((dials.limit - offset[lab])[limited, None] / sd[limited] - mean[limited] / sd[limited]) for lab in range(len(LABORATORIES))]
        self._feature = np.vstack([mean / sd**2, -0.5 * mean**2 / sd**2, *below])

    @staticmethod
    def statistics(drawn: Biomarkers, dials: BiomarkerDials) -> np.ndarray:
        """Sufficient statistics of everybody, f64 (n, F): measured values without their laboratory's offset, which are measured, which are below."""
        measured = drawn.observed & ~drawn.below
        own = np.where(measured, drawn.x - drawn.offset[drawn.laboratory], 0.0)
        limited = np.isfinite(dials.limit)
        below = [drawn.below[:, limited] & (drawn.laboratory == lab)[:, None] for lab in range(len(LABORATORIES))]
        return np.hstack([own, measured, *below]).astype(float)

    def __call__(self, statistics: np.ndarray) -> np.ndarray:
        """f64 (n, K)."""
        return statistics @ self._feature

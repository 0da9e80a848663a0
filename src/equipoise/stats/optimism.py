"""Optimism of an apparent measure: what a model making loses when its data are drawn again, and the .632+ estimate beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.estimate import Estimate


@dataclass(frozen=True)
class Optimism:
    """One measure of performance.

    Args:
        apparent: on the data that made the model.
        optimism: mean over resamples of (on the resample) minus (on the data), of the model made on the resample.
        corrected: apparent minus optimism.
        resamples: how many entered; those without a value (e.g. one class only) are left out.
        se: Monte-Carlo standard error of the optimism.
    """

    apparent: float
    optimism: float
    corrected: float
    resamples: int
    se: float


def optimism_corrected(apparent: float, on_resample: np.ndarray, on_data: np.ndarray) -> Optimism:
    """apparent - mean_b (m_b(resample b) - m_b(data)), m_b the model made on resample b by all steps of model making.

    Args:
        apparent: the measure of the model made on the data, on them.
        on_resample: f64 (B,), of each resample's model on its resample; NaN where there is none.
        on_data: f64 (B,), on the data.

    Source: Efron and Gong (1983); Harrell, Lee and Mark (1996), section 4.

    >>> o = optimism_corrected(0.8, np.array([0.85, 0.83]), np.array([0.78, 0.76]))
    >>> round(o.corrected, 3), o.resamples
    (0.73, 2)
    """
    lost = np.asarray(on_resample, dtype=np.float64) - on_data
    lost = lost[np.isfinite(lost)]
    mean = float(lost.mean()) if lost.size else float("nan")
    se = float(lost.std(ddof=1) / np.sqrt(lost.size)) if lost.size > 1 else float("nan")
    return Optimism(float(apparent), mean, float(apparent) - mean, lost.size, se)


def location_shifted(apparent: Estimate, correction: Optimism, *, floor: float = -np.inf, ceiling: float = np.inf) -> Estimate:
    """The apparent measure's interval moved by the optimism: [lo - optimism, hi - optimism].

    Anticonservative where the optimism itself varies much between data sets: it takes the optimism as known (Noma et al. propose a two-stage
    bootstrap for that, which makes the model B^2 times).

    Args:
        apparent: with the interval of the fixed model on its own data.
        correction: from `optimism_corrected`.
        floor: smallest possible value.
        ceiling: largest.

    Source: Noma et al. (2021), Statistics in Medicine 40:5691, section 3 (location-shifted bootstrap interval).

    >>> e = Estimate(0.8, 0.02, 0.76, 0.84, "DeLong")
    >>> s = location_shifted(e, optimism_corrected(0.8, np.array([0.85]), np.array([0.8])))
    >>> round(s.lo, 2), round(s.hi, 2)
    (0.71, 0.79)
    """
    lo, hi = (float(np.clip(limit - correction.optimism, floor, ceiling)) for limit in (apparent.lo, apparent.hi))
    return Estimate(correction.corrected, apparent.se, lo, hi, f"{apparent.method}, moved by the optimism of {correction.resamples} resamples")


def point_632_plus(apparent: float, left_out: float, no_information: float) -> float:
    """(1 - w) apparent + w left_out, w = .632 / (1 - .368 R), R = (left_out - apparent) / (no_information - apparent) in [0, 1].

    Args:
        apparent: an error or a score of the model on its own data.
        left_out: the mean, over resamples, on rows that the resample left out.
        no_information: what the measure is when predictions say nothing: .5 for the AUROC, a mean over all pairs of prediction and outcome for the Brier score.

    Returns:
        The estimate; ``left_out`` counts as no worse than no information, and R as 0 where it is no worse than apparent.

    Source: Efron and Tibshirani (1997), eqs. 27 to 32; either direction of better.

    >>> round(point_632_plus(0.9, 0.7, 0.5), 4)
    0.7451
    """
    worse = np.sign(no_information - apparent)
    bounded = no_information if (left_out - no_information) * worse > 0 else left_out
    distance = no_information - apparent
    rate = (bounded - apparent) / distance if (bounded - apparent) * worse > 0 and distance != 0 else 0.0
    w = 0.632 / (1 - 0.368 * rate)
    return float((1 - w) * apparent + w * bounded)

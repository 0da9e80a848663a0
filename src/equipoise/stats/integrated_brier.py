"""The Brier score of a time to event over several horizons, and scaled by what the cohort's own incidence would reach."""

from __future__ import annotations

import numpy as np

from equipoise.stats.ipcw import Known
from equipoise.stats.weighting import ratio


def integrated(value: np.ndarray, horizons: np.ndarray) -> np.ndarray:
    """(1 / (h_L - h_1)) * integral of the value from the first to the last horizon, by trapezoids.

    Args:
        value: f64 (..., L), e.g. Brier scores.
        horizons: f64 (L,), increasing, L >= 2.

    Returns:
        f64 (...,).

    Raises:
        ValueError: one horizon only.

    Source: Graf et al. (1999), section 4.

    >>> float(integrated(np.array([0.0, 0.1, 0.2]), np.array([0.0, 1.0, 2.0])))
    0.1
    """
    h = np.asarray(horizons, dtype=np.float64)
    if h.size < 2:
        raise ValueError("an integral over horizons needs at least two")
    return np.asarray(np.trapezoid(value, h, axis=-1) / (h[-1] - h[0]))


def marginal_brier(known: Known, incidence: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Brier score of giving everybody the same risk F: sum_i W_i (F - status_i)^2 / sum_i w_i.

    Args:
        known: of n rows (see `ipcw.Known`).
        incidence: f64 (...,), F, by the same horizon.
        weight: f64 (..., n), the rows' own weights.

    Returns:
        f64 (...,).
    """
    events, every = known.weight @ known.status, known.weight.sum(-1)
    return ratio(events * (1 - 2 * incidence) + every * incidence**2, weight.sum(-1))


def scaled(score: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """1 - score / reference: the index of prediction accuracy (1 perfect, 0 no better than the cohort's incidence); f64 (...,), NaN where that is 0.

    Source: Kattan and Gerds (2018), eq. 3.
    """
    return 1 - ratio(score, reference)

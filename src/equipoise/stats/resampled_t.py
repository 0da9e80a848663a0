"""The corrected resampled t interval for values of cross-validation folds, which share training rows."""

from __future__ import annotations

import numpy as np

from equipoise.stats.estimate import Estimate, normal_interval


def nadeau_bengio(values: np.ndarray, test_to_train: float, level: float, *, floor: float = -np.inf, ceiling: float = np.inf) -> Estimate:
    """mean -+ t_{J-1} sqrt((1/J + n_test/n_train) S^2), S^2 the sample variance of J folds' values.

    Args:
        values: f64 (J,), one a fold; NaN folds are left out.
        test_to_train: rows of a fold over rows outside it.
        level: in (0, 1).
        floor: smallest possible value of the quantity.
        ceiling: largest.

    Returns:
        NaN bounds for fewer than two folds.

    Source: Nadeau and Bengio (2003), section 3.

    >>> e = nadeau_bengio(np.array([0.7, 0.8, 0.75, 0.72, 0.78]), 0.25, 0.95)
    >>> round(e.value, 3), round(e.se, 4)
    (0.75, 0.0277)
    """
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found)]
    method = f"Nadeau-Bengio over {found.size} folds"
    if found.size < 2:
        value = float(found[0]) if found.size else float("nan")
        return Estimate(value, float("nan"), float("nan"), float("nan"), method)
    se = float(np.sqrt((1 / found.size + test_to_train) * found.var(ddof=1)))
    return normal_interval(float(found.mean()), se, level, method, floor=floor, ceiling=ceiling, df=found.size - 1)

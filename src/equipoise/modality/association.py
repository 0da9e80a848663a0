"""Marginal association of each variant with an outcome, for screening inside a fold."""

from __future__ import annotations

import numpy as np

from equipoise.cohort.draft import TargetTable
from equipoise.modality.calls import COPIES, MISSING, AlleleCounts, blocks


def association(packed: np.ndarray, line: np.ndarray, counts: AlleleCounts, score: np.ndarray) -> np.ndarray:
    """Share of each variant's variance that the outcome explains.

    ``R2_v = |Q' x_v|^2 / |x_v|^2`` with x_v the centred copies (missing calls at the mean) and Q an orthonormal basis of the centred outcome
    scores: the squared correlation for one score, the correlation ratio of the analysis of variance for indicators of classes. At equal numbers of calls R2
    orders variants as the F statistic does, ``F = R2 / (1 - R2) * (n - k - 1) / k``, and n R2 is the trend test's chi-square.

    Args:
        packed: u8 (G, ceil(V/4)).
        line: i64 (m,), the persons' lines.
        counts: of the same persons.
        score: f64 (m, k), outcome scores of the same persons (see `outcome_scores`).

    Returns:
        f64 (V,) in [0, 1]; 0 for a variant that does not vary.

    Source: Armitage (1955) for the trend test; Fisher (1925) for the analysis of variance.
    """
    centred = score - score.mean(0)
    u, singular, _ = np.linalg.svd(centred, full_matrices=False)
    basis = u[:, singular > 1e-9 * max(float(singular.max(initial=0.0)), 1e-300)].astype(np.float32)
    n_variants = counts.mean.size
    mean = counts.mean.astype(np.float32)
    along, total = np.zeros((n_variants, basis.shape[1])), np.zeros(n_variants)
    for at, call in blocks(packed, line, n_variants):
        x = np.where(call == MISSING, np.float32(0), COPIES[call] - mean)
        along += x.T @ basis[at]
        total += np.einsum("pv,pv->v", x, x)
    varies = (counts.sd > 0) & (total > 0)
    return np.where(varies, (along**2).sum(1) / np.where(varies, total, 1.0), 0.0)


def outcome_scores(target: TargetTable, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a variant may be associated with.

    Args:
        target: an outcome of any kind.
        rows: i64 (m,), the only rows looked at.

    Returns:
        ``(scores f64 (m', k), place i64 (m',))``: the places in ``rows`` whose outcome is observed, and there the value, the indicators of
        the classes, or for a time to event the martingale residual of the first cause, ``d - H(t)`` with the Nelson-Aalen hazard H.

    Source: Therneau, Grambsch and Fleming (1990) for the residual: its correlation with a covariate is Cox's score test at no effect.
    """
    table = target.table[rows]
    place = np.flatnonzero(table["observed"].to_numpy())
    outcome = table["outcome"].to_numpy()[place].astype(np.float64)
    if target.kind == "multiclass":
        return (outcome[:, None] == np.unique(outcome)).astype(np.float64), place
    if target.kind == "time_to_event":
        days, event = (table[c].to_numpy()[place] for c in ("time_days", "event"))
        return martingale_residual(days, event == 1)[:, None], place
    return outcome[:, None], place


def martingale_residual(time_days: np.ndarray, event: np.ndarray) -> np.ndarray:
    """``d_i - sum of d_j / n_j over event times up to t_i``, f64 (n,); n_j at risk just before.

    >>> martingale_residual(np.array([1.0, 2.0]), np.array([True, True])).tolist()
    [0.5, -0.5]
    """
    order = np.argsort(time_days, kind="stable")
    time, died = time_days[order], event[order].astype(np.float64)
    at_risk = time.size - np.searchsorted(time, time, "left")
    hazard = np.cumsum(died / at_risk)
    out = np.empty(time.size)
    out[order] = died - hazard[np.searchsorted(time, time, "right") - 1]
    return out

"""Which rows show whether the event came by a horizon, and how much each counts for those who were censored before it."""

from __future__ import annotations

import numpy as np

from equipoise.stats import observation


def status_at(outcome: np.ndarray, horizon_days: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows whose status of cause 1 at a horizon is known, and their inverse-probability-of-censoring weights (see `stats.observation`).

    Rows that entered late are left out, because they are those who had survived until then.

    Args:
        outcome: f64 (n, 3), columns time_days, event (0 censored, 1..C the cause), entry_days.
        horizon_days: > 0.

    Returns:
        rows i64 (m,), status i64 (m,), 1 where cause 1 came by the horizon, and weight f64 (m,) > 0; the weights sum to about the rows followed from time zero.
    """
    whole = np.flatnonzero(outcome[:, 2] <= 0)
    found = observation.status_at(outcome[whole, 0], outcome[whole, 1].astype(np.int64), horizon_days, largest_weight=np.inf)
    seen = found.weight > 0
    return whole[seen], found.status[seen].astype(np.int64), found.weight[seen]

"""Which rows show whether the event came by a horizon, and how much each counts for those who were censored before it."""

from __future__ import annotations

import numpy as np


def status_at(time_days: np.ndarray, event: np.ndarray, horizon_days: float) -> tuple[np.ndarray, np.ndarray]:
    """Status of cause 1 at a horizon, and the inverse-probability-of-censoring weight.

    Known are rows with an event (of any cause) by the horizon, weight 1 / G(time-), and rows followed to the horizon, weight 1 / G(horizon-);
    G is the Kaplan-Meier estimate of staying uncensored, events before censorings where tied. Rows censored before the horizon have weight 0.

    Args:
        time_days: f64 (n,), >= 0; everybody followed from time zero.
        event: i64 (n,), 0 censored, 1..C the cause.
        horizon_days: > 0.

    Returns:
        status i64 (n,), 1 where cause 1 came by the horizon, and weight f64 (n,); over all rows the weights sum to about n.

    Source: Graf et al. (1999), eq. 6; Blanche et al. (2013) for competing causes.
    """
    by_horizon = (event > 0) & (time_days <= horizon_days)
    known = by_horizon | (time_days >= horizon_days)
    kept = _uncensored_before(time_days, event, np.minimum(time_days, horizon_days))
    weight = np.where(known, 1 / np.where(known, kept, 1.0), 0.0)
    return (by_horizon & (event == 1)).astype(np.int64), weight


def _uncensored_before(time_days: np.ndarray, event: np.ndarray, at_days: np.ndarray) -> np.ndarray:
    """G(t-) at each of ``at_days``: the product over censoring times u < t of 1 - censored(u) / at risk(u)."""
    times = np.unique(time_days[event == 0])
    ordered, ordered_events = np.sort(time_days), np.sort(time_days[event > 0])
    reached = time_days.size - np.searchsorted(ordered, times, side="left")
    events_at = np.searchsorted(ordered_events, times, side="right") - np.searchsorted(ordered_events, times, side="left")
    censored = np.searchsorted(np.sort(time_days[event == 0]), times, side="right") - np.searchsorted(np.sort(time_days[event == 0]), times, side="left")
    survival = np.concatenate([[1.0], np.cumprod(1 - censored / (reached - events_at))])
    return survival[np.searchsorted(times, at_days, side="left")]

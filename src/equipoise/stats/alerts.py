"""What a decision rule means for a service: alerts for each true one, people treated for each event averted, cost a person."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from equipoise.stats.weighting import ratio, weighted_mean, weights_of

UNIT_COSTS = ("true_positive", "false_positive", "false_negative", "true_negative")
"""What one person costs who had the event and was alerted, had none and was alerted, had the event and was not, had none and was not."""


def alerts_per_100(alert: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """100 x share alerted; ``alert`` (n,) 0 or 1, ``weight`` f64 (..., n); f64 (...,)."""
    return 100 * weighted_mean(alert, weight)


def number_needed_to_alert(alert: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Alerts for each one that is followed by the event: 1 / PPV.

    Args:
        alert: (n,), 0 or 1.
        outcome: (n,), 0 or 1.
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (...,); NaN where no alert is followed by an event.

    Source: Romero-Brufau et al. (2015), "workup to detection ratio".

    >>> float(number_needed_to_alert(np.array([1, 1, 1, 0]), np.array([1, 0, 0, 1])))
    3.0
    """
    w = weights_of(weight, alert.shape[0])
    return ratio(w @ np.asarray(alert, dtype=np.float64), w @ (np.asarray(alert, dtype=np.float64) * outcome))


def number_needed_to_treat(alert: np.ndarray, outcome: np.ndarray, relative_risk_reduction: float, weight: np.ndarray | None = None) -> np.ndarray:
    """People treated, who are those alerted, for each event averted: 1 / (PPV x relative risk reduction).

    The reduction is declared, taken as equal for everybody, and the observed risk of those alerted as their risk untreated.

    Args:
        alert: (n,), 0 or 1.
        outcome: (n,), 0 or 1.
        relative_risk_reduction: in (0, 1].
        weight: f64 (..., n), >= 0; None: ones.

    Source: Cook and Sackett (1995): NNT = 1 / (risk untreated x relative risk reduction).

    >>> float(number_needed_to_treat(np.array([1, 1, 1, 0]), np.array([1, 0, 0, 1]), 0.25))
    12.0
    """
    return number_needed_to_alert(alert, outcome, weight) / relative_risk_reduction


def cost_per_person(alert: np.ndarray, outcome: np.ndarray, unit_costs: Mapping[str, float], weight: np.ndarray | None = None) -> np.ndarray:
    """sum over the four cells of the decision table of share x unit cost.

    Args:
        alert: (n,), 0 or 1.
        outcome: (n,), 0 or 1.
        unit_costs: a number for each of `UNIT_COSTS`, in any one currency.
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (...,), in that currency.

    Source: Hunink et al. (2014), section 3.4: the expected value of a decision under a test.

    >>> costs = {"true_positive": 30.0, "false_positive": 10.0, "false_negative": 100.0, "true_negative": 0.0}
    >>> float(cost_per_person(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]), costs))
    35.0
    """
    a, y = np.asarray(alert, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    cells = (a * y, a * (1 - y), (1 - a) * y, (1 - a) * (1 - y))
    return weighted_mean(np.sum([unit_costs[name] * cell for name, cell in zip(UNIT_COSTS, cells, strict=True)], axis=0), weight)

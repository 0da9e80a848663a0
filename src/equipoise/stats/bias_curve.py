"""How strong an unmeasured confounder would have to be: a curve of two numbers, never one of them alone."""

from __future__ import annotations

import numpy as np


def bounding_factor(exposed: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """B = RR_EU RR_UD / (RR_EU + RR_UD - 1): by at most this factor can the confounder have moved a risk ratio.

    Args:
        exposed: f64 (...,), >= 1, RR_EU, the largest ratio of the confounder's prevalence between the arms.
        outcome: f64 (...,), >= 1, RR_UD, the largest ratio of risks between the confounder's levels within an arm.

    Source: Ding and VanderWeele (2016), result 1.

    >>> float(bounding_factor(np.array(2.0), np.array(2.0))).__round__(4)
    1.3333
    """
    return np.asarray(exposed * outcome / (exposed + outcome - 1))


def bias_curve(risk_ratio: float, exposed: np.ndarray) -> np.ndarray:
    """For each RR_EU, the RR_UD that together would bring this risk ratio to 1: RR (RR_EU - 1) / (RR_EU - RR).

    Args:
        risk_ratio: > 0, an estimate or the limit of its interval nearest 1; below 1 its reciprocal is taken.
        exposed: f64 (m,), RR_EU >= 1.

    Returns:
        f64 (m,); infinite where RR_EU alone is not enough (RR_EU <= RR), 1 for a ratio of 1.

    Source: Ding and VanderWeele (2016), result 1 solved for RR_UD.

    >>> bias_curve(2.0, np.array([2.0, 3.0, 4.0])).tolist()
    [inf, 4.0, 3.0]
    """
    rr, eu = max(risk_ratio, 1 / risk_ratio), np.asarray(exposed, dtype=np.float64)
    if rr == 1:
        return np.ones_like(eu)
    return np.divide(rr * (eu - 1), eu - rr, out=np.full_like(eu, np.inf), where=eu > rr)


def e_value(risk_ratio: float) -> float:
    """RR + sqrt(RR (RR - 1)): the one point of the curve where both strengths are equal; say it beside the curve only.

    Args:
        risk_ratio: > 0; below 1 its reciprocal is taken.

    Source: VanderWeele and Ding (2017).

    >>> round(e_value(3.9), 2)
    7.26
    """
    rr = max(risk_ratio, 1 / risk_ratio)
    return float(rr + np.sqrt(rr * (rr - 1)))


def nearest_to_one(lo: float, hi: float) -> float:
    """The limit of a risk ratio's interval that lies nearest 1; 1 where the interval holds it.

    >>> nearest_to_one(0.5, 0.8), nearest_to_one(0.9, 1.2)
    (0.8, 1.0)
    """
    return float(lo if lo > 1 else hi if hi < 1 else 1.0)

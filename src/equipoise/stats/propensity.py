"""Weights that balance two arms, whom they speak for, and whether the arms overlap at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.stats.weighting import weighted_mean, weights_of

ESTIMANDS = ("ATE", "ATT", "ATO")
POPULATIONS = {
    "ATE": "everybody who was eligible",
    "ATT": "those who were treated",
    "ATO": "those whose treatment was least foreseeable (overlap weights: each row counts by its chance of the other arm)",
}
"""Whom an estimand's average is about."""


def arm_weights(propensity: np.ndarray, estimand: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights of a row were it untreated and were it treated, and their derivatives by the propensity.

    ATE 1/(1-e) and 1/e; ATT e/(1-e) and 1; ATO (overlap) e and 1-e.

    Args:
        propensity: f64 (n,), P(treated | x), in (0, 1).
        estimand: one of `ESTIMANDS`.

    Returns:
        w0, w1, dw0/de, dw1/de, each f64 (n,).

    Source: Hirano, Imbens and Ridder (2003); Li, Morgan and Zaslavsky (2018), table 1.

    >>> [float(w[0]) for w in arm_weights(np.array([0.25]), "ATT")[:2]]
    [0.3333333333333333, 1.0]
    """
    e, one = np.asarray(propensity, dtype=np.float64), np.ones(np.shape(propensity))
    match estimand:
        case "ATE":
            return 1 / (1 - e), 1 / e, 1 / (1 - e) ** 2, -1 / e**2
        case "ATT":
            return e / (1 - e), one, 1 / (1 - e) ** 2, 0 * one
        case "ATO":
            return e, 1 - e, one, -one
        case _:
            raise ValueError(f"estimand {estimand!r} is none of {', '.join(ESTIMANDS)}")


def balancing_weights(propensity: np.ndarray, treatment: np.ndarray, estimand: str = "ATE") -> np.ndarray:
    """The weight of each row in the arm that it was in; for the ATE stabilised, P(A = a) / P(A = a | x).

    Stabilising multiplies an arm by a constant: no mean within an arm changes, and the weights have mean 1.

    Args:
        propensity: f64 (n,), in (0, 1).
        treatment: (n,), 0 or 1.
        estimand: one of `ESTIMANDS`.

    Source: Robins, Hernan and Brumback (2000), section 6.

    >>> balancing_weights(np.array([0.5, 0.25, 0.5, 0.75]), np.array([1, 0, 0, 1])).round(3).tolist()
    [1.0, 0.667, 1.0, 0.667]
    """
    treated = np.asarray(treatment) == 1
    w0, w1 = arm_weights(propensity, estimand)[:2]
    share = treated.mean() if estimand == "ATE" else 0.0
    return np.where(treated, w1 * (share if estimand == "ATE" else 1.0), w0 * (1 - share))


def standardized_differences(x: np.ndarray, treatment: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(mean treated - mean untreated) / sqrt((s1^2 + s0^2) / 2), the variances unweighted, so that only the means can change.

    Args:
        x: f64 (n, k).
        treatment: (n,), 0 or 1.
        weight: f64 (n,), or None: before weighting.

    Returns:
        f64 (k,); 0 for a column that is equal everywhere, NaN where an arm is constant and the arms differ.

    Source: Austin (2009), with the denominator held fixed as Stuart (2010), section 4.1, advises.

    >>> standardized_differences(np.array([[0.0], [2.0], [1.0], [3.0]]), np.array([0, 0, 1, 1])).round(4).tolist()
    [0.7071]
    """
    x, treated, w = np.asarray(x, dtype=np.float64), np.asarray(treatment) == 1, weights_of(weight, len(treatment))
    gap = weighted_mean(x[treated], w[treated]) - weighted_mean(x[~treated], w[~treated])
    spread = np.sqrt((x[treated].var(0, ddof=1) + x[~treated].var(0, ddof=1)) / 2)
    none = np.isclose(gap, 0.0, atol=1e-12) & (spread == 0)
    return np.where(none, 0.0, np.divide(gap, spread, out=np.full(gap.shape, np.nan), where=spread > 0))


def effective_rows(weight: np.ndarray) -> float:
    """(sum w)^2 / sum w^2: how many equally weighted rows would say as much.

    Source: Kish (1965), section 11.7.

    >>> round(effective_rows(np.array([1.0, 1.0, 2.0])), 3)
    2.667
    """
    return float(weight.sum() ** 2 / (weight**2).sum())


def crump_bound(propensity: np.ndarray) -> float:
    """The a for which the average effect among rows with a <= e <= 1 - a has the smallest asymptotic variance (equal error variances).

    With g = 1/(e (1 - e)) sorted upwards, the k kept rows minimise sum_{i <= k} g_i / k^2; a = 1/2 - sqrt(1/4 - 1/gamma), gamma = 2 mean(g_1..g_k).

    Args:
        propensity: f64 (n,), in (0, 1).

    Returns:
        a in [0, 1/2); 0 where no row is better left out.

    Source: Crump, Hotz, Imbens and Mitnik (2009), corollary 1, minimised over the rows at hand.

    >>> crump_bound(np.full(10, 0.5))
    0.0
    >>> round(crump_bound(np.r_[np.full(50, 0.5), 0.001]), 4)
    0.1464
    """
    e = np.asarray(propensity, dtype=np.float64)
    g = np.sort(1 / (e * (1 - e)))
    best = int(np.argmin(np.cumsum(g) / np.arange(1.0, g.size + 1) ** 2))
    if best == g.size - 1:
        return 0.0
    # In a finite sample 2 mean(g) may fall a little beside the gap between the last row kept and the first left out; it is put inside.
    gamma = np.clip(2 * g[: best + 1].mean(), g[best] * (1 + 1e-9), g[best + 1] * (1 - 1e-9))
    return float(0.5 - np.sqrt(max(0.25 - 1 / gamma, 0.0)))


@dataclass(frozen=True)
class Overlap:
    """Whether both arms could have been received.

    Args:
        bound: a.
        outside: share of rows with a propensity outside [a, 1 - a].
        outside_treated: the same among the treated.
        effective_untreated: effective number of untreated rows under the weights.
        effective_treated: of treated rows.
        kept: bool (n,), rows inside.
        sentence: whom an estimate on the kept rows is about.
    """

    bound: float
    outside: float
    outside_treated: float
    effective_untreated: float
    effective_treated: float
    kept: np.ndarray
    sentence: str


def overlap(propensity: np.ndarray, treatment: np.ndarray, *, estimand: str = "ATE", bound: float | None = None) -> Overlap:
    """Share outside [a, 1 - a], effective sizes under the weights, and the trimmed population in a sentence.

    Args:
        propensity: f64 (n,), in (0, 1).
        treatment: (n,), 0 or 1.
        estimand: one of `ESTIMANDS`.
        bound: a; None: `crump_bound`.

    Source: Crump et al. (2009); Stürmer et al. (2010) for saying whom trimming leaves.

    >>> overlap(np.array([0.02, 0.4, 0.5, 0.6]), np.array([0, 1, 0, 1]), bound=0.1).outside
    0.25
    """
    e, treated = np.asarray(propensity, dtype=np.float64), np.asarray(treatment) == 1
    a = crump_bound(e) if bound is None else bound
    kept = (e >= a) & (e <= 1 - a)
    w = balancing_weights(e, treated, estimand)
    about = POPULATIONS[estimand]
    sentence = f"Nobody is trimmed: the estimate is about {about}."
    if left_out := int((~kept).sum()):
        sentence = (
            f"{left_out} of {e.size} rows ({left_out / e.size:.1%}) with a propensity below {a:.3g} or above {1 - a:.3g} are left out: the trimmed estimate"
            f" is about {about} and whose propensity lies between these bounds, a population known by this model only, and about nobody else."
        )
    return Overlap(a, float((~kept).mean()), float((~kept)[treated].mean()), effective_rows(w[~treated]), effective_rows(w[treated]), kept, sentence)

"""The effect of a treatment given once: by weighting, by standardisation, and by both (AIPW), with outcomes missing at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from equipoise.stats.estimate import Estimate, normal_interval
from equipoise.stats.nuisance import Regression, regression
from equipoise.stats.policy import arm_scores
from equipoise.stats.propensity import arm_weights

Learner = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(x_fit (m, k), y_fit (m,), x_new (l, k)) -> E(y | x_new) (l,): what a nuisance is learnt with in `aipw_effect`."""
FOLD_RIDGE = 1.0
"""Penalty of the logistic regressions in folds: a rare column that separates the fitted rows must not give other rows a probability of 0."""


@dataclass(frozen=True)
class ArmContrast:
    """Mean outcome under each strategy and their contrast.

    Args:
        untreated: E(Y(0)).
        treated: E(Y(1)).
        difference: treated minus untreated.
        log_ratio: log of treated over untreated; NaN unless both are > 0.
        influence: f64 (n,), of the difference: value + its mean is one step; for tests against other estimators of the same rows.
    """

    untreated: Estimate
    treated: Estimate
    difference: Estimate
    log_ratio: Estimate
    influence: np.ndarray


def ipw_effect(
    outcome: np.ndarray,
    treatment: np.ndarray,
    x: np.ndarray,
    *,
    estimand: str = "ATE",
    level: float = 0.95,
    cluster: np.ndarray | None = None,
    missing_given: np.ndarray | None = None,
) -> ArmContrast:
    """Weighted means: mu_a = sum_i 1(A = a) R w_a(e_i) / pi_i y_i / sum_i 1(A = a) R w_a(e_i) / pi_i (Hajek), e and pi by logistic regression.

    The interval counts that e and pi were estimated (stacked estimating equations). Stabilised weights give the same means.

    Args:
        outcome: f64 (n,); NaN = missing, stood for by inverse probability of being observed, pi = P(R = 1 | a, x).
        treatment: (n,), 0 or 1.
        x: f64 (n, k), confounders known at time zero.
        estimand: see `arm_weights`.
        level: in (0, 1).
        cluster: (n,), or None: independent rows.
        missing_given: f64 (n, l), what missingness depends on besides the treatment; None: x.

    Source: Lunceford and Davidian (2004), eq. 5 and section 3; Li, Morgan and Zaslavsky (2018) for the other weights.

    >>> c = ipw_effect(np.array([1.0, 2.0, 2.0, 4.0]), np.array([0, 0, 1, 1]), np.zeros((4, 1)))
    >>> round(c.difference.value, 6)
    1.5
    """
    y, a = np.asarray(outcome, dtype=np.float64), (np.asarray(treatment) == 1).astype(np.float64)
    seen = np.isfinite(y)
    y = np.where(seen, y, 0.0)
    e = regression(x, a, binary=True)
    kept = _observed(seen, a, x if missing_given is None else missing_given)
    pi = np.ones(y.size) if kept is None else kept.mean
    weights = arm_weights(e.mean, estimand)
    means, influences = [], []
    for arm, w, dw in ((1 - a, weights[0], weights[2]), (a, weights[1], weights[3])):
        own = arm * seen / pi
        mean = float((own * w * y).sum() / (own * w).sum())
        psi = own * w * (y - mean)
        moved = psi + e.moved(own * dw * (y - mean)) + (kept.moved(-psi / pi) if kept is not None else 0.0)
        means.append(mean)
        influences.append(moved / (own * w).mean())
    return _contrast(means, influences, level, cluster, f"weights ({estimand}), stacked estimating equations")


def g_formula(
    outcome: np.ndarray, treatment: np.ndarray, x: np.ndarray, *, estimand: str = "ATE", level: float = 0.95, cluster: np.ndarray | None = None
) -> ArmContrast:
    """Standardisation: mu_a = mean over the target population of E(Y | A = a, x), a regression in each arm (logistic where the outcome is 0 or 1).

    Args:
        outcome: f64 (n,); NaN = missing at random given a and x: fitted on the others, averaged over all.
        treatment: (n,), 0 or 1.
        x: f64 (n, k).
        estimand: "ATE" (averaged over everybody) or "ATT" (over the treated).
        level: in (0, 1).
        cluster: (n,), or None.

    Source: Robins (1986); Snowden, Rose and Mortimer (2011). Interval by stacked estimating equations.

    >>> x = np.arange(8.0)[:, None]
    >>> round(g_formula(x[:, 0] + 3 * np.tile([0, 1], 4), np.tile([0, 1], 4), x).difference.value, 6)
    3.0
    """
    if estimand not in ("ATE", "ATT"):
        raise ValueError(f"estimand {estimand!r} is neither ATE nor ATT")
    y, a = np.asarray(outcome, dtype=np.float64), np.asarray(treatment) == 1
    seen = np.isfinite(y)
    binary = bool(np.isin(y[seen], (0.0, 1.0)).all())
    target = np.ones(y.size) if estimand == "ATE" else a.astype(np.float64)
    means, influences = [], []
    for arm in (~a, a):
        m = regression(x, y, seen & arm, binary=binary)
        mean = float((target * m.mean).sum() / target.sum())
        means.append(mean)
        influences.append((target * (m.mean - mean) + m.moved(target)) / target.mean())
    return _contrast(means, influences, level, cluster, f"standardisation ({estimand}), stacked estimating equations")


def aipw_effect(
    outcome: np.ndarray,
    treatment: np.ndarray,
    x: np.ndarray,
    fold: np.ndarray | None,
    *,
    level: float = 0.95,
    cluster: np.ndarray | None = None,
    clip: float = 0.01,
    learn_outcome: Learner | None = None,
    learn_probability: Learner | None = None,
) -> ArmContrast:
    """Augmented weighting with cross-fitting: right where either the outcome regressions, or propensity and missingness, are right.

    mu_a = mean of m_a(x) + 1(A = a) R / (e_a(x) pi_a(x)) (y - m_a(x)), every nuisance from rows of other folds.

    Args:
        outcome: f64 (n,); NaN = missing at random given a and x.
        treatment: (n,), 0 or 1.
        x: f64 (n, k).
        fold: i64 (n,), which rows are predicted together; no cluster in two of them. None: no cross-fitting (for parametric regressions only).
        level: in (0, 1).
        cluster: (n,), or None.
        clip: probabilities are read as at least this (and propensities at most 1 - this).
        learn_outcome: learns m_a; None: linear regression, or logistic (in folds with `FOLD_RIDGE` on standardised columns).
        learn_probability: learns e and pi; None: that logistic regression.

    Source: Robins, Rotnitzky and Zhao (1994); Chernozhukov et al. (2018), definition 3.1 (cross-fitting).

    >>> x = np.arange(8.0)[:, None]
    >>> a = np.array([0, 1, 1, 0, 1, 0, 0, 1])
    >>> round(aipw_effect(x[:, 0] + 3 * a, a, x, None).difference.value, 6)
    3.0
    """
    y, a = np.asarray(outcome, dtype=np.float64), (np.asarray(treatment) == 1).astype(np.float64)
    seen = np.isfinite(y)
    binary = bool(np.isin(y[seen], (0.0, 1.0)).all())
    ridge = 1e-9 if fold is None else FOLD_RIDGE
    mean_of, share_of = learn_outcome or _learner(binary, ridge), learn_probability or _learner(True, ridge)
    e, pi, m0, m1 = np.empty(y.size), np.ones(y.size), np.empty(y.size), np.empty(y.size)
    with_arm = np.column_stack([x, a])
    for here, there in _turns(fold, y.size):
        e[here] = share_of(x[there], a[there], x[here])
        m0[here], m1[here] = (mean_of(x[rows], y[rows], x[here]) for rows in (there & seen & (a == 0), there & seen & (a == 1)))
        if not seen[there].all():
            pi[here] = share_of(with_arm[there], seen[there].astype(np.float64), with_arm[here])
    e, pi = np.clip(e, clip, 1 - clip), np.maximum(pi, clip)
    # A missing outcome is put at its expectation, an observed one moved away from it by 1 / pi: the usual score of that outcome is the wanted one.
    own = np.where(a == 1, m1, m0)
    y = own + np.where(seen, (np.where(seen, y, 0.0) - own) / pi, 0.0)
    score = arm_scores(y, a, m0, m1, e)
    means = score.mean(0)
    made = "AIPW" if fold is None else f"AIPW, cross-fitted in {np.unique(fold).size} folds"
    return _contrast(means.tolist(), list((score - means).T), level, cluster, f"{made}, influence function")


def _turns(fold: np.ndarray | None, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(predicted rows, fitted rows), bool (n,) each."""
    if fold is None:
        return [(np.ones(n, dtype=bool),) * 2]
    return [(fold == k, fold != k) for k in np.unique(fold)]


def _learner(binary: bool, ridge: float) -> Learner:
    def learn(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
        both = np.concatenate([x, new])
        on = np.arange(len(both)) < len(x)
        return regression(both, np.r_[y, np.full(len(new), np.nan)], on, binary=binary, ridge=ridge).mean[len(x) :]

    return learn


def _observed(seen: np.ndarray, a: np.ndarray, x: np.ndarray) -> Regression | None:
    return None if seen.all() else regression(np.column_stack([x, a]), seen.astype(np.float64), binary=True)


def _contrast(means: list[float], influences: list[np.ndarray], level: float, cluster: np.ndarray | None, method: str) -> ArmContrast:
    (mean0, mean1), (i0, i1) = means, influences
    log_ratio, of_ratio = float("nan"), np.full_like(i0, np.nan)
    if mean0 > 0 and mean1 > 0:
        log_ratio, of_ratio = float(np.log(mean1 / mean0)), i1 / mean1 - i0 / mean0
    return ArmContrast(
        untreated=_estimate(mean0, i0, level, cluster, method),
        treated=_estimate(mean1, i1, level, cluster, method),
        difference=_estimate(mean1 - mean0, i1 - i0, level, cluster, method),
        log_ratio=_estimate(log_ratio, of_ratio, level, cluster, method),
        influence=i1 - i0,
    )


def _estimate(value: float, influence: np.ndarray, level: float, cluster: np.ndarray | None, method: str) -> Estimate:
    """Standard error from the influence function, summed within clusters."""
    n = influence.size
    if cluster is None:
        return normal_interval(value, float(np.sqrt((influence**2).sum()) / n), level, method)
    sums = np.bincount(np.unique(cluster, return_inverse=True)[1], influence)
    many = sums.size
    if many < 2:
        return normal_interval(value, float("nan"), level, method)
    return normal_interval(value, float(np.sqrt(many / (many - 1) * (sums**2).sum()) / n), level, f"{method}, summed within clusters", df=many - 1.0)

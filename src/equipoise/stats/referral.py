"""Referral: what is left of a model's loss, and of its net benefit, when its least certain rows are decided by somebody else."""

from __future__ import annotations

import numpy as np

from equipoise.stats.weighting import ratio, weights_of


def kept_sums(value: np.ndarray, uncertainty: np.ndarray, referred: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """sum of w_i x_i over the rows that are kept when the share s of the weight with the largest uncertainty is referred.

    Rows that tie in uncertainty are referred in equal parts, so that the order of a table decides nothing.

    Args:
        value: f64 (n,).
        uncertainty: f64 (n,), any scale; only its order counts.
        referred: f64 (k,), shares s in [0, 1).
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (..., k).

    Source: El-Yaniv and Wiener (2010), section 2, for selective risk; ties and weights are ours.

    >>> kept_sums(np.array([1.0, 5.0, 9.0, 1.0]), np.array([0.0, 2.0, 2.0, 1.0]), np.array([0.0, 0.25, 0.5])).tolist()
    [16.0, 9.0, 2.0]
    """
    w = weights_of(weight, value.shape[0])
    group = np.unique(uncertainty, return_inverse=True)[1].reshape(-1)
    order = np.argsort(group, kind="stable")
    last = np.flatnonzero(np.append(np.diff(group[order]) > 0, True))
    flat = w.reshape(-1, w.shape[-1])[:, order]
    reached = np.concatenate([np.zeros((len(flat), 1)), np.cumsum(flat, axis=1)[:, last]], axis=1)
    sums = np.concatenate([np.zeros((len(flat), 1)), np.cumsum(flat * np.asarray(value, dtype=np.float64)[order], axis=1)[:, last]], axis=1)
    made = [np.interp((1 - referred) * r[-1], r, s) for r, s in zip(reached, sums, strict=True)]
    return np.array(made).reshape(*w.shape[:-1], len(referred))


def risk_coverage(loss: np.ndarray, uncertainty: np.ndarray, referred: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean loss of the kept rows at each share referred.

    Args:
        loss: f64 (n,).
        uncertainty: f64 (n,).
        referred: f64 (k,), in [0, 1).
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (..., k); NaN where the weights sum to 0.

    Source: El-Yaniv and Wiener (2010), eqs. 1 and 2.

    >>> risk_coverage(np.array([1.0, 3.0]), np.array([0.1, 0.2]), np.array([0.0, 0.5])).tolist()
    [2.0, 1.0]
    """
    w = weights_of(weight, loss.shape[0])
    return ratio(kept_sums(loss, uncertainty, referred, w), (1 - referred) * w.sum(-1)[..., None])


def area_under(curve: np.ndarray, referred: np.ndarray) -> np.ndarray:
    """Mean height of a risk-coverage curve over the shares referred, by the trapezoid rule; f64 (...,).

    Minus the loss of all rows it is the excess over random order, whose curve is flat at that loss: below 0, uncertainty points at the losses.

    Args:
        curve: f64 (..., k).
        referred: f64 (k,), increasing.

    Source: Geifman, Uziel and El-Yaniv (2019), section 3, for the area (AURC) and its excess, there over the best order; over random order: ours.
    """
    return np.asarray(np.trapezoid(curve, referred, axis=-1) / (referred[-1] - referred[0]))


def net_benefit_with_referral(
    own: np.ndarray, instead: np.ndarray, uncertainty: np.ndarray, referred: np.ndarray, cost: float, weight: np.ndarray | None = None
) -> np.ndarray:
    """(sum of own_i over kept rows + sum of (instead_i - cost) over referred rows) / sum of weights, in true positives a row.

    Args:
        own: f64 (n,), what the model's decision on each row adds (`net_benefit.net_benefit_of_rows`).
        instead: f64 (n,), what the decision of whoever gets the row adds.
        uncertainty: f64 (n,).
        referred: f64 (k,), in [0, 1).
        cost: of referring one row, in true positives.
        weight: f64 (..., n), >= 0; None: ones.

    Returns:
        f64 (..., k).

    Source: Vickers and Elkin (2006), eq. 1; Vickers, Cronin, Elkin and Gonen (2008) for the harm of a test in true positives; with referral: ours.
    """
    w = weights_of(weight, own.shape[0])
    total = w.sum(-1)[..., None]
    return ratio((w @ instead)[..., None] + kept_sums(own - instead, uncertainty, referred, w), total) - cost * referred

"""What a prediction tells relatives apart by: concordance and correlation inside of families, free of all that families share."""

from __future__ import annotations

import numpy as np

from equipoise.stats.weighting import ratio


def within_concordance(score: np.ndarray, outcome: np.ndarray, family: np.ndarray, n_families: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of relatives of whom one has the event, by family: how many there are, and in how many the event has the higher score (ties count half).

    ``sum of the second / sum of the first`` is the AUROC among relatives; weights of families may stand in both sums.

    Args:
        score: f64 (n,).
        outcome: (n,), 0 or 1.
        family: i64 (n,), 0..F-1.
        n_families: F.

    Returns:
        pairs f64 (F,), won f64 (F,).

    Source: the stratified concordance of Therneau and Watson (2015), with families as strata.

    >>> pairs, won = within_concordance(np.array([0.9, 0.1, 0.5, 0.5]), np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1]), 2)
    >>> pairs.tolist(), won.tolist()
    ([1.0, 1.0], [1.0, 0.5])
    """
    order = np.argsort(family, kind="stable")
    score, outcome, family = score[order], np.asarray(outcome, dtype=np.float64)[order], family[order]
    start = np.searchsorted(family, np.arange(n_families + 1))
    pairs, won = np.zeros(n_families), np.zeros(n_families)
    for f in np.flatnonzero(np.diff(start) > 1):
        here = slice(start[f], start[f + 1])
        event, rest = score[here][outcome[here] == 1], score[here][outcome[here] == 0]
        pairs[f] = event.size * rest.size
        won[f] = (event[:, None] > rest).sum() + (event[:, None] == rest).sum() / 2
    return pairs, won


def within_products(score: np.ndarray, outcome: np.ndarray, family: np.ndarray, n_families: int) -> np.ndarray:
    """Sums of squares and products of deviations from the family's mean: f64 (F, 3) of dy dy, dp dp, dy dp.

    Args:
        score: f64 (n,), the prediction p.
        outcome: f64 (n,), y.
        family: i64 (n,), 0..F-1.
        n_families: F.

    Source: the within-family part of a between-within model, Neuhaus and Kalbfleisch (1998).
    """
    size = np.maximum(np.bincount(family, minlength=n_families), 1)
    dp, dy = (x - (np.bincount(family, x, n_families) / size)[family] for x in (score, outcome))
    return np.stack([np.bincount(family, v, n_families) for v in (dy * dy, dp * dp, dy * dp)], axis=1)


def within_correlation(products: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Correlation of prediction and outcome inside of families, ``sum dy dp / sqrt(sum dy^2 sum dp^2)``.

    Args:
        products: f64 (F, 3) of `within_products`.
        weight: f64 (..., F), of families; None: ones.

    Returns:
        f64 (...,); NaN where nothing varies.
    """
    yy, pp, yp = (products.sum(axis=0) if weight is None else weight @ products).T
    return ratio(yp, np.sqrt(yy * pp))


def within_slope(products: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Slope of the outcome on the prediction inside of families, ``sum dy dp / sum dp^2``: 1 where relatives differ as predicted.

    Args:
        products: f64 (F, 3) of `within_products`.
        weight: f64 (..., F), of families; None: ones.

    Returns:
        f64 (...,).

    >>> p = within_products(np.array([1.0, 3.0, 5.0, 6.0]), np.array([10.0, 14.0, 0.0, 2.0]), np.array([0, 0, 1, 1]), 2)
    >>> float(within_slope(p)), round(float(within_correlation(p)), 4)
    (2.0, 1.0)
    """
    _, pp, yp = (products.sum(axis=0) if weight is None else weight @ products).T
    return ratio(yp, pp)

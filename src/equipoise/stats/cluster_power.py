"""Power of trials that randomise clusters (wards, practices, hospitals): parallel, and stepped wedge. Tests are one-sided at ``alpha``."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri

from equipoise.stats.trial_power import shifted_t_power


def design_effect(size: float, icc: float, cv: float) -> float:
    """Variance against a trial that randomises people: ``1 + ((1 + cv^2) m - 1) icc``.

    Args:
        size: mean number of people in a cluster, m, >= 1.
        icc: correlation of two people of a cluster, in [0, 1].
        cv: standard deviation over mean of the cluster sizes, >= 0.

    Source: Eldridge, Ashby and Kerry (2006).

    >>> round(design_effect(50, 0.02, 0.0), 2), round(design_effect(50, 0.02, 0.6), 2)
    (1.98, 2.34)
    """
    return 1 + ((1 + cv**2) * size - 1) * icc


def cluster_power(clusters_per_arm: int, size: float, difference: float, sd: float, icc: float, cv: float, alpha: float) -> float:
    """Power of a parallel cluster trial: noncentral t with ``2 k - 2`` degrees of freedom and standard error ``sd sqrt(2 DE / (k m))``.

    Args:
        clusters_per_arm: k, >= 2.
        size: mean number of people in a cluster, m, >= 1.
        difference: treated minus control, in the outcome's unit, not 0.
        sd: of one person, over and within clusters, > 0.
        icc: in [0, 1].
        cv: of cluster sizes, >= 0.
        alpha: one-sided, in (0, 0.5).

    Source: Donner and Klar (2000), chapter 5, with the design effect of Eldridge et al. (2006).

    >>> round(cluster_power(10, 50, 0.3, 1.0, 0.02, 0.0, 0.025), 3)
    0.89
    """
    se = sd * math.sqrt(2 * design_effect(size, icc, cv) / (clusters_per_arm * size))
    return shifted_t_power(abs(difference) / se, 2 * clusters_per_arm - 2, alpha)


def stepped_wedge(clusters: int, steps: int) -> np.ndarray:
    """The classic design: all clusters begin as control, an equal number crosses at each step, all end treated.

    Args:
        clusters: a multiple of ``steps``.
        steps: >= 1.

    Returns:
        f64 (clusters, steps + 1), 1 = treated.

    Source: Hussey and Hughes (2007), figure 1.

    >>> stepped_wedge(2, 2).tolist()
    [[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]
    """
    crossing = np.repeat(np.arange(1, steps + 1), clusters // steps)
    return (np.arange(steps + 1) >= crossing[:, None]).astype(np.float64)


def cell_variances(size: float, sd: float, icc: float, cac: float) -> tuple[float, float]:
    """Variances of the mean of a cell (a cluster in a period), within and between clusters: ``sd^2 ((1 - icc) / m + icc (1 - cac))`` and ``sd^2 icc cac``.

    Args:
        size: people in a cluster and period, m, >= 1, others in each period.
        sd: of one person, > 0.
        icc: correlation of two people of one cluster and period, in [0, 1].
        cac: cluster autocorrelation, the icc between two periods over that within one, in [0, 1]; 1 is Hussey and Hughes's model.

    Source: Hooper et al. (2016).
    """
    return sd**2 * ((1 - icc) / size + icc * (1 - cac)), sd**2 * icc * cac


def hussey_hughes_variance(treated: np.ndarray, within: float, between: float) -> float:
    """Variance of the effect in a linear model with period effects and random clusters, in closed form.

    ``I s (s + T t) / ((I U - W) s + (U^2 + I T U - T W - I V) t)``;
    s within, t between, U the number of treated cells, W and V the summed squares of their numbers by period and by cluster.

    Args:
        treated: f64 (I, T), 1 where cluster i is treated in period j.
        within: variance of a cell's mean in its cluster, > 0.
        between: variance between clusters, >= 0.

    Source: Hussey and Hughes (2007), eq. 8.

    >>> round(hussey_hughes_variance(stepped_wedge(4, 4), 0.1, 0.02), 5)
    0.05
    """
    i, t = treated.shape
    u, w, v = treated.sum(), (treated.sum(0) ** 2).sum(), (treated.sum(1) ** 2).sum()
    below = (i * u - w) * within + (u**2 + i * t * u - t * w - i * v) * between
    return float(i * within * (within + t * between) / below)


def gls_variance(treated: np.ndarray, covariance: np.ndarray) -> float:
    """Variance of the effect by generalised least squares, for any covariance of a cluster's cells: the last diagonal element of ``(sum_i X_i' V^-1 X_i)^-1``.

    Args:
        treated: f64 (I, T), 1 where cluster i is treated in period j.
        covariance: f64 (T, T), of a cluster's cell means.

    Source: Hussey and Hughes (2007), section 3.

    >>> v = gls_variance(stepped_wedge(4, 4), 0.1 * np.eye(5) + 0.02)
    >>> round(v, 5) == round(hussey_hughes_variance(stepped_wedge(4, 4), 0.1, 0.02), 5)
    True
    """
    periods = treated.shape[1]
    inverse = np.linalg.inv(covariance)
    information = np.zeros((periods + 1, periods + 1))
    for row in treated:
        design = np.column_stack([np.eye(periods), row])
        information += design.T @ inverse @ design
    return float(np.linalg.inv(information)[-1, -1])


def normal_power(difference: float, variance: float, alpha: float) -> float:
    """Power of a z test: ``Phi(|difference| / sqrt(variance) - z_a)``.

    Source: Hussey and Hughes (2007), eq. 7.
    """
    return float(ndtr(abs(difference) / math.sqrt(variance) - float(ndtri(1 - alpha))))

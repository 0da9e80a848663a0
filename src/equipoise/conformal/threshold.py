"""The threshold below which a new score lies with a stated probability, for rows in clusters."""

from __future__ import annotations

import math

import numpy as np

_ROUNDING = 1e-12  # sums of 1/n_j reach a whole number up to this


def threshold(score: np.ndarray, cluster: np.ndarray, level: float) -> float:
    """The smallest t with sum_j 1/(K + 1) mean_{i in j} 1{s_ij <= t} >= level, over K clusters j; infinity where K / (K + 1) < level.

    With one row a cluster it is the ceil((K + 1) level)-th smallest score: a new exchangeable one is at most t with probability in
    [level, level + 1/(K + 1)], the upper bound if there are no ties. With several rows a cluster it holds for a row drawn at random from a new
    exchangeable cluster.

    Args:
        score: f64 (n,), finite; large is strange.
        cluster: (n,).
        level: in (0, 1).

    Source: Vovk, Gammerman and Shafer (2005), section 2.2; Lei et al. (2018), theorem 2.2; Lee, Barber and Willett (2023), eq. 4, for clusters.

    >>> threshold(np.arange(9.0), np.arange(9), 0.8), threshold(np.arange(9.0), np.arange(9), 0.95)
    (7.0, inf)
    """
    if not score.size:
        return math.inf
    order = np.argsort(score, kind="stable")
    reached = np.cumsum(share_of_cluster(cluster)[order])
    place = int(np.searchsorted(reached, level - _ROUNDING))
    return float(score[order][place]) if place < score.size else math.inf


def share_of_cluster(cluster: np.ndarray) -> np.ndarray:
    """1 / ((K + 1) n_j) for each row, f64 (n,): K clusters and one to come weigh the same, and the rows of a cluster share its weight."""
    _, number, rows = np.unique(cluster, return_inverse=True, return_counts=True)
    return np.asarray(1 / ((rows.size + 1) * rows[number]))


def fewest_clusters(level: float) -> int:
    """The fewest clusters of which any number can be a threshold: K / (K + 1) >= level.

    >>> fewest_clusters(0.9), fewest_clusters(0.95)
    (9, 19)
    """
    return math.ceil(level / (1 - level) - 1e-9)

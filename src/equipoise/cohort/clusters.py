"""Clusters: what may never lie on both sides of a division. Joined by pairs of rows that belong together, and by subject."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def join_clusters(cluster: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Clusters that a chain of pairs connects become one.

    Args:
        cluster: (n,) of str.
        left: i64 (P,), a row of each pair.
        right: i64 (P,), its other row.

    Returns:
        (n,) of str; a joined cluster has the first of its names.

    >>> join_clusters(np.array(["b", "a", "c"]), np.array([0]), np.array([1])).tolist()
    ['a', 'a', 'c']
    """
    if not left.size:
        return cluster
    names, member = np.unique(cluster, return_inverse=True)
    graph = coo_array((np.ones(left.size), (member[left], member[right])), shape=(names.size, names.size))
    component = connected_components(graph, directed=False)[1]
    first_name = np.full(component.max() + 1, names.size)
    np.minimum.at(first_name, component, np.arange(names.size))
    return np.asarray(names[first_name[component]][member])


def join_subjects(cluster: np.ndarray, subject: np.ndarray) -> tuple[np.ndarray, int]:
    """All rows of a subject in one cluster: who moved from one family or ward to another joins the two.

    Args:
        cluster: (n,) of str.
        subject: (n,), any sortable values.

    Returns:
        The clusters (n,), and how many subjects had rows in more than one.

    >>> join_subjects(np.array(["ward 1", "ward 2", "ward 3"]), np.array(["p", "p", "q"]))[0].tolist()
    ['ward 1', 'ward 1', 'ward 3']
    """
    _, first, who = np.unique(subject, return_index=True, return_inverse=True)
    home = first[who]
    elsewhere = np.flatnonzero(cluster != cluster[home])
    return join_clusters(cluster, elsewhere, home[elsewhere]), int(np.unique(who[elsewhere]).size)

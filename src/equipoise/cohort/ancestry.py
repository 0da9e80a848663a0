"""Groups of like ancestry, found in the genotypes of train rows: strata within which a genome says nothing of where somebody's ancestors lived."""

from __future__ import annotations

import numpy as np
from sklearn.tree import DecisionTreeRegressor

from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.genotypes import Components

GENETIC_GROUP = "genetic group "
"""Begins the name of a group that was found and not declared."""
N_COMPONENTS = 6
MAX_VARIANTS = 5_000
MAX_GROUPS = 8
MIN_PEOPLE = 20


def genetic_groups(cohort: Cohort, evidence: str, train: np.ndarray) -> np.ndarray:
    """The group of every row, from principal components of the train rows' genotypes onto which all others are projected.

    Components stand on their own scale (the variance that they explain), so that those of ancestry outweigh those of chance. The best split of one of
    them, the one that lowers the groups' sum of squares most, is made again and again: a regression tree of the components on themselves.
    At most `MAX_GROUPS` groups of at least `MIN_PEOPLE` train people.

    Args:
        cohort: with genotypes.
        evidence: the genotypes.
        train: i64, rows from which components and splits come.

    Returns:
        Names (n,) of object; None where a row has no genotypes, or where too few train rows have some.

    Source: Price et al. (2006) for the components; the grouping is ours.
    """
    store = cohort.store(evidence)
    if not isinstance(store, GenotypeStore):
        raise ValueError(f"evidence {evidence} holds no genotypes")
    line = np.where(cohort.present_in(evidence), np.asarray(store.index), -1)
    taught = np.unique(line[train])
    taught = taught[taught >= 0]
    named = np.full(cohort.size, None, dtype=object)
    if taught.size < 2 * MIN_PEOPLE:
        return named
    components = Components.fit(store, taught, N_COMPONENTS, max_variants=MAX_VARIANTS)
    length = np.linalg.norm(components.loading, axis=0)
    people = np.unique(line[line >= 0])
    place = components.scores(store, people) / np.where(length > 0, length, 1.0)
    of_train = place[np.searchsorted(people, taught)]
    tree = DecisionTreeRegressor(max_leaf_nodes=MAX_GROUPS, min_samples_leaf=MIN_PEOPLE, random_state=0).fit(of_train, of_train)
    leaf = np.unique(tree.apply(place), return_inverse=True)[1]
    rows = np.flatnonzero(line >= 0)
    named[rows] = np.array([f"{GENETIC_GROUP}{g + 1}" for g in leaf], dtype=object)[np.searchsorted(people, line[rows])]
    return named

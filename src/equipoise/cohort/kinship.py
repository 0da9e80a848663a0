"""Who is related, found from a cohort's own genotypes where nobody says it."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from equipoise.cohort.clusters import join_clusters
from equipoise.cohort.draft import GenotypeStore
from equipoise.cohort.genotypes import whole_genome
from equipoise.cohort.king import autosomes, related_pairs
from equipoise.contract.errors import UserError

GIVE = "give cohort.relatives (e.g. of plink2 --make-king-table) or cohort.clusters"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Kinship:
    """Joins genotyped people from a KING-robust kinship coefficient on (see `king.king_robust`).

    Args:
        minimum: the least coefficient; 0.0442 is the bound of third-degree relatives, 0.0884 of second, 0.177 of first.
        max_people: with more genotyped people nothing is computed, for time grows with their square.
        min_variants: with fewer autosomal variants nothing is computed: the coefficient of strangers then scatters beyond the bound, and chance would
            join them (its standard deviation is about 1 / sqrt(variants), more where these are correlated).
        max_variants: of more, this many evenly spaced ones are used.

    Source: Manichaikul et al. 2010, Bioinformatics 26:2867, table 1.
    """

    minimum: float
    max_people: int
    min_variants: int
    max_variants: int

    def __post_init__(self) -> None:
        if not 0 < self.minimum <= 0.5:
            raise UserError(f"Config key cohort.kinship.minimum is {self.minimum}", expected="a kinship coefficient in (0, 0.5]", mend="correct it")
        if not 1 <= self.min_variants <= self.max_variants:
            raise UserError(
                f"Config keys cohort.kinship.min_variants, max_variants are {self.min_variants}, {self.max_variants}",
                expected="1 <= min_variants <= max_variants",
                mend="correct them",
            )

    def settings(self) -> dict[str, Any]:
        """JSON-able, for the cohort's fingerprint."""
        return asdict(self)

    def join(self, cluster: np.ndarray, store: GenotypeStore) -> tuple[np.ndarray, dict[str, int], list[str]]:
        """Joins the clusters of relatives.

        Args:
            cluster: (n,) of str.
            store: genotypes of these rows.

        Returns:
            The clusters (n,), counts for the report, and notes, none of them with an identifier.
        """
        people, row = np.unique(store.index, return_index=True)
        people, row = people[people >= 0], row[people >= 0]
        variants = autosomes(store.variants)
        counts = {"people": int(people.size), "variants": int(variants.size), "pairs": 0}
        if people.size > self.max_people:
            return cluster, counts, [_unknown(f"more than {self.max_people} people have genotypes", "raise cohort.kinship.max_people")]
        if variants.size < self.min_variants:
            return cluster, counts, [_unknown(f"there are fewer than {self.min_variants} autosomal variants", "read more chromosomes")]
        if variants.size > self.max_variants:
            variants = variants[np.linspace(0, variants.size - 1, self.max_variants).round().astype(np.int64)]
        log.info("kinship of %d people from %d variants", people.size, variants.size)
        pairs = related_pairs(whole_genome(store), people, variants, self.minimum)
        joined = join_clusters(cluster, row[pairs.first], row[pairs.second])
        largest = int(np.unique(joined[row], return_counts=True)[1].max()) if row.size else 0
        counts |= {"variants": int(variants.size), "pairs": int(pairs.first.size), "people_of_largest_cluster": largest}
        notes = [f"{pairs.first.size} pairs of relatives were found from the genotypes; whoever they connect is one cluster"]
        if largest > row.size // 2 and row.size > 2:
            notes.append(f"the largest cluster of relatives holds {largest} of {row.size} people: raise cohort.kinship.minimum, or {GIVE}")
        return joined, counts, notes if pairs.first.size else []


def unknown_kinship() -> str:
    """What is noted where kinship is neither given nor to be computed."""
    return _unknown("cohort.kinship is null", "set cohort.kinship as configs/cohort/files.yaml does")


def _unknown(why: str, mend: str) -> str:
    return f"relatives among the genotyped people are not known ({why}): they may lie on both sides of a division; {GIVE}, or {mend}"

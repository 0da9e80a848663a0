"""The view of thousands of molecular measurements."""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np

from equipoise.modality.columns import Columns, Transform
from equipoise.modality.feature_groups import feature_groups
from equipoise.modality.units import Conversions


@final
class Omics(Columns):
    """Expression, methylation, proteins, metabolites: hundreds to tens of thousands of numbers, and which of them belong together.

    Args:
        evidence, columns, transform, winsorise, log_skewness, n_bins, conversions: see `Columns`. Under ``transform: rank_normal`` the model's file keeps
            up to 512 train values of every column.
        groups: a file that says which feature lies in which group (see `feature_groups`), for an encoder of groups; None = none. The fitted view
            keeps what it read, so the file is not needed again.
        min_found: fewer than this share of the file's features being columns is a mistake, in [0, 1].
    """

    holds = "molecular measurements"

    def __init__(
        self,
        *,
        evidence: str,
        columns: list[str] | None,
        transform: Transform,
        winsorise: float | None,
        log_skewness: float | None,
        n_bins: int,
        conversions: Conversions,
        groups: str | None,
        min_found: float,
    ) -> None:
        super().__init__(
            evidence=evidence, columns=columns, transform=transform, winsorise=winsorise, log_skewness=log_skewness, n_bins=n_bins, conversions=conversions
        )
        self._groups, self._min_found = groups, min_found

    def groups_of(self, numbers: list[str]) -> dict[str, np.ndarray]:
        return {} if self._groups is None else feature_groups(Path(self._groups), numbers, self._min_found)

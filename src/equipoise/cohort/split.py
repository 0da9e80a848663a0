"""A split: which cohort rows serve which role."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from equipoise.cohort.frozen import Cohort
from equipoise.contract.tables import ROLES, Role


@dataclass(frozen=True)
class Split:
    """Cohort rows by role: i64, increasing, disjoint.

    Args:
        train: weights and transforms.
        select: early stopping and sweeps.
        calibrate: recalibration, conformal, thresholds.
        held_out: the report.
    """

    train: np.ndarray
    select: np.ndarray
    calibrate: np.ndarray
    held_out: np.ndarray

    @classmethod
    def of(cls, cohort: Cohort) -> Self:
        """The cohort's own roles."""
        return cls(**{role: cohort.rows_in(role) for role in ROLES})

    @classmethod
    def from_roles(cls, role: np.ndarray) -> Self:
        """From one role string a row, (n,); rows of any other value serve none."""
        return cls(**{name: np.flatnonzero(role == name) for name in ROLES})

    def rows(self, role: Role) -> np.ndarray:
        """The rows with this role."""
        return np.asarray(getattr(self, role))

    def sizes(self) -> dict[str, int]:
        """Rows by role."""
        return {f.name: int(getattr(self, f.name).size) for f in fields(self)}

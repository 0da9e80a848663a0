"""A cohort in which one evidence's content was permuted among people: who has it stays, what it says belongs to somebody else."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from equipoise.cohort.draft import ColumnStore, EventStore, Store
from equipoise.cohort.frozen import Cohort
from equipoise.contract.counter import numpy_stream

FEWEST = 5
"""Subjects that a stratum must have to be permuted by itself; smaller ones are joined with others of the next coarser stratum."""


@dataclass(frozen=True)
class PermutedCohort(Cohort):
    """A view of a frozen cohort. All that reads the evidence reads it through `store`, so every view of it gets the same permutation.

    Args:
        evidence: whose content is permuted.
        source: i64 (n,), the row whose content each row shows.
    """

    evidence: str = ""
    source: np.ndarray = None  # type: ignore[assignment]

    def store(self, evidence: str) -> Store:
        """The evidence's data; of the permuted one each row has its source's, times before the prediction included."""
        store = super().store(evidence)
        if evidence != self.evidence:
            return store
        match store:
            case ColumnStore():
                return replace(store, number=store.number[self.source], category=store.category[self.source])
            case EventStore():
                return replace(store, **{k: getattr(store, k)[self.source] for k in ("start", "stop", "time_of_row_us")})
            case _:
                return replace(store, index=store.index[self.source])


def permuted(cohort: Cohort, evidence: str, source: np.ndarray) -> PermutedCohort:
    """The cohort with an evidence's content taken from other rows.

    Args:
        cohort: unchanged.
        evidence: one of its evidences.
        source: i64 (n,), of `permutation`.
    """
    changed = f"{zlib.crc32(np.ascontiguousarray(source, dtype=np.int64).tobytes()):08x}"
    manifest: dict[str, Any] = cohort.manifest | {"hash": f"{cohort.hash}/placebo/{evidence}/{changed}"}
    return PermutedCohort(cohort.folder, manifest, cohort.rows, evidence, source)


def permutation(
    present: np.ndarray, subject: np.ndarray, roles: Sequence[np.ndarray], strata: Sequence[np.ndarray], *, counters: tuple[int, ...]
) -> np.ndarray:
    """For each row the row whose content it is given.

    Subjects with the evidence change places within a role and a stratum: in a random order each gets the content of the next, so that nobody keeps
    their own. The rows of a subject get the rows of one other subject, in order. Relatives are permuted apart. Whoever has the evidence still has it.
    A stratum with fewer than `FEWEST` subjects is joined with others: the last named attribute is dropped first.

    Args:
        present: bool (n,), which rows have the evidence.
        subject: (n,), whose rows they are.
        roles: row numbers of each role, disjoint; content never passes from one role to another.
        strata: attributes (n,) as whole numbers, the one to keep longest first.
        counters: of the random order.

    Returns:
        i64 (n,): itself where a row lacks the evidence, or its role has one subject with it.
    """
    source = np.arange(present.size)
    for number, rows in enumerate(roles):
        rng = numpy_stream("placebo", *counters, number)
        left = rows[present[rows]]
        for depth in range(len(strata), -1, -1):
            cell = np.unique(np.stack([np.zeros(left.size, np.int64), *(s[left] for s in strata[:depth])]), axis=1, return_inverse=True)[1].reshape(-1)
            later = []
            for c in range(int(cell.max(initial=-1)) + 1):
                here = left[cell == c]
                people = _rows_of(subject, here)
                if len(people) < FEWEST and depth:
                    later.append(here)
                else:
                    _pass_on(source, people, rng.permutation(len(people)))
            left = np.sort(np.concatenate(later)) if later else np.empty(0, np.int64)
    return source


def _rows_of(subject: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """The rows of each subject among these."""
    number = np.unique(subject[rows], return_inverse=True)[1]
    order = np.argsort(number, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(number[order])) + 1) if rows.size else []


def _pass_on(source: np.ndarray, people: list[np.ndarray], order: np.ndarray) -> None:
    for giver, taker in zip(order, np.roll(order, -1), strict=True):
        given, taken = people[giver], people[taker]
        source[taken] = given[np.arange(taken.size) % given.size]

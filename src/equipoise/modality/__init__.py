"""Views: one file per view of a kind of evidence. Fitted on train rows, a view turns cohort rows into a part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from equipoise.cohort.draft import TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.contract.tensors import Part, Rewound, Spec


class Reader(ABC):
    """A fitted view, opened on one cohort.

    Attributes:
        present: bool (n,): which cohort rows have the evidence. Present without content is still present.
        notes: counts of what the cohort has and the view does not know, e.g. ``{"unknown_codes": 12}``; aggregates only.
    """

    present: np.ndarray
    notes: dict[str, Any]

    @abstractmethod
    def __call__(self, rows: np.ndarray, keep: np.ndarray | None = None) -> Part:
        """The part of a batch.

        Args:
            rows: i64 (B,), cohort rows in batch order.
            keep: bool (B,), False hides a row's evidence (evidence dropout, masking); None keeps all.

        Returns:
            A part with ``size`` B that holds the rows that are present and kept.
        """


class Rewindable(Reader):
    """A reader that can show a row as it stood before its prediction time, which is what a pretext learns from."""

    @abstractmethod
    def has_past(self) -> np.ndarray:
        """bool (n,): the row is present, and something happened before its end, so that there is a moment to go back to.

        A row's end is its prediction time, or its last event where it has no such time.
        """

    @abstractmethod
    def rewound(self, rows: np.ndarray, share: np.ndarray, at_moment: np.ndarray) -> Rewound:
        """Rows as they stood at a moment of their own, and what came after it up to their end.

        Args:
            rows: i64 (B,), with a past; repeats allowed.
            share: f64 (B,), in [0, 1): how far on.
            at_moment: bool (B,): True: the moment is that of a row's own events, all of which have just happened, each of its distinct times before its
                end having an equal part of [0, 1). False: it lies in time, that share of the way from the first event to the end.
        """


class View(ABC):
    """A view of an evidence.

    Args:
        evidence: which evidence of the cohort it reads.
    """

    part: ClassVar[type[Part]]

    def __init__(self, *, evidence: str) -> None:
        self.evidence = evidence

    @abstractmethod
    def fit(self, cohort: Cohort, rows: np.ndarray, outcome: TargetTable | None = None) -> None:
        """Learns vocabularies and scales from these rows (train rows) and no others.

        Args:
            cohort: the training cohort.
            rows: i64, train rows.
            outcome: the first task's outcomes of all cohort rows, for supervised screening; only the entries at ``rows`` may be looked at.

        Raises:
            UserError: the cohort lacks the evidence, or it is of another kind.
        """

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """What an encoder needs to know; after `fit` or `load_state`."""

    @abstractmethod
    def open(self, cohort: Cohort) -> Reader:
        """A reader of any cohort with this evidence, the training one or a new one."""

    def items(self) -> tuple[str, ...]:
        """Names of what the part holds, for explanations: codes by number, columns (numbers, then categories), variants; () where it has none."""
        return ()

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What was fitted: plain numbers, strings, lists, dicts and tensors only, so that it loads with ``weights_only=True``."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""


class Pretrainable(View):
    """A view whose encoder can be pretrained: its readers are `Rewindable`, and it can go on from another fit."""

    @abstractmethod
    def open(self, cohort: Cohort) -> Rewindable: ...

    @abstractmethod
    def adopt(self, state: dict[str, Any]) -> None:
        """Takes another fit's `state`, so that what that fit knew has the numbers and scales that it had there; what only this one knows stands behind."""

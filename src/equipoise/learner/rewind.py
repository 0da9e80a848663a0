"""Batches for a pretext: every row gone back to moments of its own that are a function of (seed, epoch, row)."""

from __future__ import annotations

from typing import final

import numpy as np

from equipoise.contract.counter import numpy_stream
from equipoise.contract.tensors import Rewound
from equipoise.data import Fetch
from equipoise.modality import Rewindable


@final
class FetchRewound(Fetch):
    """Each row ``cuts`` times, gone back to as many moments; in selection to the same ones in every epoch.

    Args:
        reader: of the training cohort.
        cuts: see `Pretext`.
        at_moments: likewise.
        seed: the run's.
    """

    def __init__(self, reader: Rewindable, *, cuts: int, at_moments: float, seed: int) -> None:
        self._reader, self._cuts, self._at_moments, self._seed = reader, cuts, at_moments, seed
        self._drawn: tuple[tuple[str, int], np.ndarray] | None = None

    def train(self, rows: np.ndarray, epoch: int) -> Rewound:
        return self._gone_back(rows, "rewind", epoch)

    def select(self, rows: np.ndarray) -> Rewound:
        return self._gone_back(rows, "rewind-select", 0)

    def _gone_back(self, rows: np.ndarray, purpose: str, epoch: int) -> Rewound:
        if self._drawn is None or self._drawn[0] != (purpose, epoch):
            shape = (self._reader.present.size, self._cuts, 2)
            self._drawn = (purpose, epoch), numpy_stream(purpose, self._seed, epoch).random(shape)
        share, kind = self._drawn[1][rows].reshape(-1, 2).T
        return self._reader.rewound(np.repeat(rows, self._cuts), share, kind < self._at_moments)

"""The one LightningDataModule: which rows, in which order, with which evidences dropped; every choice is a function of (seed, epoch, row)."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, final

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset, Sampler

from equipoise.batches import Batches
from equipoise.contract.counter import numpy_stream
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Batch, Rewound

Item = tuple[int, np.ndarray]
"""What the sampler hands to the data set: the epoch and the cohort rows of a whole batch."""


def epoch_batches(rows: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """An epoch's batches: a permutation that is a function of (seed, epoch), in parts of nearly equal size, none above ``batch_size``.

    >>> [b.size for b in epoch_batches(np.arange(10), 4, seed=0, epoch=0)]
    [4, 3, 3]
    """
    order = numpy_stream("order", seed, epoch).permutation(rows)
    return np.array_split(order, max(-(-order.size // batch_size), 1))


def chunks(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Rows in their own order, at most ``batch_size`` at a time."""
    return np.array_split(rows, max(-(-rows.size // batch_size), 1)) if rows.size else []


def dropout_of(given: float | Mapping[str, float], evidences: tuple[str, ...]) -> np.ndarray:
    """Probability of dropping each evidence, f64 (M,), from one number for all or a mapping (others 0).

    Raises:
        UserError: a name is not an evidence of the views, or a probability is outside [0, 1).
    """
    named = dict.fromkeys(evidences, float(given)) if isinstance(given, int | float) else {str(k): float(v) for k, v in given.items()}
    if unknown := sorted(set(named) - set(evidences)):
        expected = f"evidences of the chosen views: {', '.join(evidences)}"
        raise UserError(f"learner.evidence_dropout names {', '.join(unknown)}", expected=expected, mend="correct the name")
    if wrong := {k: v for k, v in named.items() if not 0 <= v < 1}:
        raise UserError(f"learner.evidence_dropout is {wrong}", expected="probabilities in [0, 1)", mend="correct it")
    return np.array([named.get(e, 0.0) for e in evidences])


def evidence_dropout(present: np.ndarray, rows: np.ndarray, probability: np.ndarray, evidences: tuple[str, ...], seed: int, epoch: int) -> np.ndarray:
    """Which evidences of each row are kept in an epoch.

    A row's evidence is dropped when u < p with u from a stream of (seed, epoch, evidence) at the row's place. Where all that a row has would be
    dropped, the one with the largest u is kept: training never takes everything away from a row that has something.

    Args:
        present: bool (n, M), of all cohort rows.
        rows: i64 (B,).
        probability: f64 (M,).
        evidences: M names.
        seed: the run's.
        epoch: from 0.

    Returns:
        bool (B, M).
    """
    if not probability.any():
        return np.ones((len(rows), len(evidences)), dtype=bool)
    u = np.stack([numpy_stream("evidence-dropout", seed, epoch, zlib.crc32(e.encode())).random(len(present))[rows] for e in evidences], axis=1)
    keep = u >= probability
    has = present[rows]
    bare = has.any(1) & ~(has & keep).any(1)
    keep[bare, np.where(has, u, -1.0).argmax(1)[bare]] = True
    return keep


@final
class BatchOrder(Sampler[Item]):
    """Yields an epoch's batches as arrays of rows. Lightning tells it the epoch; after an interruption it starts inside one.

    Args:
        rows: i64, train rows.
        batch_size: at most.
        seed: the run's.
        start_epoch: the epoch in which training starts.
        start_batch: batches of that epoch that are done: they come as no rows, so that every epoch has the same length.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int, start_epoch: int = 0, start_batch: int = 0) -> None:
        self._rows, self._batch_size, self._seed = rows, batch_size, seed
        self._start_epoch, self._start_batch = start_epoch, start_batch
        self._epoch = start_epoch

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning with the number of epochs that it has run."""
        self._epoch = self._start_epoch + epoch

    def __len__(self) -> int:
        return max(-(-self._rows.size // self._batch_size), 1)

    def __iter__(self) -> Iterator[Item]:
        done = self._start_batch if self._epoch == self._start_epoch else 0
        for i, rows in enumerate(epoch_batches(self._rows, self._batch_size, self._seed, self._epoch)):
            yield self._epoch, rows[:0] if i < done else rows


@final
class InOrder(Sampler[Item]):
    """Yields rows in their own order (selection)."""

    def __init__(self, rows: np.ndarray, batch_size: int) -> None:
        self._chunks = chunks(rows, batch_size)

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Item]:
        return ((0, rows) for rows in self._chunks)


class Fetch(ABC):
    """Makes the batches of given rows; a pure function of its arguments, as everything here."""

    @abstractmethod
    def train(self, rows: np.ndarray, epoch: int) -> Batch | Rewound:
        """As training sees these rows in an epoch. No rows: a batch of size 0."""

    @abstractmethod
    def select(self, rows: np.ndarray) -> Batch | Rewound:
        """As selection sees them, alike in every epoch."""


@final
class FetchRows(Fetch):
    """Rows with their outcomes; in training some evidences are dropped.

    Args:
        batches: of the cohort, with targets.
        dropout: f64 (M,), probability of dropping each evidence of a train row.
        seed: the member's.
    """

    def __init__(self, batches: Batches, *, dropout: np.ndarray, seed: int) -> None:
        self._batches, self._dropout, self._seed = batches, dropout, seed

    def train(self, rows: np.ndarray, epoch: int) -> Batch:
        if not rows.size:
            return self._batches.nothing()
        return self._batches(rows, evidence_dropout(self._batches.present, rows, self._dropout, self._batches.evidences, self._seed, epoch))

    def select(self, rows: np.ndarray) -> Batch:
        return self._batches(rows)


class _Fetched(Dataset[Batch | Rewound]):
    """A batch is fetched as a batch: the index is (epoch, rows)."""

    def __init__(self, fetch: Fetch, *, training: bool) -> None:
        self._fetch, self._training = fetch, training

    def __getitem__(self, item: Item) -> Batch | Rewound:
        epoch, rows = item
        return self._fetch.train(rows, epoch) if self._training else self._fetch.select(rows)


@final
class CohortData(pl.LightningDataModule):
    """Train and select batches of one cohort.

    Args:
        fetch: makes the batches.
        train: i64, train rows.
        select: i64, select rows; none for no selection.
        batch_size: rows in a train batch, at most.
        select_batch_size: rows in a select batch, at most.
        seed: the member's.
        num_workers: processes that fetch batches; they change nothing in the result.
        pin_memory: for an accelerator.
    """

    def __init__(
        self,
        fetch: Fetch,
        train: np.ndarray,
        select: np.ndarray,
        *,
        batch_size: int,
        select_batch_size: int,
        seed: int,
        num_workers: int,
        pin_memory: bool,
    ) -> None:
        super().__init__()
        self._fetch, self._train, self._select, self._seed = fetch, train, select, seed
        self._batch_size, self._select_batch_size = batch_size, select_batch_size
        self._num_workers, self._pin_memory = num_workers, pin_memory
        self._start = (0, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Training goes on with this batch of this epoch."""
        self._start = (epoch, batch)

    @property
    def n_batches(self) -> int:
        """Batches of an epoch."""
        return len(BatchOrder(self._train, self._batch_size, self._seed))

    @property
    def n_select_rows(self) -> int:
        return int(self._select.size)

    def first_batch(self) -> Batch | Rewound:
        """The first batch of the first epoch, as training gets it."""
        item = next(iter(BatchOrder(self._train, self._batch_size, self._seed)))
        return _Fetched(self._fetch, training=True)[item]

    def train_dataloader(self) -> DataLoader[Batch | Rewound]:
        return self._loader(_Fetched(self._fetch, training=True), BatchOrder(self._train, self._batch_size, self._seed, *self._start))

    def val_dataloader(self) -> list[DataLoader[Batch | Rewound]]:
        if not self._select.size:
            return []
        return [self._loader(_Fetched(self._fetch, training=False), InOrder(self._select, self._select_batch_size))]

    def _loader(self, data: _Fetched, order: Sampler[Item]) -> DataLoader[Batch | Rewound]:
        # Forked workers share the cohort's mapped arrays; a spawned one would be sent a copy of them.
        workers: dict[str, Any] = {"multiprocessing_context": "fork", "persistent_workers": True} if self._num_workers else {}
        return DataLoader(data, batch_size=None, sampler=order, num_workers=self._num_workers, pin_memory=self._pin_memory, collate_fn=_as_it_is, **workers)


def _as_it_is(batch: Any) -> Any:
    return batch

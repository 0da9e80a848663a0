"""One model's answers on the rows where they can be judged: what an endpoint reads."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from equipoise.trial.protocol import Protocol
from equipoise.trial.rows import Forecasts, Rows

Pooling = Literal["within_fold", "pooled"]


@dataclass(frozen=True)
class Sample:
    """Rows with an observed outcome and a risk. Arrays as in `Rows` and `Forecasts`, all finite where the endpoint needs them.

    Args:
        protocol: thresholds and the like.
        labels: L values of the ``target`` column.
        score: f64 (n,), doubly robust scores of a treatment effect, the same for all models; else empty.
    """

    protocol: Protocol
    kind: str
    labels: tuple[str, ...]
    risk: np.ndarray
    total: np.ndarray
    outcome: np.ndarray
    time: np.ndarray
    event: np.ndarray
    entry: np.ndarray
    treatment: np.ndarray
    propensity: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    cluster: np.ndarray
    site: np.ndarray
    subject: np.ndarray
    repeat: np.ndarray
    fold: np.ndarray

    @classmethod
    def of(cls, rows: Rows, forecasts: Forecasts, where: np.ndarray, protocol: Protocol, propensity: np.ndarray, score: np.ndarray) -> Self:
        """The rows where ``where`` (bool (n,)) is True."""
        at = np.flatnonzero(where)
        of_rows = {name: getattr(rows, name)[at] for name in _OF_ROWS}
        if rows.kind == "time_to_event" and protocol.competing == "censor":
            of_rows["event"] = np.where(of_rows["event"] > 1, 0, of_rows["event"])
        return cls(
            protocol=protocol,
            kind=rows.kind,
            labels=rows.labels,
            risk=forecasts.risk[at],
            total=forecasts.total[at],
            propensity=propensity[at],
            score=score[at] if score.size else score,
            **of_rows,
        )

    @property
    def size(self) -> int:
        return int(self.risk.shape[0])

    @property
    def y(self) -> np.ndarray:
        """The outcome of a question with one label, f64 (n,)."""
        return self.outcome[:, 0]

    @property
    def p(self) -> np.ndarray:
        """The risk, or predicted mean, of a question with one label, f64 (n,)."""
        return self.risk[:, 0]

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation of the prediction of a question with one label, f64 (n,)."""
        return np.sqrt(self.total[:, 0])

    @cached_property
    def weighted(self) -> bool:
        """Whether rows have analysis weights."""
        return bool((self.weight != 1).any())

    @cached_property
    def n_clusters(self) -> int:
        """How many clusters have a row here."""
        return int(np.unique(self.cluster).size)

    @cached_property
    def site_number(self) -> np.ndarray:
        """Numbers of the distinct sites, i64 (n,)."""
        return np.unique(self.site, return_inverse=True)[1]

    @property
    def clustered(self) -> bool:
        """Whether some cluster has several rows."""
        return self.n_clusters < self.size

    @cached_property
    def crossed(self) -> bool:
        """Whether the rows come from several folds, each with a model of its own."""
        return len(self.parts("within_fold")) > 1

    @cached_property
    def _parts(self) -> dict[Pooling, tuple[tuple[np.ndarray, Sample], ...]]:
        by: dict[Pooling, np.ndarray] = {"within_fold": np.stack([self.repeat, self.fold]), "pooled": self.repeat[None]}
        made: dict[Pooling, tuple[tuple[np.ndarray, Sample], ...]] = {}
        for pooling, key in by.items():
            group = np.unique(key, axis=1, return_inverse=True)[1].reshape(-1)
            every = [np.flatnonzero(group == g) for g in range(int(group.max(initial=-1)) + 1)]
            made[pooling] = ((np.arange(self.size), self),) if len(every) == 1 else tuple((at, self.take(at)) for at in every)
        return made

    def parts(self, pooling: Pooling) -> tuple[tuple[np.ndarray, Sample], ...]:
        """The row numbers and the sample of each fold of each repeat, or of each repeat as a whole."""
        return self._parts[pooling]

    def take(self, at: np.ndarray) -> Sample:
        """These rows only."""
        arrays: dict[str, Any] = {f.name: _taken(getattr(self, f.name), at) for f in fields(self) if f.name not in ("protocol", "kind", "labels")}
        return replace(self, **arrays)


_OF_ROWS = ("outcome", "time", "event", "entry", "treatment", "weight", "cluster", "site", "subject", "repeat", "fold")


def _taken(array: np.ndarray, at: np.ndarray) -> np.ndarray:
    return array[at] if array.shape[0] else array

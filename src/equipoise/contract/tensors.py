"""What passes between the rooms in memory: parts, tokens, draws, targets, batches. Packed, never padded.

B rows of a batch; P of them have the evidence of a view ("present"); N events; F numbers; C categories; V variants; M evidences;
S draws; K distribution parameters; D width. Two words for missing are never mixed: *present* (does this row have the evidence) and
*observed* (was this value measured).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import polars as pl  # of annotations alone: who trains on tensors needs no tables


class _Movable:
    """Moves every tensor of a frozen dataclass, nested ones included (Lightning calls `to` and `pin_memory` on a batch)."""

    def _each(self, method: str, *args: Any, **kwargs: Any) -> Self:
        def move(value: Any) -> Any:
            if isinstance(value, Tensor | _Movable):
                return getattr(value, method)(*args, **kwargs)
            if isinstance(value, dict):
                return {k: move(v) for k, v in value.items()}
            return value

        return replace(self, **{f.name: move(getattr(self, f.name)) for f in fields(self)})  # type: ignore[arg-type, type-var]

    def to(self, *args: Any, **kwargs: Any) -> Self:
        return self._each("to", *args, **kwargs)

    def pin_memory(self) -> Self:
        return self._each("pin_memory")


@dataclass(frozen=True)
class Part(_Movable):
    """The content of one view for the rows of a batch. A closed family: `Events`, `Vector`, `Genotypes`.

    Args:
        rows: i64 (P,), strictly increasing: which rows of the batch are present.
        size: B, so that an encoder can return offsets for all rows of the batch.
    """

    rows: Tensor
    size: int


@dataclass(frozen=True)
class Events(Part):
    """Event sequences, packed: row ``rows[p]`` owns events ``offsets[p]:offsets[p+1]``, statics first, then oldest to newest.

    Args:
        code: i32 (N,), 0 = a code not seen in training.
        value: f32 (N,), standardised by the view; 0 where not observed.
        observed: bool (N,), whether the event carries a value.
        time_days: f32 (N,), days before the prediction time, >= 0; 0 for statics.
        timed: bool (N,), False for statics.
        offsets: i64 (P+1,). A present row without events has an empty segment.
        longest: events of the longest row, or more, known to the host; None = not known, and an accelerator is asked once a batch.
    """

    code: Tensor
    value: Tensor
    observed: Tensor
    time_days: Tensor
    timed: Tensor
    offsets: Tensor
    longest: int | None = None


@dataclass(frozen=True)
class Vector(Part):
    """Numbers and categories: biomarkers, lifestyle, omics, clinical, summaries.

    Args:
        value: f32 (P, F), standardised by the view; 0 where not observed.
        observed: bool (P, F).
        category: i32 (P, C), 0 = missing or a level not seen in training.
    """

    value: Tensor
    observed: Tensor
    category: Tensor


ALL_MISSING = 0b01010101
"""Four missing calls in a byte of PLINK's code: an encoder reads them as the train mean."""


@dataclass(frozen=True)
class Genotypes(Part):
    """Hard calls in PLINK's 2-bit code, four variants a byte, lowest bits first: 0 = two copies of the counted allele, 1 = missing, 2 = one, 3 = none.

    Args:
        packed: u8 (P, ceil(V/4)).
        n_variants: V.
    """

    packed: Tensor
    n_variants: int


@dataclass(frozen=True)
class EventsSpec:
    """What a fitted Events view tells an encoder: ``n_codes`` counts code 0."""

    n_codes: int


@dataclass(frozen=True)
class VectorSpec:
    """What a fitted Vector view tells an encoder.

    Args:
        n_values: F.
        cardinalities: per category column, its number of levels, code 0 included.
        edges: f32 (F, Q+1), increasing train-row quantiles of each standardised value (for piecewise-linear embeddings).
        groups: name -> i64, increasing numbers in [0, F) of the values in this group, one at least; empty where the view knows no groups.
    """

    n_values: int
    cardinalities: tuple[int, ...]
    edges: np.ndarray
    groups: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class GenotypesSpec:
    """What a fitted Genotypes view tells an encoder. What only some encoders need is None where the view was not asked for it.

    Args:
        n_variants: V.
        mean: f32 (V,), mean of the counted allele's copies over train rows.
        sd: f32 (V,), their standard deviation; 0 for a variant that does not vary in the train rows, which must contribute nothing.
        variants: columns chromosome, variant_id, position (0 or null = not known), counted_allele, other_allele; V lines in the calls' order.
        landmarks: u8 (m, ceil(V/4)), packed calls of train people, for kernels.
        genes: columns variant (Int64, 0 to V-1), gene (String), pathway (String or null); a line a variant, gene and pathway.
        scores: f32 (S, V), fixed weights of standardised calls, whose sum has mean 0 and standard deviation 1 over train rows.
    """

    n_variants: int
    mean: np.ndarray
    sd: np.ndarray
    variants: pl.DataFrame | None = None
    landmarks: np.ndarray | None = None
    genes: pl.DataFrame | None = None
    scores: np.ndarray | None = None


Spec = EventsSpec | VectorSpec | GenotypesSpec


@dataclass(frozen=True)
class Tokens(_Movable):
    """What an encoder makes of a part, packed by batch row.

    Args:
        h: f32 (N', D).
        offsets: i64 (B+1,): row b owns tokens ``offsets[b]:offsets[b+1]``; none for an absent row, at least one for a present row.
    """

    h: Tensor
    offsets: Tensor


@dataclass(frozen=True)
class Draws(_Movable):
    """Draws of distribution parameters: f32 (S, B, K). Draw s is one weight sample (or mask, or ensemble member) shared by all rows."""

    value: Tensor


@dataclass(frozen=True)
class Target(_Movable):
    """Outcomes of one task for the rows of a batch; defaults are filled, never None. Columns as in `contract.tables.TARGET`, each (B,).

    ``pseudo`` f32 (B,) is a pseudo-outcome of a treatment's effect, from nuisances fitted on other rows, NaN where there is none; ``pseudo_weight``
    f32 (B,) >= 0 is the weight of its squared error, 1 where there is none (see `stats.pseudo_outcomes`).
    """

    outcome: Tensor
    observed: Tensor
    time_days: Tensor
    event: Tensor
    entry_days: Tensor
    treatment: Tensor
    weight: Tensor
    pseudo: Tensor
    pseudo_weight: Tensor


@dataclass(frozen=True)
class Batch(_Movable):
    """B rows of a cohort.

    Args:
        parts: by view name.
        present: bool (B, M), evidences in the network's order, after evidence dropout or masking.
        targets: by task name; empty when predicting people without outcomes.
        row_id: i64 (B,).
    """

    parts: dict[str, Part]
    present: Tensor
    targets: dict[str, Target]
    row_id: Tensor

    @property
    def size(self) -> int:
        return int(self.row_id.shape[0])


@dataclass(frozen=True)
class Future(_Movable):
    """What came after the moment at which each of B rows stands, for pretexts.

    Args:
        code: i32 (M,), 0 = a code not seen in training; row b owns events ``offsets[b]:offsets[b+1]``, oldest first.
        days: f32 (M,), since the moment, > 0; equal for events of one time.
        offsets: i64 (B+1,).
        followed_days: f32 (B,), from the moment to the end of what is known, > 0: nothing later can be said not to have happened.
    """

    code: Tensor
    days: Tensor
    offsets: Tensor
    followed_days: Tensor


@dataclass(frozen=True)
class Rewound(_Movable):
    """B rows as they stood at earlier moments of their own, and what came after: the batch of a pretext.

    Args:
        part: what had happened; times are days before the moment. Every row is present.
        future: what had not.
    """

    part: Events
    future: Future

    @property
    def size(self) -> int:
        return int(self.future.followed_days.shape[0])


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator with this seed (see `contract.counter.stream_seed`)."""
    return torch.Generator(device=device).manual_seed(seed)

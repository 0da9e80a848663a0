"""Random parts and tokens with their specs, and what may be done to them without changing their meaning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from equipoise.contract.counter import numpy_stream
from equipoise.contract.packed import lengths, offsets_of
from equipoise.contract.tensors import Events, EventsSpec, Genotypes, GenotypesSpec, Part, Spec, Tokens, Vector, VectorSpec
from equipoise.modality.calls import pack, unpack

N_CODES, N_VALUES, CARDINALITIES, N_VARIANTS, N_LANDMARKS = 7, 5, (3, 4), 21, 6


def random_part(kind: type[Part], *, size: int, seed: int, absent: tuple[int, ...] = ()) -> tuple[Part, Spec]:
    """A part of this kind with ``size`` rows, those in ``absent`` missing, and the spec of the view it could come from.

    Some values are not observed, some calls missing; of events the first present row has none, the second statics only.
    """
    rng = numpy_stream("random-part", seed, size)
    rows = torch.tensor([r for r in range(size) if r not in absent], dtype=torch.int64)
    if kind is Events:
        return _events(rng, rows, size), EventsSpec(N_CODES)
    if kind is Vector:
        return _vector(rng, rows, size), _vector_spec(rng)
    return _genotypes(rng, rows, size), _genotypes_spec(rng)


def _events(rng: np.random.Generator, rows: Tensor, size: int) -> Events:
    n_rows = rows.shape[0]
    timed = rng.integers(1, 9, n_rows)
    static = rng.integers(0, 3, n_rows)
    timed[:2], static[:2] = 0, (0, 2)[:n_rows]
    is_timed = np.concatenate([np.zeros(0, bool), *[np.repeat([False, True], [s, t]) for s, t in zip(static, timed, strict=True)]])
    days = np.concatenate([np.zeros(0), *[np.r_[np.zeros(s), np.sort(rng.exponential(30, t))[::-1]] for s, t in zip(static, timed, strict=True)]])
    observed = rng.random(is_timed.size) < 0.6
    return Events(
        rows=rows,
        size=size,
        code=torch.from_numpy(rng.integers(0, N_CODES, is_timed.size).astype(np.int32)),
        value=torch.from_numpy(np.where(observed, rng.standard_normal(is_timed.size), 0).astype(np.float32)),
        observed=torch.from_numpy(observed),
        time_days=torch.from_numpy(days.astype(np.float32)),
        timed=torch.from_numpy(is_timed),
        offsets=offsets_of(torch.from_numpy((static + timed).astype(np.int64))),
    )


def _vector(rng: np.random.Generator, rows: Tensor, size: int) -> Vector:
    shape = (rows.shape[0], N_VALUES)
    observed = rng.random(shape) < 0.7
    category = np.stack([rng.integers(0, c, shape[0]) for c in CARDINALITIES], 1)
    return Vector(
        rows=rows,
        size=size,
        value=torch.from_numpy(np.where(observed, rng.standard_normal(shape), 0).astype(np.float32)),
        observed=torch.from_numpy(observed),
        category=torch.from_numpy(category.astype(np.int32)),
    )


def _vector_spec(rng: np.random.Generator) -> VectorSpec:
    edges = np.sort(rng.standard_normal((N_VALUES, 5)), 1).astype(np.float32)
    edges[0, 1:3] = edges[0, 1]  # a bin without width: many equal train values
    # Groups that share a value, and a value (3) that is in none.
    return VectorSpec(N_VALUES, CARDINALITIES, edges, {"first": np.array([0, 1]), "second": np.array([1, 2, 4])})


def _allele_moments() -> tuple[np.ndarray, np.ndarray]:
    frequency = np.linspace(0.1, 0.9, N_VARIANTS)
    sd = np.sqrt(2 * frequency * (1 - frequency))
    sd[3] = 0.0  # does not vary in the train rows
    return (2 * frequency).astype(np.float32), sd.astype(np.float32)


def _genotypes_spec(rng: np.random.Generator) -> GenotypesSpec:
    """With all that any encoder may need: two chromosomes out of order, people to compare with, genes, of which some share a variant, and scores."""
    number = np.arange(N_VARIANTS)
    variants = pl.DataFrame(
        {
            "chromosome": np.where(number % 3 == 0, "2", "1").tolist(),
            "variant_id": [f"rs{i}" for i in number],
            "position": (100_000 * (number * 8 % N_VARIANTS + 1)).tolist(),
            "counted_allele": ["A"] * N_VARIANTS,
            "other_allele": ["G"] * N_VARIANTS,
        }
    )
    people = pack(rng.integers(0, 4, (N_LANDMARKS, N_VARIANTS)).astype(np.uint8))
    genes = pl.DataFrame({"variant": [0, 1, 2, 2, 5, 9, 20], "gene": ["a", "a", "a", "b", "b", "c", "d"], "pathway": ["p", "p", "p", "q", "q", "p", None]})
    scores = rng.standard_normal((2, N_VARIANTS)).astype(np.float32) / 4
    mean, sd = _allele_moments()
    return GenotypesSpec(N_VARIANTS, mean, sd, variants=variants, landmarks=people, genes=genes, scores=scores)


def _genotypes(rng: np.random.Generator, rows: Tensor, size: int) -> Genotypes:
    call = rng.integers(0, 4, (rows.shape[0], N_VARIANTS)).astype(np.uint8)
    return Genotypes(rows=rows, size=size, packed=torch.from_numpy(pack(call)), n_variants=N_VARIANTS)


def taken(part: Part, rows: list[int]) -> Part:
    """The same rows in another batch: batch row i is row ``rows[i]`` of the part's batch."""
    place = {int(r): p for p, r in enumerate(part.rows)}
    there = [i for i, r in enumerate(rows) if r in place]
    at = torch.tensor([place[rows[i]] for i in there], dtype=torch.int64)
    found: dict[str, Any] = {"rows": torch.tensor(there, dtype=torch.int64), "size": len(rows)}
    match part:
        case Events():
            event = torch.cat([torch.zeros(0, dtype=torch.int64), *[torch.arange(int(part.offsets[p]), int(part.offsets[p + 1])) for p in at]])
            fields = {k: getattr(part, k)[event] for k in ("code", "value", "observed", "time_days", "timed")}
            return replace(part, **found, **fields, offsets=offsets_of(lengths(part.offsets)[at]))
        case Vector():
            return replace(part, **found, value=part.value[at], observed=part.observed[at], category=part.category[at])
        case Genotypes():
            return replace(part, **found, packed=part.packed[at])
    raise TypeError(type(part).__name__)


def unobserved_changed(part: Part) -> Part:
    """The same content with other numbers where nothing was observed, and other bits behind the last variant."""
    match part:
        case Events() | Vector():
            return replace(part, value=torch.where(part.observed, part.value, torch.full_like(part.value, float("nan"))))
        case Genotypes():
            packed = part.packed.clone()
            packed[:, -1] |= 0xFF << 2 * ((part.n_variants - 1) % 4 + 1) & 0xFF
            return replace(part, packed=packed)
    raise TypeError(type(part).__name__)


def contents(part: Part) -> dict[int, tuple[bytes, ...]]:
    """Batch row -> everything that the part holds of it, comparable with ``==``."""
    out = {}
    for p, row in enumerate(part.rows.tolist()):
        match part:
            case Events():
                own = slice(int(part.offsets[p]), int(part.offsets[p + 1]))
                held = [getattr(part, k)[own] for k in ("code", "value", "observed", "time_days", "timed")]
            case Vector():
                held = [part.value[p], part.observed[p], part.category[p]]
            case Genotypes():
                held = [torch.from_numpy(unpack(part.packed[p : p + 1].numpy(), part.n_variants))]
            case _:
                raise TypeError(type(part).__name__)
        out[row] = tuple(x.numpy().tobytes() for x in held)
    return out


def row_tokens(tokens: Tokens, row: int) -> Tensor:
    """The tokens of one batch row."""
    return tokens.h[int(tokens.offsets[row]) : int(tokens.offsets[row + 1])]


def random_tokens(*, size: int, width: int, seed: int, absent: tuple[int, ...] = (), most: int = 3) -> Tokens:
    """One to ``most`` tokens for each row that is not absent."""
    rng = numpy_stream("random-tokens", seed, size)
    count = rng.integers(1, most + 1, size)
    count[list(absent)] = 0
    return Tokens(torch.from_numpy(rng.standard_normal((int(count.sum()), width)).astype(np.float32)), offsets_of(torch.from_numpy(count.astype(np.int64))))

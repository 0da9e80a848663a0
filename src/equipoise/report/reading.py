"""Reads results that may be incomplete: a missing key is None, never an exception."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from equipoise.report.text import finite


def dig(tree: object, *keys: str) -> Any:
    """The value under nested keys, or None where one of them is missing.

    >>> dig({"a": {"b": 1}}, "a", "b"), dig({"a": None}, "a", "b")
    (1, None)
    """
    for key in keys:
        if not isinstance(tree, Mapping) or key not in tree:
            return None
        tree = tree[key]
    return tree


def mapping(tree: object, *keys: str) -> Mapping[str, Any]:
    """The mapping under nested keys; empty where there is none."""
    found = dig(tree, *keys)
    return found if isinstance(found, Mapping) else {}


def lines(tree: object, *keys: str) -> list[Mapping[str, Any]]:
    """The list of mappings under nested keys; empty where there is none."""
    found = dig(tree, *keys)
    return [line for line in found if isinstance(line, Mapping)] if isinstance(found, list | tuple) else []


def array(tree: object, *keys: str) -> np.ndarray:
    """The list of numbers under nested keys as f64 (any shape), null as NaN; length 0 where there is none."""
    found = dig(tree, *keys)
    if not isinstance(found, Sequence) or isinstance(found, str):
        return np.empty(0)
    try:
        return np.array([[_or_nan(x) for x in row] if isinstance(row, list | tuple) else _or_nan(row) for row in found], dtype=np.float64)
    except ValueError:  # ragged: nothing that could be drawn
        return np.empty(0)


def _or_nan(value: object) -> float:
    x = finite(value)
    return np.nan if x is None else x


def columns(tree: object, *names: str) -> list[np.ndarray]:
    """Arrays of equal length by name; what is missing or of another length than the first becomes NaN."""
    first = array(tree, names[0])
    rest = [array(tree, n) for n in names[1:]]
    return [first, *[r if r.shape == first.shape else np.full(first.shape, np.nan) for r in rest]]


def level_of(results: Mapping[str, Any]) -> float:
    """The two-sided level of the intervals, from the protocol; 0.95 where it says none."""
    level = finite(dig(results, "protocol", "level"))
    return level if level is not None and 0 < level < 1 else 0.95

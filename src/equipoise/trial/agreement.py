"""Holds what was written down against what was computed again, leaf by leaf."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TOLERANCE = 1e-9
"""Relative difference up to which a recomputed number is the same one: other builds of numpy add in another order. Three orders below any printed digit."""

NEAR_ZERO = 1e-15
"""Numbers that differ by less are the same one too: what is 0 in theory is left by rounding as some 1e-17."""

ABSENT = "nothing"


@dataclass(frozen=True)
class Difference:
    """One place where two records differ.

    Args:
        where: file and place in it.
        printed: what stands there.
        recomputed: what should.
    """

    where: str
    printed: str
    recomputed: str

    def __str__(self) -> str:
        return f"{self.where}: printed {self.printed}, recomputed {self.recomputed}"


@dataclass
class Agreement:
    """How two records agree.

    Args:
        value: the recomputed record, with the written number wherever both are the same within the tolerance.
        differences: where they are not the same.
        numbers: how many numbers were compared.
        largest: the largest relative difference within the tolerance.
    """

    value: Any = None
    differences: list[Difference] = field(default_factory=list)
    numbers: int = 0
    largest: float = 0.0


def agreement(printed: Any, recomputed: Any, file: str, *, tolerance: float = TOLERANCE) -> Agreement:
    """Compares two records of plain values.

    Args:
        printed: as read from the file.
        recomputed: what should stand there.
        file: the file's name, for `Difference.where`.
        tolerance: relative; 0 asks for equal numbers.

    >>> agreement({"a": [1.0, 2.0]}, {"a": [1.0, 2.5]}, "results.json").differences[0].where
    'results.json: a.1'
    """
    found = Agreement()
    found.value = _held(printed, recomputed, file, "", tolerance, found)
    return found


def _held(printed: Any, recomputed: Any, file: str, at: str, tolerance: float, found: Agreement) -> Any:
    if isinstance(printed, Mapping) and isinstance(recomputed, Mapping):
        for key in printed:
            if key not in recomputed:
                _differ(found, file, _below(at, key), printed[key], ABSENT)
        return {key: _one(printed, key, value, file, _below(at, key), tolerance, found) for key, value in recomputed.items()}
    if isinstance(printed, list) and isinstance(recomputed, list):
        if len(printed) != len(recomputed):
            _differ(found, file, at, f"{len(printed)} entries", f"{len(recomputed)} entries")
            return recomputed
        return [_held(a, b, file, _below(at, i), tolerance, found) for i, (a, b) in enumerate(zip(printed, recomputed, strict=True))]
    if _number(printed) and _number(recomputed):
        found.numbers += 1
        if printed == recomputed:
            return printed
        if tolerance and math.isclose(printed, recomputed, rel_tol=tolerance, abs_tol=NEAR_ZERO):
            found.largest = max(found.largest, abs(printed - recomputed) / max(abs(printed), abs(recomputed)))
            return printed
    elif type(printed) is type(recomputed) and printed == recomputed:
        return printed
    _differ(found, file, at, printed, recomputed)
    return recomputed


def _one(printed: Mapping[str, Any], key: str, value: Any, file: str, at: str, tolerance: float, found: Agreement) -> Any:
    if key not in printed:
        _differ(found, file, at, ABSENT, value)
        return value
    return _held(printed[key], value, file, at, tolerance, found)


def _below(at: str, key: object) -> str:
    return f"{at}.{key}" if at else str(key)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _differ(found: Agreement, file: str, at: str, printed: Any, recomputed: Any) -> None:
    found.differences.append(Difference(f"{file}: {at}" if at else file, short(printed), short(recomputed)))


def short(value: Any) -> str:
    """A value on one line."""
    text = "null" if value is None else str(value)
    text = " ".join(text.split())
    return text if len(text) <= 90 else f"{text[:87]}..."

"""Units and ranges: values are brought to one declared unit, and impossible ones are dropped and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from equipoise.contract.errors import UserError

Ranges = Mapping[str, Sequence[float | None]]
Conversions = Mapping[str, Mapping[str, Any]]
"""Per code or column: unit as found -> factor, or [factor, offset], that gives the declared unit."""


def bounds(ranges: Ranges, of: str) -> dict[str, tuple[float, float]]:
    """Declared ranges as (lowest, highest) possible values.

    Raises:
        UserError: a range is not a pair of numbers (null for open) in order.
    """
    found = {}
    for name, pair in ranges.items():
        try:
            lo, hi = ((-np.inf if pair[0] is None else float(pair[0])), (np.inf if pair[1] is None else float(pair[1])))
            right = len(pair) == 2 and lo <= hi
        except (TypeError, ValueError, IndexError, KeyError):
            right = False
        if not right:
            raise UserError(f"Range {pair!r} of {name!r} in {of}", expected="[lowest, highest], null where open", mend="correct the range")
        found[name] = (lo, hi)
    return found


def drop_impossible(value: np.ndarray, kind: np.ndarray, names: Sequence[str], ranges: Ranges, of: str) -> dict[str, dict[str, int]]:
    """Sets impossible and infinite values to NaN, in place.

    Args:
        value: f32 or f64 (N,). Bounds are compared in its own precision, so that a value equal to a bound stays.
        kind: integer (N,), which of ``names`` each value is of.
        names: codes or columns.
        ranges: declared ranges.
        of: how errors call the ranges.

    Returns:
        For each name with dropped values ``{"below": ., "above": ., "infinite": ., "values": .}``, the last the number of values before.
    """
    declared = bounds(ranges, of)
    low = np.array([declared.get(n, (-np.inf, np.inf))[0] for n in names], value.dtype)
    high = np.array([declared.get(n, (-np.inf, np.inf))[1] for n in names], value.dtype)
    infinite = np.isinf(value)
    finite = np.isfinite(value)
    below = finite & (value < low[kind])
    above = finite & (value > high[kind])
    count = {k: np.bincount(kind[m], minlength=len(names)) for k, m in (("below", below), ("above", above), ("infinite", infinite))}
    total = np.bincount(kind[finite | infinite], minlength=len(names))
    value[below | above | infinite] = np.nan
    dropped = sum(count.values())
    return {names[i]: {**{k: int(c[i]) for k, c in count.items()}, "values": int(total[i])} for i in np.flatnonzero(dropped).tolist()}


def conversion(given: Any, of: str) -> tuple[float, float]:
    """(factor, offset) of a declared conversion: a number, or [factor, offset]."""
    try:
        factor, offset = (float(given[0]), float(given[1])) if isinstance(given, list | tuple) else (float(given), 0.0)
    except (TypeError, ValueError, IndexError) as e:
        raise UserError(f"Conversion {given!r} of {of}", expected="a factor, or [factor, offset]", mend="correct the conversion") from e
    return factor, offset


def to_unit(value: np.ndarray, unit: np.ndarray, declared: str, conversions: Mapping[str, Any], of: str) -> tuple[str, dict[str, int]]:
    """Brings the values of one code or column to one unit, in place; a value in a unit that cannot be converted is dropped and counted.

    Args:
        value: float (N,), NaN where missing.
        unit: object (N,) of str, None where the source does not say: then the declared unit is taken.
        declared: the unit to have; "" takes the commonest.
        conversions: unit -> factor or [factor, offset].
        of: how errors call it.

    Returns:
        The unit, and counts ``{"converted": ., "unit_missing": ., "unit_unknown": .}`` of values, those above 0 only.
    """
    has = np.isfinite(value)
    said = np.array([u for u in unit[has] if u is not None], dtype=str)
    known, often = np.unique(said, return_counts=True)
    want = declared or (str(known[np.argmax(often)]) if known.size else "")
    counts = {"converted": 0, "unit_missing": int(has.sum() - said.size) if known.size else 0, "unit_unknown": 0}
    for found in known.tolist():
        if found == want:
            continue
        here = has & (unit == found)
        if found in conversions:
            factor, offset = conversion(conversions[found], of)
            value[here] = value[here] * factor + offset
            counts["converted"] += int(here.sum())
        else:
            value[here] = np.nan
            counts["unit_unknown"] += int(here.sum())
    return want, {k: v for k, v in counts.items() if v}

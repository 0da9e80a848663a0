"""Units of a new cohort against those of the training cohort: a difference is never used silently."""

from __future__ import annotations

Conversions = dict[str, dict[str, float]]
"""``{column or code: {unit: factor}}``: what was given in ``unit`` is multiplied by ``factor`` to be in the training unit."""


def factor(name: str, unit: str, expected: str, conversions: Conversions) -> float | None:
    """What to multiply a new cohort's values with.

    Args:
        name: column or code.
        unit: its unit in the new cohort, "" where not stated.
        expected: its unit in the training cohort, "" where not stated.
        conversions: declared factors.

    Returns:
        The factor; None when the units differ and no conversion is declared: the values must then count as not observed.
        Where either side states no unit nothing can be compared, and the values are taken as they are (the reader says so in its notes).

    >>> factor("glucose", "mg/dL", "mmol/L", {"glucose": {"mg/dL": 0.0555}})
    0.0555
    >>> factor("glucose", "mg/dL", "mmol/L", {}) is None
    True
    """
    if unit == expected:
        return 1.0
    if unit in conversions.get(name, {}):
        return float(conversions[name][unit])
    return 1.0 if "" in (unit, expected) else None

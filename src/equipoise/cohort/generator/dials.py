"""What all dials share: the generator's version, its evidences, its random streams and the check of a dial's range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from equipoise.contract.counter import numpy_stream
from equipoise.contract.errors import UserError

GENERATOR_VERSION = 1
"""Part of the cohort's fingerprint: raise it with every change of a mechanism."""

EVIDENCES: tuple[str, ...] = ("ehr", "genotype", "biomarker", "lifestyle", "clinical")
"""The evidences of a synthetic cohort, in the order of its presence columns."""


def stream(mechanism: str, seed: int) -> np.random.Generator:
    """The random stream of one mechanism, so that turning one dial does not change what other mechanisms draw.

    Args:
        mechanism: its name, unique in the generator.
        seed: the cohort's seed.
    """
    return numpy_stream(f"synthetic/{mechanism}", seed)


def require(dial: str, value: float, low: float, high: float) -> None:
    """Raises UserError unless low <= value <= high.

    Args:
        dial: its dotted place below ``cohort.``.
        value: what the config says.
        low: smallest value allowed.
        high: largest value allowed.
    """
    if not low <= value <= high:
        raise UserError(
            f"Config key cohort.{dial} is out of range", expected=f"a number from {low:g} to {high:g}", found=f"{value:g}", mend="set it in this range"
        )


def require_choice(dial: str, value: str, choices: Sequence[str]) -> None:
    """Raises UserError unless the value is one of the choices."""
    if value not in choices:
        raise UserError(f"Config key cohort.{dial} has an unknown value", expected=f"one of {', '.join(choices)}", found=value, mend="choose one of these")


def subset_name(evidences: Sequence[str] | frozenset[str]) -> str:
    """The name of a subset of evidences, as the truth files spell it.

    >>> subset_name(["genotype", "ehr"]), subset_name([])
    ('ehr+genotype', 'none')
    """
    unknown = set(evidences) - set(EVIDENCES)
    if unknown:
        raise ValueError(f"unknown evidences {sorted(unknown)}; there are {EVIDENCES}")
    return "+".join(e for e in EVIDENCES if e in evidences) or "none"


def all_subsets() -> tuple[tuple[str, ...], ...]:
    """The 32 subsets of the evidences, the empty one first, the full one last."""
    return tuple(tuple(e for i, e in enumerate(EVIDENCES) if mask >> i & 1) for mask in range(1 << len(EVIDENCES)))

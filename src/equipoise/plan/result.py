"""What a plan is: an answer, its tables, a curve, and what a protocol must say about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """Rows of printed cells; the first column is text."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Curve:
    """Lines over one axis.

    Args:
        caption: what is shown.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        lines: name -> (x, y), numbers of equal count.
        at: the planned place on the horizontal axis.
        shares: the vertical axis runs from 0 to 1.
    """

    caption: str
    x: str
    y: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    at: float
    shares: bool = False


@dataclass(frozen=True)
class Trial:
    """What the plan knows for the protocol of a trial, in sentences."""

    design: str
    outcome: str
    allocation: str
    unit: str
    analysis: str
    interim: str
    lost: str


@dataclass(frozen=True)
class Plan:
    """A finished plan.

    Args:
        title: what was planned.
        answer: the sentence that one came for.
        tables: the numbers behind it.
        curve: how they change.
        numbers: the same, unrounded, for plan.json.
        assumes: what must hold for the answer to be right, in sentences.
        sources: of the formulas.
        trial: for the protocol; None for a study of a model alone.
    """

    title: str
    answer: str
    tables: Sequence[Table]
    curve: Curve
    numbers: Mapping[str, Any]
    assumes: Sequence[str]
    sources: Sequence[str]
    trial: Trial | None = None


def criteria(needs: Mapping[str, tuple[int, str]]) -> tuple[str, int]:
    """The criterion that binds, and the people that it needs.

    Args:
        needs: criterion -> (people, what it asks).
    """
    binding = max(needs, key=lambda name: needs[name][0])
    return binding, needs[binding][0]


def criteria_table(needs: Mapping[str, tuple[int, str]]) -> Table:
    """One row a criterion; the one that binds says so."""
    binding, _ = criteria(needs)
    rows = [(name, asks, f"{n:,}", "binding" if name == binding else "") for name, (n, asks) in needs.items()]
    return Table("People that each criterion needs.", ("Criterion", "Asks for", "People", ""), rows)

"""A plan as text on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from equipoise.plan.result import Plan, Table

_WIDTH = 118


def command(kind: str, settings: Mapping[str, Any]) -> str:
    """The command line that gives this plan again, every key spelt out.

    >>> command("parallel", {"control": 0.4, "sd": None, "information": [0.5, 1]})
    'equipoise plan parallel control=0.4 sd=null information=[0.5,1]'
    """
    return " ".join([f"equipoise plan {kind}", *(f"{key}={shown(value)}" for key, value in settings.items())])


def shown(value: Any) -> str:
    """A setting as it is given on the command line."""
    return "null" if value is None else str(value).replace(" ", "")


def printed(kind: str, plan: Plan, settings: Mapping[str, Any], meaning: Mapping[str, str]) -> str:
    """Answer, tables, assumptions and sources.

    Args:
        kind: of the plan.
        plan: what was found.
        settings: of which.
        meaning: of each setting, from its yaml.
    """
    asked = Table("", ("Setting", "Value", "Meaning"), [(key, shown(value), meaning[key]) for key, value in settings.items()])
    blocks = [plan.title, "\n".join(_wrapped(plan.answer))]
    blocks += ["\n".join([table.caption, *_aligned(table)]) for table in plan.tables]
    blocks += ["\n".join(["Settings", *_aligned(asked)])]
    blocks += [
        "\n".join([head, *(line for said in lines for line in _wrapped(said, "- "))]) for head, lines in (("Assumes", plan.assumes), ("Sources", plan.sources))
    ]
    return "\n\n".join(blocks)


def _wrapped(text: str, first: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"  {first}", subsequent_indent="  " + " " * len(first))


def _aligned(table: Table) -> list[str]:
    rows: list[Sequence[str]] = [table.head, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.head))]
    lines = ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  " + "-" * min(_WIDTH, max(map(len, lines)) - 2), *lines[1:]]

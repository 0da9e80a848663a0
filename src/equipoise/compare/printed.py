"""The comparison's short table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report.finding import triple
from equipoise.report.text import digits_for, estimate, finite, p_value
from equipoise.trial.evaluate import in_words


def print_comparison(results: Mapping[str, Any]) -> None:
    """Prints, for each question, the primary endpoint of each way and its difference from the first, and what may be made of it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    for line in results["said"]:
        console.print(escape(f"{line}."), soft_wrap=True)
    for question in results["questions"]:
        tuning = question["role"] == "select"
        several = any(len(found["runs"]) > 1 for found in question["ways"].values())
        key, n = question["primary"], question["n"]["rows"]
        for line in question["said"]:
            console.print(escape(f"{line}."), soft_wrap=True)
        table = Table(title=escape(f"{question['task']}: {in_words(key)}, {n} {'select' if tuning else 'judged'} rows"), title_justify="left")
        table.add_column("", overflow="fold")
        for head in ("seeds", in_words(key), f"minus {question['reference']}", *([] if tuning else ["Holm p"]), *(["SD over seeds"] if several else [])):
            table.add_column(escape(head))
        for way, found in question["ways"].items():
            own = triple(found["endpoints"][key])
            entry = question["differences"].get(way, {}).get(key)
            change = triple(entry, "difference")
            shown = estimate(*change, digits_for(3, [change], signed=True), sign=True) if entry else "reference"
            p = [] if tuning else [p_value(entry["p_adjusted"]) if entry and finite(entry["p_adjusted"]) is not None else ""]
            sd = found["seeds"][key]["sd"]
            spread = ["" if sd is None else f"{sd:.2g}"] if several else []
            seeds = ", ".join(str(results["runs"][run]["seed"]) for run in found["runs"])
            table.add_row(escape(way), seeds, estimate(*own, digits_for(3, [own])), shown, *p, *spread)
        console.print(table)
    if results["role"] == "select":
        console.print("select rows only: tuning metrics, no claim; the held-out rows stay sealed", soft_wrap=True)
    else:
        console.print("no verdict: the best of several runs on these rows is optimistic (winner's curse)", soft_wrap=True)

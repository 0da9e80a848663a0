"""A reporting checklist as a table: each item points at where this run answers it, or says "not done" and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from equipoise.report.finding import Finding
from equipoise.report.reading import dig

NOT_DONE = "not done"
Answer = Callable[[Finding], str]
"""Where the item is answered, in words, or "" where it is not."""


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Args:
        number: as in the guideline, e.g. "12c".
        topic: its heading there.
        asks: what it asks for, in our words.
        answer: finds the place; None: software cannot know it, so the authors must write it (see ``statement``).
        statement: key of the run's ``statements`` that answers it, "" where there is none.
    """

    number: str
    topic: str
    asks: str
    answer: Answer | None = None
    statement: str = ""

    def answered(self, finding: Finding) -> tuple[bool, str]:
        """Whether this run answers it, and where; or "not done" with the reason."""
        said = dig(finding.context, "statements", self.statement) if self.statement else None
        place = self.answer(finding) if self.answer is not None else ""
        if said:
            return True, f"{said}{f' ({place})' if place else ''}"
        if place:
            return True, place
        if self.statement:
            return False, f"{NOT_DONE}: for the authors to say (statements.{self.statement})"
        return False, f"{NOT_DONE}: {'for the authors to write' if self.answer is None else 'this run holds nothing of it'}"


def checklist(title: str, lead: str, sections: Mapping[str, Sequence[Item]], finding: Finding) -> str:
    """The checklist as Markdown.

    Args:
        title: its name.
        lead: what it is, its source, and what it is not.
        sections: heading -> items.
        finding: the run.
    """
    answers = {item.number + heading: item.answered(finding) for heading, items in sections.items() for item in items}
    done, total = sum(ok for ok, _ in answers.values()), len(answers)
    lines = [
        f"# {title}",
        "",
        lead,
        "",
        f"{done} of {total} items are answered by an artefact of this run or by a statement of its authors; {total - done} are not done.",
        "",
    ]
    for heading, items in sections.items():
        lines += [f"## {heading}", "", "| item | topic | asks for | where |", "|---|---|---|---|"]
        lines += [f"| {i.number} | {i.topic} | {i.asks} | {_cell(answers[i.number + heading][1])} |" for i in items]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that cannot break a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")

"""The skeleton of a trial protocol by SPIRIT 2013 and SPIRIT-AI: every item is a heading; only what the plan knows is filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise import __version__
from equipoise.plan.printed import command
from equipoise.plan.result import Plan, Trial
from equipoise.plan.spirit_items import SECTIONS

TO_WRITE = "*To be written.*"


def skeleton(kind: str, plan: Plan, settings: Mapping[str, Any]) -> str:
    """The protocol as Markdown.

    Args:
        kind: of the plan.
        plan: of a trial.
        settings: that it was made of.

    Source: Chan et al. (2013); Cruz Rivera et al. (2020). The headings are our short words: the published checklists decide what an item asks.
    """
    if plan.trial is None:
        raise ValueError("a plan without a trial has no protocol")
    known = _known(plan, plan.trial, command(kind, settings))
    lines = [
        "# Protocol of a trial of an AI-supported arm",
        "",
        "Skeleton by SPIRIT 2013 (Chan et al., BMJ 2013;346:e7586) and SPIRIT-AI (Cruz Rivera et al., BMJ 2020;370:m3210),",
        f"made by `equipoise plan` {__version__}. The headings are in short words: the published checklists decide what an item asks.",
        f'Of {sum(len(items) for _, items in SECTIONS)} headings {len(known)} have text from the plan, none of it complete; the rest says "to be written".',
    ]
    for title, items in SECTIONS:
        lines += ["", f"## {title}"]
        for number, asks in items:
            lines += ["", f"### {number}. {asks}", "", *(_filled(known[number]) if number in known else [TO_WRITE])]
    return "\n".join(lines) + "\n"


def _filled(text: tuple[str, str]) -> list[str]:
    said, rest = text
    return [said, "", f"*To be written: {rest}.*"]


def _known(plan: Plan, trial: Trial, made_by: str) -> dict[str, tuple[str, str]]:
    """Item -> what the plan knows of it, and what it does not."""
    size = "\n".join([plan.answer, "", *(f"- {line}" for line in plan.assumes), f"- Made by `{made_by}`.", *(f"- {source}" for source in plan.sources)])
    return {
        "8": (trial.design, "why this design was chosen, and the framework if it is not superiority"),
        "12": (f"Primary outcome: {trial.outcome}", "the outcome's name, definition, time point and clinical relevance; secondary outcomes"),
        "14": (size, "where the assumed values come from, and why the planned effect matters to patients"),
        "16a": (f"Allocation {trial.allocation} The unit of randomisation is the {trial.unit}.", "how the sequence is made; stratification and blocks"),
        "20a": (f"Primary analysis that the sample size rests on: {trial.analysis}", "adjustment, model details, secondary outcomes, and the software"),
        "20c": (trial.lost, "the analysis population, and how missing outcomes are handled"),
        "21b": (trial.interim, "who sees interim results, and who decides to stop"),
    }

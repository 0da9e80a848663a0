"""The whole pack beside the page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from equipoise.record import fault
from equipoise.report.finding import Finding
from equipoise.report.markup import Numbering
from equipoise.report.pack.committee import committee
from equipoise.report.pack.model_card import model_card
from equipoise.report.pack.probast_ai import probast_ai
from equipoise.report.pack.tripod_ai import tripod_ai

log = logging.getLogger(__name__)
PARTS = {"committee.html": committee, "model_card.md": model_card, "tripod_ai.md": tripod_ai, "probast_ai.md": probast_ai}


def pack(results: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, str]:
    """File name -> text, of the first question; a run with several questions has the others in the page."""
    return {name: _safely(name, make, Finding(results, context, Numbering())) for name, make in PARTS.items()}


def _safely(name: str, make: Callable[[Finding], str], finding: Finding) -> str:
    """The text, or a word that it could not be made: one odd number must not cost a finished run its report."""
    try:
        return make(finding)
    except Exception as e:
        log.warning("report: %s could not be made (%s)", name, fault(e))
        return f"This file could not be made from the results ({type(e).__name__}).\n"

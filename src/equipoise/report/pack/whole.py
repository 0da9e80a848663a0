"""The whole pack beside the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report.finding import Finding
from equipoise.report.markup import Numbering
from equipoise.report.pack.committee import committee
from equipoise.report.pack.model_card import model_card
from equipoise.report.pack.probast_ai import probast_ai
from equipoise.report.pack.tripod_ai import tripod_ai

PARTS = {"committee.html": committee, "model_card.md": model_card, "tripod_ai.md": tripod_ai, "probast_ai.md": probast_ai}


def pack(results: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, str]:
    """File name -> text, of the first question; a run with several questions has the others in the page."""
    return {name: make(Finding(results, context, Numbering())) for name, make in PARTS.items()}

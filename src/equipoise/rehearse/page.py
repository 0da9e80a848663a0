"""A rehearsal as a page of its own and as lines for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from equipoise import __version__
from equipoise.report.document import document
from equipoise.report.markup import Numbering, facts, fold, paragraph, section, tag
from equipoise.report.rehearsal import answer, body, share


def page(found: Mapping[str, Any]) -> str:
    """The whole page, without scripts or outside references; the same rehearsal gives the same bytes.

    Args:
        found: rehearsal.json's content.
    """
    title = f"Rehearsal of {found['name']}"
    hashes = [(name.replace("_", " "), tag("code", found[f"{name}_hash"])) for name in ("cohort", "protocol", "config", "records")]
    parts = [
        tag(
            "header",
            paragraph("Equipoise rehearsal", kind="running"),
            tag("h1", title),
            paragraph(f"Finished {found['finished']}, hash {found['hash']}", kind="question"),
        ),
        section("What the protocol would say", *body(found, Numbering()), anchor="rehearsal"),
        section("Of what", facts(hashes), anchor="hashes"),
        fold("Settings", tag("pre", tag("code", json.dumps(found["settings"], indent=1)))),
        tag(
            "footer",
            f"Made by Equipoise {__version__}. A rehearsal says what a protocol would find if the truth were as declared; it is no evidence about patients.",
        ),
    ]
    return document(f"{title}: Equipoise rehearsal", parts)


def printed(found: Mapping[str, Any]) -> str:
    """The figures in a few lines."""
    lines = [f"{'planted gain':>12} {'claimed':>9} {'falsely':>9} {'80% by formula':>17} {'mean true gain':>15}"]
    for line in found["figures"]["by_gain"]:
        true, smallest = (("" if v is None else f"{v:.4f}") for v in (line["mean_true_gain"], line["mean_smallest"]))
        lines.append(f"{line['gain']:>12g} {share(line['claims']):>9} {share(line['false']):>9} {smallest:>17} {true:>15}")
    return "\n".join([*lines, answer(found), f"{found['seconds_a_twin']:g} s a twin; hash {found['hash']}"])

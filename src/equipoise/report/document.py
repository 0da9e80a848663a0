"""The HTML document around a body: one file, no scripts, no outside references."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from equipoise.report.markup import Html, join, tag


def document(title: str, body: Sequence[Html | str], style: str = "") -> str:
    """One HTML document without scripts or outside references, in the house's style and further ``style``."""
    own = (files("equipoise.report") / "style.css").read_text(encoding="utf-8")
    head = join(
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Html(own + style)),
    )
    return f'<!doctype html>\n<html lang="en">\n{tag("head", head)}\n<body>\n{tag("main", join(*body, by=Html(chr(10))))}\n</body>\n</html>\n'

"""Reads a written report back and holds it against one made again: every piece of text, every drawing, every CSV field."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from html.parser import HTMLParser

from equipoise.trial.agreement import ABSENT, Difference, short

_VOID = frozenset({"meta", "br", "hr", "img", "link"})
_LABELS = frozenset({"th", "dt", "figcaption", "h3"})


@dataclass(frozen=True)
class Piece:
    """A piece of text, an element with its attributes, or a whole drawing, and where it stands."""

    where: str
    content: str


@dataclass
class Pieces:
    """What a page is made of."""

    text: list[Piece] = field(default_factory=list)
    markup: list[Piece] = field(default_factory=list)
    drawings: list[Piece] = field(default_factory=list)


def pieces_of(page: str) -> Pieces:
    """Takes a page apart; the style sheet counts as text, because it can show and hide."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.pieces


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces = Pieces()
        self._open: list[str] = []
        self._drawing: list[str] = []
        self._section, self._label, self._labelled = "", "", False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self._open.append(tag)
        if tag in _LABELS:
            self._labelled = False
        self._element(self.get_starttag_text() or tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._element(self.get_starttag_text() or tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        if tag == "svg" and "svg" not in self._open:
            self.pieces.drawings.append(Piece(self._place(), "".join(self._drawing)))
            self._drawing = []
        else:
            self._element(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if "svg" in self._open:
            self._drawing.append(data)
        elif data.strip():
            if self._open and self._open[-1] in ("h1", "h2"):
                self._section, self._label = data.strip(), ""
            elif _LABELS & set(self._open) and not self._labelled:
                self._label, self._labelled = data.strip(), True
            self.pieces.text.append(Piece(self._place(), data))

    def _element(self, written: str) -> None:
        if "svg" in self._open:
            self._drawing.append(written)
        else:
            self.pieces.markup.append(Piece(self._place(), written))

    def _place(self) -> str:
        return ", ".join(short(t) for t in (self._section, self._label) if t)


def page_differences(name: str, printed: str, recomputed: str, *, drawings: bool) -> list[Difference]:
    """Where two pages differ.

    Args:
        name: the file's.
        printed: the page as it lies there.
        recomputed: the page made again.
        drawings: compare drawings too; another version of matplotlib draws the same figure in other strokes.
    """
    if printed == recomputed:
        return []
    a, b = pieces_of(printed), pieces_of(recomputed)
    found = _between(name, a.text, b.text) + _between(name, a.markup, b.markup)
    if drawings:
        found += [Difference(d.where, "another drawing", "this one" if d.recomputed != ABSENT else ABSENT) for d in _between(name, a.drawings, b.drawings)]
    elif len(a.drawings) != len(b.drawings):
        found.append(Difference(name, f"{len(a.drawings)} drawings", f"{len(b.drawings)} drawings"))
    return found


def _between(name: str, printed: Sequence[Piece], recomputed: Sequence[Piece]) -> list[Difference]:
    matcher = SequenceMatcher(None, [p.content for p in printed], [p.content for p in recomputed])
    same_length = len(printed) == len(recomputed)
    spans = [("replace", 0, len(printed), 0, len(recomputed))] if same_length else matcher.get_opcodes()
    found = []
    for kind, i, i_end, j, j_end in spans:
        for k in range(max(i_end - i, j_end - j) if kind != "equal" else 0):
            one, other = (pieces[at + k] if at + k < end else None for pieces, at, end in ((printed, i, i_end), (recomputed, j, j_end)))
            if one is None or other is None or one.content != other.content:
                place = (other or one or Piece("", "")).where
                texts = [repr(short(p.content)) if p else ABSENT for p in (one, other)]
                found.append(Difference(f"{name}: {place}" if place else name, *texts))
    return found


def line_differences(name: str, printed: str, recomputed: str) -> list[Difference]:
    """Where two plain texts differ, line by line."""
    one, other = ([Piece(f"line {i}", line) for i, line in enumerate(text.splitlines(), start=1)] for text in (printed, recomputed))
    return _between(name, one, other) or ([Difference(name, "other line ends", "ours")] if printed != recomputed else [])


def csv_differences(name: str, printed: str, recomputed: str) -> list[Difference]:
    """Where two CSV files differ, by line and column."""
    if printed == recomputed:
        return []
    a, b = (list(csv.reader(io.StringIO(text))) for text in (printed, recomputed))
    if len(a) != len(b):
        return [Difference(name, f"{len(a)} lines", f"{len(b)} lines")]
    found = []
    for number, (one, other) in enumerate(zip(a, b, strict=True), start=1):
        if len(one) != len(other):
            found.append(Difference(f"{name}: line {number}", f"{len(one)} fields", f"{len(other)} fields"))
            continue
        head = b[0] if len(b[0]) == len(other) else [str(i) for i in range(len(other))]
        found += [
            Difference(f"{name}: line {number}, {column}", short(x) or ABSENT, short(y) or ABSENT)
            for column, x, y in zip(head, one, other, strict=True)
            if x != y
        ]
    return found or [Difference(name, "other quotes or line ends", "ours")]

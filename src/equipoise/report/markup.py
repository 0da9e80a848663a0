"""HTML that is safe by construction: text is escaped unless it is already `Html`, and no path of this machine gets through."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

# Absolute paths of Unix (two parts or more), of Windows and of a home folder. "mg/dL", "a/b" and "h=365" are none.
_PATH = re.compile(
    r"(?:file://|(?<![\w.:/\\])(?:~(?=[/\\])|[A-Za-z]:(?=\\))?)(?:[/\\][\w.@%+~,=-]+){2,}[/\\]?"
    r"|(?<!\w)~[/\\][\w.@%+~,=-]+[/\\]?"
)


class Html(str):
    """Markup that was made by this module; a plain ``str`` is text and is escaped."""

    __slots__ = ()


def without_paths(text: str) -> str:
    """Shortens every absolute path to its last part: a report is passed on, the folders of the machine are not.

    Args:
        text: any text.

    Returns:
        The text with ``…/last`` in the place of each absolute path.

    Source: ours.

    >>> without_paths("run_dir=/home/ann/runs/3 unit=mg/dL")
    'run_dir=…/3 unit=mg/dL'
    """
    return _PATH.sub(lambda m: "…/" + re.split(r"[/\\]", m.group().rstrip("/\\"))[-1], text)


def esc(value: object) -> Html:
    """Text as HTML: paths shortened, ``& < > " '`` escaped; `Html` passes unchanged.

    >>> esc("<b>")
    '&lt;b&gt;'
    """
    return value if isinstance(value, Html) else Html(html.escape(without_paths(str(value)), quote=True))


def join(*parts: object, by: str = "") -> Html:
    """Parts one after another, each escaped unless it is `Html`."""
    return Html(esc(by).join(esc(p) for p in parts))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """One element.

    Args:
        name: the element's name.
        children: its content, escaped unless it is `Html`.
        attributes: ``class_`` is written ``class``, ``data_x`` as ``data-x``; None leaves an attribute out.

    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    written = "".join(f' {k.rstrip("_").replace("_", "-")}="{esc(v)}"' for k, v in attributes.items() if v is not None)
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def section(title: str, *parts: object, anchor: str) -> Html:
    """A section with its heading; empty parts vanish."""
    return tag("section", tag("h2", title), *[p for p in parts if p], id=anchor)


def paragraph(*parts: object, kind: str | None = None) -> Html:
    """A paragraph of text."""
    return tag("p", *parts, class_=kind)


def bullets(lines: Sequence[object]) -> Html:
    """A list of sentences."""
    return tag("ul", *[tag("li", line) for line in lines])


def facts(pairs: Sequence[tuple[object, object]], kind: str = "facts") -> Html:
    """A list of names and values."""
    return tag("dl", *[tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs], class_=kind)


def fold(title: str, *parts: object) -> Html:
    """Content that is folded away until it is asked for."""
    return tag("details", tag("summary", title), *parts)


class Numbering:
    """Numbers tables and figures in the order in which they are made."""

    def __init__(self) -> None:
        self.tables = 0
        self.figures = 0

    def table(
        self,
        caption: object,
        head: Sequence[object],
        rows: Sequence[Sequence[object]],
        *,
        text_columns: int = 1,
        note: object = "",
        kind: str = "",
    ) -> Html:
        """A numbered table in a box of its own that scrolls on a narrow screen.

        Args:
            caption: what it shows, with n.
            head: column heads.
            rows: cells; a row of one cell is a group's heading.
            text_columns: how many columns on the left are text; the others hold numbers.
            note: what stands below: methods, abbreviations.
            kind: CSS classes.
        """
        self.tables += 1
        width = len(head)
        # The caption stands outside of the box that scrolls, so that a phone shows all of it.
        title = tag("figcaption", tag("b", f"Table {self.tables}. "), caption)
        top = tag("thead", tag("tr", *[tag("th", c, scope="col", class_="num" if i >= text_columns else None) for i, c in enumerate(head)]))
        body = tag("tbody", *[_row(row, width, text_columns) for row in rows])
        foot = paragraph(note, kind="note") if note else ""
        box = tag("div", tag("table", top, body, class_=kind or None), class_="scroll", tabindex="0")
        return tag("figure", title, box, foot, class_="tablebox")

    def figure(self, caption: object, drawing: Html, *, wide: bool = False) -> Html:
        """A numbered figure with its caption.

        Args:
            caption: what it shows: n, intervals, method.
            drawing: inline SVG.
            wide: it takes the full width, and scrolls on a narrow screen rather than become unreadable.
        """
        self.figures += 1
        text = tag("figcaption", tag("b", f"Figure {self.figures}. "), caption)
        return tag("figure", tag("div", drawing, class_="scroll" if wide else None), text, class_="wide" if wide else None)


def _row(row: Sequence[object], width: int, text_columns: int) -> Html:
    if len(row) == 1 and width > 1:
        return tag("tr", tag("th", row[0], colspan=width, scope="rowgroup"), class_="group")
    first = tag("th", row[0], scope="row")
    return tag("tr", first, *[tag("td", c, class_="num" if i >= text_columns else None) for i, c in enumerate(row[1:], start=1)])

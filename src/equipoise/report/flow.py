"""The flow of rows from the raw sources to the analysis, as boxes: an SVG with letters of the page's own type."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from equipoise.report.markup import Html, tag
from equipoise.report.text import count, finite
from equipoise.report.vocabulary import ROLES, humane

WIDTH, MARGIN, MAIN, SIDE_X, SIDE = 720.0, 20.0, 330.0, 400.0, 300.0
GAP, LINE, PAD = 26.0, 16.0, 10.0
STEM = MARGIN + MAIN / 2
Step = Mapping[str, Any]


def flow(steps: Sequence[Step], roles: Mapping[str, Any]) -> Html:
    """Stages downwards, what was left out to the right, what the last stage consists of beside it, the roles at the foot.

    Args:
        steps: lines with "step", "n_rows", "n_subjects" and, where useful, "note". A step that begins with "left out" counts what was left out
            before the next stage; one that begins with "rows with" counts a part of the rows; all others are stages.
        roles: rows by role.
    """
    chart = _Chart()
    left_out: list[str] = []
    previous: Step | None = None
    for step in [s for s in steps if not _begins(s, "rows with ")]:
        if _begins(step, "left out"):
            left_out += [*_wrap(humane(str(step["step"])), 40), _amount(step), *_wrap(str(step.get("note") or ""), 40)]
            continue
        note = str(step.get("note") or "")
        chart.stage(
            [*_wrap(humane(str(step.get("step", ""))), 44), *(_wrap(note, 44) if previous is None else []), _amount(step)],
            [] if previous is None else left_out or [*_fewer(previous, step), *_wrap(note, 40)],
        )
        previous, left_out = step, []
    parts = [s for s in steps if _begins(s, "rows with ")]
    if parts and previous is not None:
        chart.beside(["Of these:", *[t for p in parts for t in _wrap(_part(p), 42)]])
    shown = [(name, roles[name]) for name in (*ROLES, *[r for r in roles if r not in ROLES]) if name in roles]
    if shown:
        chart.roles([(_role_name(name), f"{count(n)} rows") for name, n in shown])
    head = '<svg class="drawing flow" role="img" aria-label="Flow of rows from the raw sources to the roles" '
    return Html(f'{head}viewBox="0 0 {WIDTH:.0f} {chart.bottom + 6:.0f}" style="max-width:7.3in">{"".join(chart.drawn)}</svg>')


@dataclass
class _Chart:
    """Boxes drawn so far.

    Args:
        drawn: SVG elements.
        main: where the main column ends.
        side: where the column on the right ends.
        last: height of the last stage's box.
    """

    drawn: list[Html] = field(default_factory=list)
    main: float = 4.0
    side: float = 4.0
    last: float = 0.0

    @property
    def bottom(self) -> float:
        return max(self.main, self.side)

    def stage(self, lines: Sequence[str], aside: Sequence[str]) -> None:
        """A box below the last one; ``aside`` stands beside the arrow between them."""
        if self.last:
            height = _height(aside)
            top = max(self.main + 6, self.side + 6)
            gap = max(GAP, top + height + 6 - self.main) if aside else GAP
            self.drawn.append(_arrow(STEM, self.main, self.main + gap))
            if aside:
                self.drawn += [_line(STEM, top + height / 2, SIDE_X, top + height / 2), _box(SIDE_X, top, SIDE, aside, bold=-1, centred=False)]
                self.side = top + height
            self.main += gap
        self.drawn.append(_box(MARGIN, self.main, MAIN, lines, bold=len(lines) - 1))
        self.last = _height(lines)
        self.main += self.last

    def beside(self, lines: Sequence[str]) -> None:
        """A box to the right of the last stage."""
        top = max(self.main - self.last, self.side + 8)
        at = min(max(self.main - self.last / 2, top + LINE), top + _height(lines))
        stage = self.main - self.last / 2
        self.drawn.append(Html(f'<path d="M{MARGIN + MAIN:.1f} {stage:.1f}H{SIDE_X - 15:.1f}V{at:.1f}H{SIDE_X:.1f}" stroke="#444" fill="none"/>'))
        self.drawn.append(_box(SIDE_X, top, SIDE, lines, bold=-1, centred=False))
        self.side = top + _height(lines)

    def roles(self, shown: Sequence[tuple[str, str]]) -> None:
        """Boxes beside each other at the foot, joined to the last stage."""
        width = (WIDTH - 2 * MARGIN - 14 * (len(shown) - 1)) / len(shown)
        texts = [[*_wrap(name, max(int(width / 7.4), 8)), rows] for name, rows in shown]
        starts = [MARGIN + i * (width + 14) for i in range(len(shown))]
        top = self.bottom
        if self.last:
            rail, top = max(self.main + GAP, self.side + 12), max(self.main + GAP, self.side + 12) + 18
            centres = [x + width / 2 for x in starts]
            self.drawn += [_line(STEM, self.main, STEM, rail), _line(min(*centres, STEM), rail, max(*centres, STEM), rail)]
            self.drawn += [_arrow(c, rail, top) for c in centres]
        tallest = max(map(len, texts))
        self.drawn += [_box(x, top, width, t + [""] * (tallest - len(t)), bold=len(t) - 1) for x, t in zip(starts, texts, strict=True)]
        self.main = top + tallest * LINE + 2 * PAD


def _begins(step: Step, words: str) -> bool:
    return str(step.get("step", "")).lower().startswith(words)


def _part(step: Step) -> str:
    what = str(step["step"])[len("rows with ") :].replace("_", " ")
    return f"{what}: {count(step.get('n_rows'))} rows" + (f" ({step['note']})" if step.get("note") else "")


def _role_name(name: object) -> str:
    return ROLES[str(name)][0] if str(name) in ROLES else "No role" if name in (None, "None", "null", "") else humane(str(name))


def _amount(step: Step) -> str:
    rows, subjects = finite(step.get("n_rows")), finite(step.get("n_subjects"))
    if rows is None and subjects is None:
        return "not counted"
    if rows is None or rows == subjects:
        return f"{count(subjects)} {'subjects' if rows is None else 'rows and subjects'}"
    return f"{count(rows)} rows" + ("" if subjects is None else f", {count(subjects)} subjects")


def _fewer(before: Step, after: Step) -> list[str]:
    """How much smaller a stage is than the one before, in rows where they are counted."""
    for key, unit in (("n_rows", "rows"), ("n_subjects", "subjects")):
        was, now = finite(before.get(key)), finite(after.get(key))
        if was is not None and now is not None:
            return [f"Left out: {count(was - now)} {unit}"] if now < was else []
    return []


def _wrap(text: str, letters: int) -> list[str]:
    return textwrap.wrap(text, letters)[:6]


def _height(lines: Sequence[str]) -> float:
    return len(lines) * LINE + 2 * PAD


def _box(x: float, y: float, width: float, lines: Sequence[str], *, bold: int, centred: bool = True) -> Html:
    at = f"{x + width / 2 if centred else x + PAD:.1f}"
    place = "middle" if centred else None
    texts = [
        tag("text", line, x=at, y=f"{y + PAD + (i + 0.76) * LINE:.1f}", text_anchor=place, font_weight="600" if i == bold else None)
        for i, line in enumerate(lines)
        if line
    ]
    rect = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_height(lines):.1f}" fill="none" stroke="#444" stroke-width="1"/>'
    return Html(rect + "".join(texts))


def _line(x1: float, y1: float, x2: float, y2: float) -> Html:
    return Html(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#444" fill="none"/>')


def _arrow(x: float, y1: float, y2: float) -> Html:
    head = f"M{x - 4:.1f} {y2 - 7:.1f}L{x:.1f} {y2:.1f}L{x + 4:.1f} {y2 - 7:.1f}z"
    return Html(f'{_line(x, y1, x, y2)}<path d="{head}" fill="#444"/>')

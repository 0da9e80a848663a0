"""The flow of rows from the raw sources to the analysis, as boxes: an SVG with letters of the page's own type."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from equipoise.report.markup import Html, tag
from equipoise.report.text import count, finite
from equipoise.report.vocabulary import ROLES, humane

WIDTH, MAIN, SIDE, GAP, LINE, PAD = 720, 330, 300, 26, 16, 10
MAIN_X, SIDE_X = 20, 400


def flow(steps: Sequence[Mapping[str, Any]], roles: Mapping[str, Any]) -> Html:
    """Boxes downwards, what was left out to the right, the roles at the foot.

    Args:
        steps: lines with "step", "n_rows", "n_subjects" and, where useful, "note".
        roles: rows by role.
    """
    steps, listed = [s for s in steps if not _is_listing(s)], [s for s in steps if _is_listing(s)]
    y = 4.0
    parts: list[Html] = []
    previous: Mapping[str, Any] | None = None
    left: list[str] = []
    first = True
    for step in steps:
        if _is_left_out(step):
            left += [*_wrap(humane(str(step.get("step", ""))), 40), _amount(step), *_wrap(str(step.get("note") or ""), 40)]
            continue
        text = [*_wrap(humane(str(step.get("step", ""))), 44), _amount(step)]
        note = str(step.get("note") or "")
        left_out = _left_out(previous, step)
        if not first:
            side = left or [t for t in ([left_out] if left_out else []) + _wrap(note, 40) if t]
            gap = max(GAP, len(side) * LINE + 2 * PAD + 12) if side else GAP
            parts.append(_arrow(MAIN_X + MAIN / 2, y, y + gap))
            if side:
                height = len(side) * LINE + 2 * PAD
                middle = y + gap / 2
                parts.append(_line(MAIN_X + MAIN / 2, middle, SIDE_X, middle))
                parts.append(_box(SIDE_X, middle - height / 2, SIDE, side, "left", bold_last=False))
            y += gap
        elif note:
            text[1:1] = _wrap(note, 44)
        parts.append(_box(MAIN_X, y, MAIN, text, "middle"))
        y += len(text) * LINE + 2 * PAD
        previous, left, first = step, [], False
    if listed:
        y = max(y, _listing(parts, listed, y))
    shown = [(name, roles[name]) for name in (*ROLES, *[r for r in roles if r not in ROLES]) if name in roles]
    if shown:
        y = _roles(parts, shown, y, not first)
    label = "Flow of rows from the raw sources to the roles"
    head = f'<svg class="drawing flow" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {y + 6:.0f}" style="max-width:7.3in">'
    return Html(head + "".join(parts) + "</svg>")


def _is_left_out(step: Mapping[str, Any]) -> bool:
    """A line that counts what was left out, rather than what remains."""
    return str(step.get("step", "")).lower().startswith("left out")


def _is_listing(step: Mapping[str, Any]) -> bool:
    """A line that counts a part of the rows ("rows with genotype"), not a stage of the flow."""
    return str(step.get("step", "")).lower().startswith("rows with ")


def _listing(parts: list[Html], listed: Sequence[Mapping[str, Any]], y: float) -> float:
    """A box beside the last stage with its parts; returns where it ends."""
    lines = ["Of these:"]
    for step in listed:
        what = str(step.get("step", ""))[len("rows with ") :].replace("_", " ")
        note = f" ({step['note']})" if step.get("note") else ""
        lines += _wrap(f"{what}: {count(step.get('n_rows'))} rows{note}", 42)
    height = len(lines) * LINE + 2 * PAD
    last = 2 * LINE + 2 * PAD
    top = max(y - last / 2 - height / 2, 4.0)
    parts.append(_line(MAIN_X + MAIN, y - last / 2, SIDE_X, y - last / 2))
    parts.append(_box(SIDE_X, top, SIDE, lines, "left", bold_last=False))
    return top + height


def _roles(parts: list[Html], shown: Sequence[tuple[str, Any]], y: float, joined: bool) -> float:
    n = len(shown)
    width = (WIDTH - 40 - 14 * (n - 1)) / n
    if joined:
        middle = MAIN_X + MAIN / 2
        parts.append(_line(middle, y, middle, y + GAP))
        y += GAP
        centres = [20 + i * (width + 14) + width / 2 for i in range(n)]
        parts.append(_line(min(*centres, middle), y, max(*centres, middle), y))
        parts.extend(_arrow(c, y, y + 18) for c in centres)
        y += 18
    letters = max(int(width / 7.4), 8)
    texts = [[*_wrap(_role_name(name), letters), f"{count(amount)} rows"] for name, amount in shown]
    tallest = max(map(len, texts))
    for i, text in enumerate(texts):
        parts.append(_box(20 + i * (width + 14), y, width, text + [""] * (tallest - len(text)), "middle", bold_at=len(text) - 1))
    return y + tallest * LINE + 2 * PAD


def _role_name(name: object) -> str:
    if name in (None, "None", "null", ""):
        return "No role"
    return ROLES[str(name)][0] if str(name) in ROLES else humane(str(name))


def _amount(step: Mapping[str, Any]) -> str:
    rows, subjects = finite(step.get("n_rows")), finite(step.get("n_subjects"))
    if rows is None and subjects is None:
        return "not counted"
    if rows is None or rows == subjects:
        return f"{count(subjects)} {'subjects' if rows is None else 'rows and subjects'}"
    return f"{count(rows)} rows" + ("" if subjects is None else f", {count(subjects)} subjects")


def _left_out(previous: Mapping[str, Any] | None, step: Mapping[str, Any]) -> str:
    if previous is None:
        return ""
    before, after = finite(previous.get("n_rows")), finite(step.get("n_rows"))
    unit = "rows"
    if before is None or after is None:
        before, after, unit = finite(previous.get("n_subjects")), finite(step.get("n_subjects")), "subjects"
    return f"Left out: {count(before - after)} {unit}" if before is not None and after is not None and after < before else ""


def _wrap(text: str, letters: int) -> list[str]:
    return textwrap.wrap(text, letters)[:6]


def _box(x: float, y: float, width: float, lines: Sequence[str], anchor: str, *, bold_last: bool = True, bold_at: int | None = None) -> Html:
    height = len(lines) * LINE + 2 * PAD
    at = f"{x + width / 2 if anchor == 'middle' else x + PAD:.1f}"
    bold = bold_at if bold_at is not None else len(lines) - 1 if bold_last else -1
    place = None if anchor == "left" else anchor
    texts = [
        tag("text", line, x=at, y=f"{y + PAD + (i + 0.76) * LINE:.1f}", text_anchor=place, font_weight="600" if i == bold else None)
        for i, line in enumerate(lines)
        if line
    ]
    rect = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="none" stroke="#444" stroke-width="1"/>'
    return Html(rect + "".join(texts))


def _line(x1: float, y1: float, x2: float, y2: float) -> Html:
    return Html(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#444" fill="none"/>')


def _arrow(x: float, y1: float, y2: float) -> Html:
    head = f"M{x - 4:.1f} {y2 - 7:.1f}L{x:.1f} {y2:.1f}L{x + 4:.1f} {y2 - 7:.1f}z"
    return Html(f'{_line(x, y1, x, y2)}<path d="{head}" fill="#444"/>')

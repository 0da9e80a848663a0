"""Forest plots: estimates with intervals on a line each, the numbers beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from equipoise.report.axes import INK, MODEL_COLOUR, SOFT, short
from equipoise.report.figures import FULL
from equipoise.report.text import finite


@dataclass(frozen=True)
class Line:
    """One line of a forest plot: a label, an estimate with its interval (NaN = none), the same as text, and whether it is set in bold."""

    label: str
    value: float
    lo: float
    hi: float
    shown: str
    strong: bool = False

    @classmethod
    def of(cls, label: str, entry: Sequence[object], shown: str, *, strong: bool = False) -> Line:
        """A line from (value, lo, hi) that may hold null."""
        value, lo, hi = (np.nan if finite(x) is None else float(finite(x) or 0.0) for x in entry)
        return cls(label, value, lo, hi, shown, strong)


@dataclass(frozen=True)
class Panel:
    """Lines that share an axis.

    Args:
        title: what is measured, with its unit.
        lines: from top to bottom.
        reference: where the vertical line stands (0 for a difference); None leaves it out.
        reverse: the axis runs from right to left, so that right is better also where lower is better.
        left: what it means to lie left of the reference, or "".
        right: what it means to lie right of it.
        margin: a second, dotted line: the margin of non-inferiority.
    """

    title: str
    lines: tuple[Line, ...]
    reference: float | None = 0.0
    reverse: bool = False
    left: str = ""
    right: str = ""
    margin: float | None = None


ROW, HEAD, FOOT = 0.205, 0.27, 0.28  # inches
LABEL_END, PLOT_START, PLOT_END, TEXT_START = 0.235, 0.25, 0.69, 0.715  # shares of the width


def forest(panels: Sequence[Panel]) -> tuple[Figure, list[Axes]]:
    """Panels below each other, labels on the left, numbers on the right.

    Args:
        panels: at least one, each with at least one line.
    """
    foots = [FOOT + (0.17 if p.left or p.right else 0.0) for p in panels]
    heights = [HEAD + ROW * len(p.lines) + f for p, f in zip(panels, foots, strict=True)]
    total = sum(heights)
    fig = Figure(figsize=(FULL, total))
    axes, top = [], total
    for panel, height, foot in zip(panels, heights, foots, strict=True):
        bottom = top - height + foot
        ax = fig.add_axes((PLOT_START, bottom / total, PLOT_END - PLOT_START, (height - HEAD - foot) / total))
        _draw(fig, ax, panel)
        fig.text(0.004, (top - 0.6 * HEAD) / total, panel.title, ha="left", va="center", fontweight="bold", fontsize=7.9)
        axes.append(ax)
        top -= height
    return fig, axes


def _draw(fig: Figure, ax: Axes, panel: Panel) -> None:
    n = len(panel.lines)
    ax.set_ylim(n - 0.5, -0.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    low, high = _limits(panel)
    ax.set_xlim((high, low) if panel.reverse else (low, high))
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.tick_params(axis="x", pad=1.5)
    if panel.reference is not None:
        ax.axvline(panel.reference, color=SOFT, linewidth=0.8)
    if panel.margin is not None:
        ax.axvline(panel.margin, color=SOFT, linewidth=0.8, linestyle=(0, (1, 2)))
    place = ax.get_position()
    for i, line in enumerate(panel.lines):
        colour = MODEL_COLOUR if line.strong else INK
        if np.isfinite(line.lo) and np.isfinite(line.hi):
            ax.plot([line.lo, line.hi], [i, i], color=colour, linewidth=1.2, solid_capstyle="butt")
        if np.isfinite(line.value):
            ax.plot(line.value, i, "s", color=colour, markersize=4.2, markeredgewidth=0)
        y = place.y0 + place.height * (1 - (i + 0.5) / n)
        weight = "bold" if line.strong else "normal"
        fig.text(LABEL_END, y, short(line.label, 32), ha="right", va="center_baseline", fontsize=7.6, fontweight=weight)
        fig.text(TEXT_START, y, line.shown, ha="left", va="center_baseline", fontsize=7.6, fontweight=weight)
    height = fig.get_size_inches()[1]
    for text, x, side in ((panel.left, PLOT_START, "left"), (panel.right, PLOT_END, "right")):
        if text:
            fig.text(x, place.y0 - 0.32 / height, text, ha=side, va="center", fontsize=6.9, color=SOFT)


def _limits(panel: Panel) -> tuple[float, float]:
    ends = [x for line in panel.lines for x in (line.value, line.lo, line.hi) if np.isfinite(x)]
    if panel.reference is not None:
        ends.append(panel.reference)
    if panel.margin is not None:
        ends.append(panel.margin)
    low, high = (min(ends), max(ends)) if ends else (-1.0, 1.0)
    pad = 0.08 * (high - low) or 0.1 * (abs(high) or 1.0)
    return low - pad, high + pad

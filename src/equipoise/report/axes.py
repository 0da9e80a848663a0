"""The look of every figure, and a figure as inline SVG: the same input gives the same bytes, and no state of matplotlib is left changed."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from equipoise.report.markup import Html, esc

INK, SOFT, FAINT = "#111111", "#666666", "#bbbbbb"
MODEL_COLOUR = "#0072B2"
COMPARATOR_COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
DASHES: tuple[Any, ...] = ((0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), (0, (8, 2)), (0, (1, 2)))
"""Okabe and Ito's palette (2008), safe for colour-blind readers; each comparator has a dash of its own besides, for paper."""

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 7.6,
    "axes.titlesize": 7.8,
    "axes.labelsize": 7.6,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "figure.facecolor": "none",  # the page's own, also in the dark
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": "#444444",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.6,
    "ytick.major.size": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.axisbelow": True,
    "lines.solid_capstyle": "butt",
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.labelspacing": 0.25,
    "legend.borderaxespad": 0.2,
    "text.parse_math": False,  # a name with a dollar sign is a name
    "svg.fonttype": "path",
    "svg.hashsalt": "equipoise",
    "path.simplify": True,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Our style on top of matplotlib's own defaults (the user's matplotlibrc does not matter), put back afterwards."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_axes(width: float, height: float, **ratios: Any) -> tuple[Figure, Any]:
    """A figure outside pyplot, in inches, with one Axes, or an array of them for ``nrows``/``ncols``."""
    fig = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02))
    return fig, fig.subplots(**ratios)


def to_svg(fig: Figure, label: str, name: str) -> Html:
    """The figure as inline SVG: letters as outlines, no metadata, no date, identifiers that are unique in the page.

    Args:
        fig: the figure.
        label: what a reader who cannot see it is told.
        name: a prefix for the identifiers inside, unique in the page.
    """
    out = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        FigureCanvasSVG(fig).print_svg(out, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg).replace('href="#', f'href="#{name}-')
    box = re.search(r'viewBox="[^"]*"', svg)
    inner = svg[svg.index(">") + 1 :]
    width = fig.get_size_inches()[0]
    head = f'<svg class="drawing" role="img" aria-label="{esc(label)}" {box.group() if box else ""} style="max-width:{width:.2f}in">'
    return Html(head + re.sub(r">\s+<", "><", inner).strip())


def colour_of(position: int) -> tuple[str, Any]:
    """Colour and dash of the comparator at this position."""
    return COMPARATOR_COLOURS[position % len(COMPARATOR_COLOURS)], DASHES[position % len(DASHES)]


def short(name: object, most: int = 26) -> str:
    """A name that fits into a figure, without line breaks or control characters."""
    text = "".join(c if c.isprintable() else " " for c in str(name))
    return text if len(text) <= most else text[: most - 1] + "…"


def light_grid(ax: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """Faint lines to read values by."""
    ax.grid(True, axis=axis, color="#e6e6e6", linewidth=0.5)


def legend_above(ax: Axes, handles: Sequence[Any], labels: Sequence[str], columns: int) -> None:
    """The key above the axes, where it hides no data."""
    ax.legend(handles, labels, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, columnspacing=1.2, handletextpad=0.5)

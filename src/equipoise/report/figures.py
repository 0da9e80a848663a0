"""Figures of risks: each function takes curves of results.json and returns (fig, ax). A curve has keys as in results.json; null is a gap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from equipoise.report.axes import FAINT, INK, MODEL_COLOUR, SOFT, colour_of, legend_above, light_grid, new_axes, short
from equipoise.report.reading import array, columns, mapping
from equipoise.report.vocabulary import model_label

HALF = 3.55  # inches: two beside each other in a column of text
HEIGHT = 3.35
FULL = 7.3

Curves = Mapping[str, Mapping[str, Any]]


def models_with(curves: Curves, model: str, kind: str) -> Iterator[tuple[str, Mapping[str, Any], str, Any, float]]:
    """Name, curve, colour, dash and line width of every model that has this curve, the comparators first, so that the model lies on top."""
    others = [name for name in curves if name != model]
    for i, name in enumerate(others):
        if mapping(curves, name, kind):
            colour, dash = colour_of(i)
            yield name, mapping(curves, name, kind), colour, dash, 1.0
    if mapping(curves, model, kind):
        yield model, mapping(curves, model, kind), MODEL_COLOUR, "-", 1.7


def _band(ax: Axes, x: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> None:
    if np.isfinite(lo).any():
        ax.fill_between(x, lo, hi, color=MODEL_COLOUR, alpha=0.16, linewidth=0)


def _key(ax: Axes, model: str) -> None:
    """The key above the axes: the model, then the comparators in their order, then the references."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        own = short(model_label(model))
        order = sorted(range(len(labels)), key=lambda i: (labels[i].startswith("Treat "), not labels[i].startswith(own)))
        legend_above(ax, [handles[i] for i in order], [labels[i] for i in order], 1 if max(map(len, labels)) > 24 else 2)


def calibration(curves: Curves, model: str, *, observed_label: str, predicted_label: str, probability: bool) -> tuple[Figure, Axes]:
    """Observed against predicted: smooth line with its band, bins with intervals, and below the distribution of the predictions.

    Args:
        curves: by model: ``calibration`` (predicted, observed, lo, hi, bins) and, for probabilities, ``risk_distribution``.
        model: whose band and bins are drawn; the comparators are lines.
        observed_label: of the vertical axis, with unit.
        predicted_label: of the horizontal axis, with unit.
        probability: both axes are shares from 0.
    """
    rug = probability and bool(mapping(curves, model, "risk_distribution"))
    fig, axes = new_axes(HALF, HEIGHT, nrows=2 if rug else 1, height_ratios=[5, 0.9] if rug else [1], sharex=rug, squeeze=False)
    ax: Axes = axes[0, 0]
    low, high = _calibration_limits(curves, model, probability)
    ax.plot([low, high], [low, high], color=SOFT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    for name, curve, colour, dash, width in models_with(curves, model, "calibration"):
        x, y, lo, hi = columns(curve, "predicted", "observed", "lo", "hi")
        if name == model:
            _band(ax, x, lo, hi)
            _bins(ax, mapping(curve, "bins"))
        ax.plot(x, y, color=colour, linestyle=dash, linewidth=width, label=short(model_label(name)))
    pad = 0.02 * (high - low)
    ax.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad), ylabel=observed_label)
    light_grid(ax)
    _key(ax, model)
    foot: Axes = axes[-1, 0]
    foot.set_xlabel(predicted_label)
    if rug:
        _rug(foot, mapping(curves, model, "risk_distribution"))
    return fig, ax


def _calibration_limits(curves: Curves, model: str, probability: bool) -> tuple[float, float]:
    curve = mapping(curves, model, "calibration")
    bins = mapping(curve, "bins")
    seen = np.concatenate([array(curve, "predicted"), array(curve, "observed"), array(bins, "predicted"), array(bins, "observed"), array(bins, "hi")])
    if not probability:
        seen = np.concatenate([seen, array(bins, "lo")])
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return 0.0, 1.0
    if probability:
        return 0.0, float(min(max(1.04 * seen.max(), 0.05), 1.0))
    return float(seen.min()), float(seen.max()) if seen.max() > seen.min() else float(seen.min()) + 1.0


def _bins(ax: Axes, bins: Mapping[str, Any]) -> None:
    x, y, lo, hi = columns(bins, "predicted", "observed", "lo", "hi")
    if x.size:
        ax.errorbar(x, y, yerr=np.abs([y - lo, hi - y]), fmt="o", markersize=3.2, color=INK, ecolor=INK, elinewidth=0.6, markeredgewidth=0, zorder=3)


def _rug(ax: Axes, distribution: Mapping[str, Any]) -> None:
    edges, event, rest = array(distribution, "edges"), array(distribution, "event"), array(distribution, "no_event")
    if edges.size < 2 or event.size != edges.size - 1 or rest.size != event.size:
        ax.set_axis_off()
        return
    middle, width = (edges[1:] + edges[:-1]) / 2, 0.8 * np.diff(edges)
    # Each side is scaled to its own highest bar: the events would vanish beside the others.
    ax.bar(middle, _scaled(event), width=width, color=INK, linewidth=0)
    ax.bar(middle, -_scaled(rest), width=width, color=FAINT, linewidth=0)
    ax.axhline(0, color="#444444", linewidth=0.5)
    ax.set(ylim=(-1.1, 1.1), yticks=[0.55, -0.55], yticklabels=["event", "none"])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _scaled(counts: np.ndarray) -> np.ndarray:
    filled = np.nan_to_num(counts)
    return filled / max(filled.max(), 1e-12)


def decision(curves: Curves, model: str, *, threshold: float | None) -> tuple[Figure, Axes]:
    """Net benefit against the threshold probability, with treating all and treating none.

    Args:
        curves: by model: ``decision`` (threshold, net_benefit, lo, hi, treat_all, treat_none).
        model: whose band is drawn.
        threshold: the declared threshold, marked; None where there is none.
    """
    fig, ax = new_axes(HALF, HEIGHT)
    top, right, reference = 0.0, 0.0, np.empty(0)
    for name, curve, colour, dash, width in models_with(curves, model, "decision"):
        x, y, lo, hi, every, none = columns(curve, "threshold", "net_benefit", "lo", "hi", "treat_all", "treat_none")
        if name == model:
            _band(ax, x, lo, hi)
            ax.plot(x, every, color=SOFT, linewidth=0.9, label="Treat all", zorder=1.5)
            ax.plot(x, np.nan_to_num(none), color=INK, linewidth=0.9, label="Treat none", zorder=1.5)
            reference = np.concatenate([every, hi])
        ax.plot(x, y, color=colour, linestyle=dash, linewidth=width, label=short(model_label(name)))
        top, right = np.nanmax(np.append(y, top)), np.nanmax(np.append(x, right))
    top = max(float(np.nanmax(np.append(reference, top))), 1e-4)
    ax.set(xlim=(0, right or 1), ylim=(-0.12 * top, 1.05 * top), xlabel="Threshold probability", ylabel="Net benefit (true positives per row)")
    if threshold is not None:
        ax.axvline(threshold, color=INK, linewidth=0.6, linestyle=(0, (1, 2)))
    light_grid(ax)
    _key(ax, model)
    return fig, ax


def roc(curves: Curves, model: str, *, auroc: Mapping[str, str]) -> tuple[Figure, Axes]:
    """Receiver operating characteristic.

    Args:
        curves: by model: ``roc`` (fpr, tpr).
        model: the model's name.
        auroc: by model, the area as it is printed in the key.
    """
    fig, ax = new_axes(HALF, HEIGHT)
    ax.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=(0, (1, 2)))
    for name, curve, colour, dash, width in models_with(curves, model, "roc"):
        x, y = columns(curve, "fpr", "tpr")
        ax.plot(x, y, color=colour, linestyle=dash, linewidth=width, label=f"{short(model_label(name), 18)} {auroc.get(name, '')}".strip())
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 − specificity", ylabel="Sensitivity")
    light_grid(ax)
    _key(ax, model)
    return fig, ax


def risk_distribution(curves: Curves, model: str, *, outcome: str, totals: tuple[float, float] | None) -> tuple[Figure, Sequence[Axes]]:
    """Distribution of the predicted risk by outcome: the model's histogram, and quantiles of every model below.

    Args:
        curves: by model: ``risk_distribution`` (edges, event, no_event: counts, null where suppressed).
        model: whose histogram is drawn.
        outcome: the event's name.
        totals: rows with and without the event, suppressed cells included; None where they are not known.
    """
    shown = list(models_with(curves, model, "risk_distribution"))
    shown = [*shown[-1:], *shown[:-1]]
    fig, axes = new_axes(HALF, HEIGHT, nrows=2, sharex=True, height_ratios=[3.2, 0.5 + 0.45 * len(shown)])
    top, below = axes
    right = 0.0
    with_, without = totals or (None, None)
    sides = ((1, "event", with_, INK, "with"), (-1, "no_event", without, FAINT, "without"))
    for sign, key, total, colour, word in sides:
        edges, counts, suppressed = _counted(curves[model]["risk_distribution"], key, total)
        if counts.sum():
            share = sign * 100 * counts / counts.sum()
            top.stairs(np.where(suppressed, 0, share), edges, fill=True, color=colour)
            top.stairs(np.where(suppressed, share, 0), edges, fill=True, color=colour, alpha=0.3)
            right = max(right, float(edges[np.flatnonzero(counts)[-1] + 1]))
        side = "top" if sign > 0 else "bottom"
        top.text(0.99, 0.97 if sign > 0 else 0.03, f"{word} {short(outcome)}, n = {counts.sum():,.0f}", transform=top.transAxes, ha="right", va=side)
    low, high = top.get_ylim()
    top.set_ylim(1.25 * low, 1.25 * high)  # room for the two lines of text
    top.axhline(0, color="#444444", linewidth=0.6)
    top.yaxis.set_major_formatter(lambda y, _: f"{abs(y):g}")
    top.set_ylabel("% of the group")
    for i, (_, curve, _, _, _) in enumerate(shown):
        for shift, (_, key, total, _, _), colour in zip((-0.17, 0.17), sides, (INK, "#8c8c8c"), strict=True):
            edges, counts, _ = _counted(curve, key, total)
            low, first, middle, last, high = _quantiles(edges, counts)
            below.plot([low, high], [i + shift] * 2, color=colour, linewidth=0.7)
            below.plot([first, last], [i + shift] * 2, color=colour, linewidth=2.4)
            below.plot(middle, i + shift, "o", color="white", markeredgecolor=colour, markersize=3.4, markeredgewidth=1)
    below.set(yticks=range(len(shown)), yticklabels=[short(model_label(name), 14) for name, *_ in shown], ylim=(len(shown) - 0.5, -0.5))
    below.set(xlabel="Predicted risk", xlim=(0, right or 1))
    for ax in axes:
        light_grid(ax, "x")
    return fig, axes


def _counted(curve: Mapping[str, Any], key: str, total: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges, counts, and which cells were suppressed: these share what is missing to the total evenly, and are zero where it is not known."""
    edges, counts = array(curve, "edges"), array(curve, key)
    if edges.size != counts.size + 1 or not np.isfinite(edges).all():
        return np.array([0.0, 1.0]), np.zeros(1), np.zeros(1, dtype=bool)
    suppressed = ~np.isfinite(counts)
    if suppressed.any():
        missing = 0.0 if total is None else max(total - np.nansum(counts), 0.0)
        counts = np.where(suppressed, missing / suppressed.sum(), counts)
    return edges, counts, suppressed


def _quantiles(edges: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """5, 25, 50, 75 and 95 % of a histogram, even within a cell; NaN of an empty one."""
    if not counts.sum():
        return np.full(5, np.nan)
    return np.interp([0.05, 0.25, 0.5, 0.75, 0.95], np.concatenate([[0.0], np.cumsum(counts) / counts.sum()]), edges)


def histogram(table: Mapping[str, Any], *, predicted_label: str, observed_label: str) -> tuple[Figure, Axes]:
    """Observed against predicted values as a two-dimensional histogram: aggregates, never a point for a person.

    Args:
        table: ``predicted_edges`` (p+1,), ``observed_edges`` (o+1,), ``n`` (p, o) counts, null where suppressed.
        predicted_label: of the horizontal axis, with unit.
        observed_label: of the vertical axis, with unit.
    """
    fig, ax = new_axes(HALF, HEIGHT)
    x, y, n = array(table, "predicted_edges"), array(table, "observed_edges"), array(table, "n")
    shown = np.ma.masked_where(~np.isfinite(n) | (n <= 0), n)
    mesh = ax.pcolormesh(x, y, shown.T, cmap="Blues", vmin=0, linewidth=0, rasterized=False)
    low, high = max(x[0], y[0]), min(x[-1], y[-1])
    ax.plot([low, high], [low, high], color=SOFT, linewidth=0.8, linestyle=(0, (1, 2)))
    ax.set(xlabel=predicted_label, ylabel=observed_label, xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    bar = fig.colorbar(mesh, ax=ax, shrink=0.6, aspect=18, pad=0.02)
    bar.set_label("Rows in the cell")
    bar.outline.set_visible(False)
    return fig, ax


def learning(training: Sequence[Mapping[str, Any]]) -> tuple[Figure, Axes]:
    """Loss by epoch of every member: train rows dashed, select rows solid, a dot at the epoch that was kept."""
    fig, ax = new_axes(HALF + 1.2, HALF - 0.9)
    for i, member in enumerate(training):
        # Beyond a handful (folds times members) colours say nothing more.
        colour = MODEL_COLOUR if i == 0 or len(training) > 5 else colour_of(i - 1)[0]
        train, select = array(member, "train_loss"), array(member, "select_loss")
        ax.plot(np.arange(1, train.size + 1), train, color=colour, linewidth=0.8, linestyle=(0, (3, 1.5)), label="train rows" if i == 0 else None)
        ax.plot(np.arange(1, select.size + 1), select, color=colour, linewidth=1.3, label="select rows" if i == 0 else None)
        best = member.get("best_epoch")
        if isinstance(best, int) and 0 <= best - 1 < select.size:
            ax.plot(best, select[best - 1], "o", color=colour, markersize=4, label="kept epoch" if i == 0 else None)
    ax.set(xlabel="Epoch", ylabel="Loss (nats per row)")
    light_grid(ax, "y")
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        legend_above(ax, handles, labels, 3)
    return fig, ax

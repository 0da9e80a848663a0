"""The figures of a question, by its kind: calibration, decision curve, ROC, distributions; a figure without data is left out, with a word."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from equipoise.report import figures
from equipoise.report.axes import house_style
from equipoise.report.finding import Finding, triple
from equipoise.report.forest import Line, Panel, forest
from equipoise.report.markup import Html, paragraph, section, tag
from equipoise.report.reading import array, dig, mapping
from equipoise.report.text import bounds, count, estimate, finite, number, percent_plain
from equipoise.report.vocabulary import model_label

_NAMES = {
    "calibration": "calibration plot",
    "decision": "decision curve",
    "risk_distribution": "distribution of the risks",
    "roc": "ROC curve",
    "scatter": "histogram of observed against predicted values",
}
_OF_KIND = {
    "binary": ("calibration", "decision", "risk_distribution", "roc"),
    "continuous": ("calibration", "scatter"),
    "multiclass": ("calibration",),
    "time_to_event": ("calibration", "decision", "risk_distribution"),
    "treatment_effect": ("calibration",),
}


def curves(finding: Finding, kinds: Collection[str] = tuple(_NAMES)) -> Html:
    """Section: the figures of these kinds, two beside each other."""
    drawn: list[Html] = []
    lacking: list[str] = []
    for label, own in by_label(finding):
        for kind, draw in _DRAW.items():
            if kind in kinds and mapping(own, finding.model, kind):
                drawn.append(draw(finding, own, label))
    for kind in _OF_KIND.get(finding.kind, ()):
        if kind in kinds and not any(mapping(own, finding.model, kind) for _, own in by_label(finding)):
            lacking.append(_NAMES[kind])
    parts: list[Any] = [tag("div", *drawn, class_="pair")] if drawn else []
    if not drawn:
        parts.append(_endpoint_forest(finding))
    if lacking and finding.kind in ("binary", "continuous"):
        parts.append(paragraph(f"Not estimated for {finding.model_name}: {', '.join(lacking)}.", kind="note"))
    return section("Figures", *parts, anchor=f"{finding.anchor}figures") if any(parts) else Html("")


def by_label(finding: Finding) -> list[tuple[str, dict[str, Mapping[str, Any]]]]:
    """The curves by label of the question: one for a binary outcome; one a class or a horizon where curves are nested."""
    nested: dict[str, dict[str, dict[str, Any]]] = {}
    for model, kinds in mapping(finding.results, "curves").items():
        if not isinstance(kinds, Mapping):
            continue
        for first, inner in kinds.items():
            if first in _NAMES and isinstance(inner, Mapping):
                labels = {k: v for k, v in inner.items() if isinstance(v, Mapping) and k != "bins"}
                plain = any(isinstance(v, list) for v in inner.values()) or not labels
                for label, curve in {"": inner}.items() if plain else labels.items():
                    nested.setdefault(label, {}).setdefault(model, {})[first] = curve
            elif isinstance(inner, Mapping):
                for kind, curve in inner.items():
                    if kind in _NAMES:
                        nested.setdefault(first, {}).setdefault(model, {})[kind] = curve
    # Curves of a time to event without a label are at the primary endpoint's horizon.
    at = (finding.primary or "").partition("@")[2] if finding.kind == "time_to_event" else ""
    return [(label or at, dict(models)) for label, models in nested.items()]


def _of(label: str) -> str:
    """In words, which class or horizon a figure is about."""
    return f" of class {label}" if label and not label.startswith("h=") else f" at {label[2:]} days" if label else ""


def _svg(finding: Finding, drawn: Figure, kind: str, label: str, caption: str) -> Html:
    name = f"{kind}-{''.join(c if c.isalnum() else '-' for c in label)}" if label else kind
    return finding.figure(caption, drawn, name, f"{_NAMES[kind]}{_of(label)}")


def _calibration(finding: Finding, own: Mapping[str, Any], label: str) -> Html:
    continuous = finding.kind in ("continuous", "treatment_effect")
    unit = f" ({finding.unit})" if finding.unit and continuous else ""
    labels = (f"Observed mean{unit}", f"Predicted mean{unit}") if continuous else ("Observed proportion", "Predicted risk")
    with house_style():
        drawn, _ = figures.calibration(own, finding.model, observed_label=labels[0], predicted_label=labels[1], probability=not continuous)
    curve = mapping(own, finding.model, "calibration")
    groups = [int(n) for n in array(curve, "bins", "n") if np.isfinite(n)]
    method = str(curve.get("method") or "smoothed")
    text = f"Calibration{_of(label)} in {finding.n_in_words}. Line: {method}"
    if np.isfinite(array(curve, "lo")).any():
        text += f" ({finding.level_in_words})" if "band" in method else f", band: {finding.level_in_words} interval"
    if groups:
        size = f"{count(min(groups))} to {count(max(groups))}" if min(groups) != max(groups) else count(groups[0])
        text += f". Points: {len(groups)} groups by predicted value ({size} rows each) with {finding.level_in_words} interval"
    text += ". Dotted: perfect calibration. Broken lines: comparators" if len(own) > 1 else ". Dotted: perfect calibration"
    if mapping(own, finding.model, "risk_distribution") and not continuous:
        text += ". Below: rows by predicted risk, each side to its own scale"
    return _svg(finding, drawn, "calibration", label, text + ".")


def _decision(finding: Finding, own: Mapping[str, Any], label: str) -> Html:
    threshold = declared_threshold(finding)
    with house_style():
        drawn, _ = figures.decision(own, finding.model, threshold=threshold)
    band = f" with {finding.level_in_words} band" if np.isfinite(array(own, finding.model, "decision", "lo")).any() else ""
    text = f"Decision curve{_of(label)}: net benefit of acting on {finding.model_name}{band} in {finding.n_in_words}, "
    text += "beside treating all, treating none and the comparators."
    text += f" Vertical line: the declared threshold, {percent_plain(threshold)}." if threshold is not None else ""
    return _svg(finding, drawn, "decision", label, text)


def declared_threshold(finding: Finding) -> float | None:
    """The threshold probability that was declared before, where there is one."""
    for at in (("verdict_detail", "net_benefit", "threshold"), ("protocol", "threshold"), ("protocol", "net_benefit_threshold")):
        found = finite(dig(finding.results, *at))
        if found is not None:
            return found
    return None


def _distribution(finding: Finding, own: Mapping[str, Any], label: str) -> Html:
    with house_style():
        drawn, _ = figures.risk_distribution(own, finding.model, outcome=finding.target, totals=_totals(finding))
    table = mapping(own, finding.model, "risk_distribution")
    text = (
        f"Distribution of the predicted risk{_of(label)} in {finding.n_in_words}. Above: {finding.model_name}, rows with {finding.target} upwards and without "
    )
    text += "downwards, each as a share of its group. Below, for every model: median (dot), middle half (thick) and 5% to 95% (thin), from the histogram."
    if any(not np.isfinite(array(table, k)).all() for k in ("event", "no_event")):
        text += " Pale: cells with few rows, known in sum only and spread evenly." if _totals(finding) else " Cells with few rows are left out."
    return _svg(finding, drawn, "risk_distribution", label, text)


def _totals(finding: Finding) -> tuple[float, float] | None:
    """Rows with and without the event, where every row has a known one."""
    rows, events = finite(dig(finding.results, "n", "rows")), finite(dig(finding.results, "n", "events"))
    return (events, rows - events) if finding.kind == "binary" and rows is not None and events is not None else None


def _roc(finding: Finding, own: Mapping[str, Any], label: str) -> Html:
    keys = ["auroc"] if not label else [f"auroc@{label}", f"td_auc@{label}", f"auroc:{label}"]
    shown: dict[str, str] = {}
    for model in finding.models:
        entry = next((e for e in (mapping(finding.endpoints(model), k) for k in keys) if e), {})
        if finite(entry.get("value")) is not None:
            shown[model] = number(entry["value"], 3)
    with house_style():
        drawn, _ = figures.roc(own, finding.model, auroc=shown)
    text = f"Receiver operating characteristic{_of(label)} in {finding.n_in_words}. "
    text += "In the key: the area under the curve, whose interval stands in the table of endpoints. " if shown else ""
    text += "Dotted: chance."
    return _svg(finding, drawn, "roc", label, text)


def _scatter(finding: Finding, own: Mapping[str, Any], label: str) -> Html:
    unit = f" ({finding.unit})" if finding.unit else ""
    table = mapping(own, finding.model, "scatter")
    with house_style():
        drawn, _ = figures.histogram(table, predicted_label=f"Predicted{unit}", observed_label=f"Observed{unit}")
    hidden = int(np.sum(~np.isfinite(array(table, "n"))))
    text = f"Observed against predicted {finding.target} of {finding.model_name} in {finding.n_in_words}: rows a cell. Dotted: equality."
    text += f" {count(hidden)} cells with few rows are left white." if hidden else ""
    return _svg(finding, drawn, "scatter", label, text)


_DRAW: dict[str, Callable[[Finding, Mapping[str, Any], str], Html]] = {
    "calibration": _calibration,
    "decision": _decision,
    "scatter": _scatter,
    "risk_distribution": _distribution,
    "roc": _roc,
}


def _endpoint_forest(finding: Finding) -> Html | str:
    """Endpoints of every model beside each other: the figure of a question that has no curves."""
    panels = []
    keys = sorted((m.key for m in finding.metrics), key=lambda k: k != finding.primary)[:6]
    for key in keys:
        entries = [(m, mapping(finding.endpoints(m), key)) for m in finding.models]
        entries = [(m, e) for m, e in entries if finite(e.get("value")) is not None]
        if not entries:
            continue
        digits = finding.digits(key, [triple(e) for _, e in entries])
        lines = [Line.of(model_label(m), triple(e), _shown(e, digits), strong=m == finding.model) for m, e in entries]
        named = finding.metric(key)
        about = ", ".join(t for t in (named.unit, named.aim) if t)
        reference = {"zero": 0.0, "one": 1.0}.get(named.better)
        panels.append(Panel(named.label + (f" ({about})" if about else ""), tuple(lines), reference, named.better == "lower"))
    if not panels:
        return ""
    with house_style():
        drawn, _ = forest(panels)
    caption = f"Endpoints by model in {finding.n_in_words}, with {finding.level_in_words} interval. Axes are turned so that right is better."
    return finding.figure(caption, drawn, "endpoints", "Endpoints by model", wide=True)


def _shown(entry: Mapping[str, Any], digits: int) -> str:
    if finite(entry.get("lo")) is None:
        return f"{number(entry.get('value'), digits)} ({bounds(None, None, digits)})"
    return estimate(*triple(entry), digits)

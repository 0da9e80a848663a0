"""Pooled results in words: the sentence on each primary difference, and the table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report.reading import mapping
from equipoise.report.text import bounds, digits_for, digits_of_scale, finite, number, percent, percent_plain
from equipoise.report.vocabulary import Metric, lower, metric, model_label

ENDS = ("value", "lo", "hi")
PREDICTION = ("value", "prediction_lo", "prediction_hi")


def metric_of(name: str, entry: Mapping[str, Any], question: Mapping[str, Any]) -> Metric:
    """How an endpoint of a pooled question is printed."""
    return metric(name, entry, str(question.get("unit") or ""), str(question.get("kind") or ""))


def digits_of(shown: Metric, entry: Mapping[str, Any], *, signed: bool) -> int:
    """Decimals of a pooled estimate and its intervals."""
    least = digits_of_scale([entry.get("value")]) if shown.digits is None else shown.digits
    triples = [(entry.get("value"), entry.get(lo), entry.get(hi)) for _, lo, hi in (ENDS, PREDICTION)]
    return digits_for(least, triples, signed=signed)


def texts(shown: Metric, entry: Mapping[str, Any], *, signed: bool) -> tuple[str, str, str]:
    """A pooled estimate, its interval and its prediction interval as they are printed."""
    digits = digits_of(shown, entry, signed=signed)
    value = number(entry.get("value"), digits, sign=signed)
    if finite(entry.get("value")) is None:
        return value, "", ""
    return value, bounds(entry.get("lo"), entry.get("hi"), digits, sign=signed), _expected(entry, digits, signed)


def _expected(entry: Mapping[str, Any], digits: int, signed: bool) -> str:
    lo, hi = entry.get("prediction_lo"), entry.get("prediction_hi")
    return "not possible" if finite(lo) is None else bounds(lo, hi, digits, sign=signed)


def difference_said(question: Mapping[str, Any], comparator: str, level: float) -> str:
    """The pooled primary difference from a comparator in one sentence."""
    name = str(question["primary"])
    entry = mapping(question, "differences", comparator, name)
    shown = metric_of(name, entry, question)
    if finite(entry.get("value")) is None:
        return f"The difference in {lower(shown.label)} from {comparator} was not estimated: {entry.get('note') or 'no site gives it'}."
    value, interval, expected = texts(shown, entry, signed=True)
    said = f"Across {entry['n_sites']} sites the difference in {lower(shown.label)} from {comparator} is {value} "
    said += f"({percent_plain(level)} Hartung-Knapp interval {interval}; {shown.aim})"
    if finite(entry.get("prediction_lo")) is None:
        return f"{said}. What to expect in a new hospital cannot be said from {entry['n_sites']} sites."
    return f"{said}; in a new hospital expect {expected} ({percent_plain(level)} prediction interval)."


def pool_table(task: str, question: Mapping[str, Any]) -> str:
    """One question as text for the terminal: endpoints of the model, paired differences, verdict, warnings."""
    model = str(question["model"])
    head = ("", "mean over sites", "interval", "new hospital", "I2", "sites")
    lines: list[tuple[str, ...]] = [head, (f"{task}: {model_label(model)}", "", "", "", "", "")]
    lines += [_line(name, entry, question, signed=False) for name, entry in mapping(question, "endpoints", model).items()]
    for comparator, table in mapping(question, "differences").items():
        lines.append((f"{task}: minus {comparator}", "", "", "", "", ""))
        lines += [_line(name, entry, question, signed=True) for name, entry in table.items()]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    said = [f"Note: {w}." for w in question["warnings"]] + [f"Pooled verdict: {question['verdict_detail']['sentence']}"]
    return "\n".join([*text, *said])


def _line(name: str, entry: Mapping[str, Any], question: Mapping[str, Any], *, signed: bool) -> tuple[str, ...]:
    shown = metric_of(name, entry, question)
    return (
        f"  {shown.label}",
        *texts(shown, entry, signed=signed),
        percent(entry["i2"], 0) if finite(entry.get("i2")) is not None else "",
        str(entry["n_sites"]),
    )

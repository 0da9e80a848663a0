"""The claims of a report, as data: what was asked, by which protocol, after which opening, and every figure; all that a second person needs to check them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from equipoise import record
from equipoise.trial.evaluate import evaluate
from equipoise.trial.protocol import Protocol

SCHEMA = 1
_LIBRARIES = ("numpy", "scipy", "scikit-misc", "polars", "matplotlib")
_NO_FIGURES = ("schema", "protocol", "curves", "tasks")
"""Keys of the results whose numbers are not claims: the protocol stands apart, points of curves are held against results.json only."""


def results_of(table: pl.DataFrame, protocol: Protocol, asked: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The results of one or several questions, the first one's at the top and the others' below ``tasks``.

    Args:
        table: a predictions table.
        protocol: how to judge.
        asked: for each question the keywords of `evaluate`; their tasks differ.

    Raises:
        UserError: as `evaluate`.
    """
    made = {str(one["task"]): evaluate(table.filter(pl.col("task") == one["task"]), protocol, **one) for one in asked}
    first, *others = made
    return made[first] | ({"tasks": {name: made[name] for name in others}} if others else {})


def claims_of(
    results: Mapping[str, Any],
    asked: Sequence[Mapping[str, Any]],
    *,
    seal: Mapping[str, Any],
    predictions: Mapping[str, Any],
    files: Mapping[str, str],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The content of claims.json.

    Args:
        results: of `results_of`, as read back from results.json.
        asked: the same as there.
        seal: the record of the opening (see `judge.seal_record`).
        predictions: where the table lies, its SHA-256 and its number of lines.
        files: name -> SHA-256 of what was written beside.
        versions: of the software that computed (see `versions`).

    Returns:
        schema, protocol (its values and hash), seal, predictions, files, versions, and for each question: ``asked``, ``verdict``, ``sentence``,
        and ``figures``, path -> number.
    """
    of_task = [results, *results.get("tasks", {}).values()]
    questions = [
        {
            "asked": dict(one),
            "verdict": own["verdict"],
            "sentence": own["verdict_detail"]["sentence"],
            "figures": {path: value for key in own if key not in _NO_FIGURES for path, value in _numbers(own[key], key)},
        }
        for one, own in zip(asked, of_task, strict=True)
    ]
    return {
        "schema": SCHEMA,
        "protocol": results["protocol"],
        "seal": dict(seal),
        "predictions": dict(predictions),
        "questions": questions,
        "files": dict(files),
        "versions": dict(versions),
    }


def _numbers(node: Any, at: str) -> Iterator[tuple[str, float]]:
    """Every number below a node with its dotted path."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _numbers(value, f"{at}.{key}")
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _numbers(value, f"{at}.{i}")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield at, node


def versions() -> dict[str, str]:
    """Versions of what the figures and the page depend on."""
    return record.versions(_LIBRARIES)


def sha256(content: bytes) -> str:
    """The SHA-256 of a file's content, as ``sha256sum`` prints it."""
    return hashlib.sha256(content).hexdigest()

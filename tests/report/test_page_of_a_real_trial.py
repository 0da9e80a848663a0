"""The page of what `trial.evaluate` really gives, for every kind of question."""

from __future__ import annotations

import json
import logging
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from equipoise.report.page import page
from equipoise.report.vocabulary import VERDICTS
from equipoise.trial.evaluate import evaluate
from equipoise.trial.protocol import protocol_of
from report.page_reader import Reader
from report.simulated_predictions import CLASSES, KINDS
from report.simulated_results import context

DEFAULT = Path(__file__).parents[2] / "configs" / "trial" / "default.yaml"


def _protocol(**over: Any) -> Any:
    import yaml

    return protocol_of(yaml.safe_load(DEFAULT.read_text()) | {"n_bootstrap": 100, "loess_bootstrap": 40} | over)


@cache
def _results(kind: str, role: str = "held_out", opening: int | None = 1, n: int = 400, margin: float | None = None) -> dict[str, Any]:
    """Through JSON, as the run writes it: null and lists."""
    made = evaluate(
        KINDS[kind](n, 7),
        _protocol(margin=margin),
        kind=kind,
        task="risk",
        required=["linear", "gblup"],
        role=role,
        opening=opening,
        classes=CLASSES if kind == "multiclass" else (),
        unit="g" if kind == "continuous" else "",
        target="body_weight" if kind == "continuous" else "died",
        not_run={"gblup/risk": "the cohort has no genotypes"},
        interval={"kind": "credible_mean", "level": 0.9, "of": "credible interval of the mean"},
    )
    return json.loads(json.dumps(made, allow_nan=False))


@cache
def _page(kind: str) -> str:
    return page(_of(kind), context())


def _of(kind: str) -> dict[str, Any]:
    return _results(kind, "cross-validation", None) if kind == "continuous" else _results(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_a_real_trial_gets_a_page_without_a_failed_section(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    results, text = _of(kind), _page(kind)
    read = Reader(text)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "could not be made" not in read.text
    assert len(text.encode()) < 2 * 2**20
    label, _, rest = results["verdict_detail"]["sentence"].partition(": ")
    assert VERDICTS[results["verdict"]] == label
    assert rest.split(" (")[0][1:] in read.text  # the first letter is made a capital
    assert "Required, but not applicable: gblup The cohort has no genotypes." in read.text
    ids = [a["id"] for _, a in read.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for line in results["endpoints"].values():
        if line["value"] is not None:
            assert line["value"] in {value for value, _ in read.data}


@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_of_each_kind_are_there(kind: str) -> None:
    labels = {a.get("aria-label", "") for tag, a in Reader(_page(kind)).tags if tag == "svg"}
    wanted = {
        "binary": {"calibration plot", "decision curve", "distribution of the risks", "ROC curve"},
        "continuous": {"calibration plot", "histogram of observed against predicted values"},
        "multiclass": {f"ROC curve of class {c}" for c in CLASSES},
        "time_to_event": {"calibration plot at 365 days", "decision curve at 365 days"},
        "treatment_effect": {"Endpoints by model"},
    }
    assert wanted[kind] <= labels


def test_a_difference_is_never_printed_with_two_signs() -> None:
    results = _results("binary")
    read = Reader(_page("binary")).text
    assert "positive favours the model" not in read
    e = results["comparisons"]["linear"]["log_score"]
    assert re.search(re.escape(f"{e['difference']:+.3f}".replace("-", "\N{MINUS SIGN}")), read)


@pytest.mark.slow
def test_select_rows_of_a_real_trial_make_no_claim() -> None:
    read = Reader(page(_results("binary", "select", None, n=100), context(opening=None))).text
    assert "Tuning metrics, no claim" in read
    assert "Not evaluable" not in read


def test_too_few_events_are_named_as_the_reason_for_no_verdict() -> None:
    results = _results("binary", n=30)
    read = Reader(page(results, context())).text
    assert results["verdict"] == "not evaluable"
    assert "Not evaluable" in read
    assert results["verdict_detail"]["reasons"][0][1:] in read


def test_a_declared_margin_is_said_and_drawn() -> None:
    read = Reader(page(_results("binary", n=100, margin=0.02), context())).text
    assert "Margin of non-inferiority 0.02" in read
    assert "The dotted line is the margin of non-inferiority" in read

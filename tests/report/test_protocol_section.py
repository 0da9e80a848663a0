"""The protocol as a document: what is not declared is said, and nothing is said to have come first that may not have."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from equipoise.report.finding import Finding
from equipoise.report.markup import Numbering
from equipoise.report.protocol import protocol
from equipoise.report.secondary import secondary
from trial.simulated_predictions import CONFIG


def finding(opening: int | None, **over: Any) -> Finding:
    detail = {"opening": opening, "exploratory": (opening or 0) > 1, "against": ["linear"], "primary": "log_score"}
    declared = yaml.safe_load(CONFIG.read_text()) | {"hash": "c0ffee"} | over
    claims = {"auroc": {"p": 0.001, "p_adjusted": 0.002, "shown": True, "against": "linear", "sentence": "gain shown"}}
    return Finding({"kind": "binary", "role": "held_out", "protocol": declared, "verdict_detail": detail, "secondary": claims}, {}, Numbering())


def text(html: object) -> str:
    return re.sub(r"<[^>]+>", " ", str(html))


@pytest.mark.parametrize(
    ("opening", "said"),
    [(1, "Declared and hashed (c0ffee) before these rows were opened"), (3, "had been opened before"), (None, "nothing shows that this protocol")],
)
def test_a_protocol_is_said_to_come_first_only_where_the_seal_shows_it(opening: int | None, said: str) -> None:
    shown = text(protocol(finding(opening)))
    assert said in shown
    assert ("before these rows were opened" in shown) == (opening == 1)


def test_what_is_not_declared_is_said_and_what_is_declared_is_told() -> None:
    silent, told = text(protocol(finding(1))), text(protocol(finding(1, population="Adults in intensive care", claim="equivalence", margin=0.01)))
    assert re.search(r"Population\s+not declared", silent)
    assert re.search(r"Population\s+Adults in intensive care", told)
    assert "differs from every required comparator by less than the margin" in told


def test_secondary_claims_on_rows_opened_before_are_exploratory() -> None:
    assert "exploratory" not in text(secondary(finding(1, secondary=["auroc"])))
    assert "exploratory" in text(secondary(finding(2, secondary=["auroc"])))

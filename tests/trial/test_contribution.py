"""Contributions of evidences to one fitted model: Shapley values of its score over all subsets of hidden evidences."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise.report.finding import Finding
from equipoise.report.markup import Numbering
from equipoise.report.value import value
from trial.simulated_predictions import judged, protocol
from trial.test_value import CLAIM, predictions


def _told(found: pl.DataFrame, kind: str = "binary", **over: Any) -> dict[str, Any]:
    over = ({"endpoints": ["crps"]} if kind == "continuous" else {}) | over
    return judged(found, kind, protocol=protocol(**CLAIM | over))["value"]["contribution"]


def test_the_log_score_is_divided_as_by_hand_and_adds_up() -> None:
    found = predictions()
    told = _told(found)
    mine = found.filter(pl.col("model") == "equipoise")
    arm = {s: t["risk"].to_numpy() for (s,), t in mine.group_by("scenario", maintain_order=True)}
    y = mine.filter(pl.col("scenario") == "all")["outcome"].to_numpy()
    score = {s: float(np.mean(y * np.log(r) + (1 - y) * np.log1p(-r))) for s, r in [*arm.items(), ("nothing", np.full(y.size, y.mean()))]}
    both, x, g, nothing = score["all"], score["masked:g"], score["masked:x"], score["nothing"]
    line = told["evidences"]
    assert line["x"]["value"] == pytest.approx((both - g + x - nothing) / 2, abs=1e-12)
    assert line["g"]["value"] == pytest.approx((both - x + g - nothing) / 2, abs=1e-12)
    assert told["whole"] == pytest.approx(both - nothing, abs=1e-12)
    assert told["n"] == y.size
    assert all(v["lo"] < v["value"] < v["hi"] for v in line.values())
    assert min(line["x"]["lo"], line["g"]["lo"]) > 0


def test_an_evidence_that_says_nothing_contributes_nothing() -> None:
    line = _told(predictions(content=0.0, luck=0.0))["evidences"]["g"]
    assert line["lo"] - 1e-9 <= 0 <= line["hi"] + 1e-9
    assert abs(line["value"]) < 0.005


def test_rows_that_lack_an_evidence_are_left_out_and_a_subset_that_was_not_predicted_is_not_made_up() -> None:
    found = predictions()
    lacking = (pl.col("scenario") == "masked:x") & (pl.col("model") == "equipoise") & ~pl.col("present_g")
    abstained = found.with_columns(
        risk=pl.when(lacking).then(None).otherwise(pl.col("risk")), abstain_reason=pl.when(lacking).then(pl.lit("no modality present"))
    )
    n = found.filter((pl.col("model") == "equipoise") & (pl.col("scenario") == "all"))["present_g"].sum()
    assert _told(abstained)["n"] == n
    assert _told(found.filter(pl.col("scenario") != "masked:x")) == {}


def test_a_continuous_outcome_is_divided_by_its_crps() -> None:
    told = _told(predictions(kind="continuous"), "continuous")
    assert sum(v["value"] for v in told["evidences"].values()) == pytest.approx(told["whole"], abs=1e-12)
    assert told["evidences"]["g"]["lo"] > 0


def test_the_page_says_what_the_contributions_are_of() -> None:
    results = judged(predictions(), protocol=protocol(**CLAIM))
    page = str(value(Finding(json.loads(json.dumps(results)), {}, Numbering())))
    assert "Contribution of each evidence to the fitted model" in page
    assert "only the refits tell" in page

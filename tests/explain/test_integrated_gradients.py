"""Attributions add up to what they explain, are exact for linear models, and find what a known truth rests on."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.batches import Batches, open_views
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Batch, Vector
from equipoise.explain import integrated_gradients
from equipoise.explain.integrated_gradients import Explanation, explain
from equipoise.learner.train import train_member
from equipoise.model import Model
from equipoise.testing.cohorts import tiny_cohort
from small_config import small_config

VIEWS = ("ehr", "genotype", "biomarker", "clinical")
STEPS = 384  # a small network trained hard bends often on its way, and the sum over steps converges as slowly


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("explain") / "c", n=240)


@pytest.fixture(scope="module")
def model(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Model:
    config = small_config(views=VIEWS, tasks=("risk", "regression"), head="variational", learner__max_epochs=12, optimizer__lr=0.02)
    return Model.load(train_member(config, cohort, Split.of(cohort), seed=0, folder=tmp_path_factory.mktemp("m"), loggers=[]))


@pytest.fixture(scope="module")
def told(model: Model, cohort: Cohort) -> list[Explanation]:
    return explain(model, cohort, cohort.rows_in("held_out")[:12], task="risk", steps=STEPS)


def test_attributions_add_up_to_the_way_from_the_baseline(told: list[Explanation]) -> None:
    for one in told:
        assert abs(one.gap) < 0.01 * max(abs(one.end - one.start), 0.2)
    assert max(abs(one.end - one.start) for one in told) > 0.1


def test_the_end_is_the_models_answer_and_rows_do_not_mix(model: Model, cohort: Cohort, told: list[Explanation]) -> None:
    rows = cohort.rows_in("held_out")[:12]
    alone = explain(model, cohort, rows[3:4], task="risk", steps=STEPS)[0]
    assert alone.end == pytest.approx(told[3].end, abs=1e-5)
    np.testing.assert_allclose(alone.items["attribution"], told[3].items["attribution"], atol=1e-4)
    assert alone.items["item"].equals(told[3].items["item"])


def test_every_view_is_taken_apart_by_name(told: list[Explanation], model: Model) -> None:
    every = pl.concat([one.items for one in told])
    assert set(every["view"]) == set(VIEWS)
    assert {"crp", "ldl", "glucose"} >= set(every.filter(pl.col("view") == "biomarker")["item"]) != set()
    assert set(every.filter(pl.col("view") == "ehr")["item"]) <= set(model.views["ehr"].items())
    assert every.filter(pl.col("view") == "genotype")["told"].str.contains("cop").any()
    assert not every["item"].str.starts_with("input").any()


def test_it_leaves_the_model_as_it_was(model: Model, cohort: Cohort, told: list[Explanation]) -> None:
    before = model.hash()
    explain(model, cohort, cohort.rows_in("held_out")[:2], task="risk", steps=2)
    assert model.hash() == before
    assert all(p.grad is None for p in model.network.parameters())
    assert not any(m._forward_hooks for m in model.network.modules())


def test_a_linear_map_gives_weight_times_value(model: Model, cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the answer a weighted sum of what the biomarkers' encoder is given, an attribution is weight times value, with one step."""
    rows, weight = cohort.rows_in("held_out")[:6], torch.tensor([0.7, -1.3, 0.2])

    def linear(network: Any, batch: Batch, *ignored: Any) -> torch.Tensor:
        part = batch.parts["biomarker"]
        assert isinstance(part, Vector)
        return torch.zeros(batch.size).index_add(0, part.rows, part.value @ weight) + 0.0 * network(batch, n_draws=1, seed=0)["risk"].value.sum()

    monkeypatch.setattr(integrated_gradients, "_answers", linear)
    batches = Batches(open_views(model.views, cohort), {k: v.evidence for k, v in model.views.items()}, model.network.evidences, targets={})
    part = batches(rows).parts["biomarker"]
    assert isinstance(part, Vector)
    for one, p in zip([explain(model, cohort, rows, task="risk", steps=1)[r] for r in part.rows.tolist()], range(len(part.rows)), strict=True):
        own = one.items.filter(pl.col("view") == "biomarker")
        expected = {n: float(v * w) for n, v, w, o in zip(("crp", "ldl", "glucose"), part.value[p], weight, part.observed[p], strict=True) if o}
        assert dict(zip(own["item"], own["attribution"], strict=True)) == pytest.approx(expected, abs=1e-6)
        assert one.items.filter(pl.col("view") != "biomarker")["attribution"].abs().max() == pytest.approx(0.0)


def test_what_cannot_be_asked_is_refused(model: Model, cohort: Cohort) -> None:
    with pytest.raises(UserError, match="no task 'x'"):
        explain(model, cohort, np.arange(2), task="x")
    with pytest.raises(UserError, match="no label 'y'"):
        explain(model, cohort, np.arange(2), task="risk", label="y")

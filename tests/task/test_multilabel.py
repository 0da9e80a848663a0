"""Several labels of one row need no task of their own: a list of binary tasks shares one network, and each row teaches the labels that it has."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.assemble import assemble, fit_views
from equipoise.batches import Batches, at_rows, evidences_of, open_views
from equipoise.cohort.draft import TargetTable
from equipoise.cohort.frozen import Cohort
from equipoise.config.compose import search_path
from equipoise.launch import checked
from equipoise.network import Network
from equipoise.task.risk import RiskTask
from equipoise.testing.cohorts import tiny_cohort
from small_config import small_config

LABELS = ("sepsis", "delirium", "death")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("multilabel") / "cohort")


def partly_labelled(cohort: Cohort) -> dict[str, TargetTable]:
    """Label k is known in two of three rows; every third row has another one missing."""
    table, made = cohort.target("outcome").table, {}
    rng = np.random.default_rng(0)
    for k, name in enumerate(LABELS):
        known = np.arange(cohort.size) % 3 != k
        outcome = np.where(known, rng.integers(0, 2, cohort.size), np.nan)
        made[name] = TargetTable("binary", table.with_columns(outcome=pl.Series(outcome), observed=pl.Series(known)))
    return made


def built(cohort: Cohort) -> tuple[Network, Batches]:
    config = small_config(views=("clinical", "biomarker"), head="point")
    targets, rows = partly_labelled(cohort), cohort.rows_in("train")
    config["task"] = {"risk": config["task"]["risk"]}
    views = fit_views(config, cohort, rows)
    config["task"] = {name: {**config["task"]["risk"], "target": name} for name in LABELS}
    network = assemble(config, views, {k: at_rows(t, rows) for k, t in targets.items()}, seed=0)
    return network, Batches(open_views(views, cohort), {k: v.evidence for k, v in views.items()}, evidences_of(views), targets=targets)


def test_several_binary_tasks_compose_from_the_command_line_and_from_an_experiment() -> None:
    node = "{_target_: equipoise.task.risk.RiskTask, target: outcome, class_weight: null}"
    with search_path(None) as search:
        values = checked(["task=[risk]", f"+task.second={node}"], search).values
    assert list(values["task"]) == ["risk", "second"]


def test_labels_share_one_network_and_are_answered_one_by_one(cohort: Cohort) -> None:
    network, batches = built(cohort)
    assert [type(network.task(name)) for name in LABELS] == [RiskTask] * 3
    assert len(network.encoders) == 2
    draws = network(batches(np.arange(9)), n_draws=1, seed=0)
    assert {name: tuple(d.value.shape) for name, d in draws.items()} == dict.fromkeys(LABELS, (1, 9, 1))
    assert [q.kind for q in network.questions()] == ["binary"] * 3


def test_a_row_teaches_only_the_labels_that_it_has(cohort: Cohort) -> None:
    network, batches = built(cohort)
    lacking_sepsis = np.arange(3, cohort.size, 3)
    network.loss(batches(lacking_sepsis), n_train=10**9, n_draws=1, seed=0, beta=0.0).total.backward()
    out = network.head.out.weight.grad  # type: ignore[union-attr]
    assert isinstance(out, torch.Tensor)
    moved = out.abs().sum(1)
    assert moved[0] < 1e-6 < min(float(moved[1]), float(moved[2]))
    assert any(float(p.grad.abs().sum()) > 1e-6 for p in network.encoders.parameters() if p.grad is not None)


def test_a_label_s_loss_is_the_mean_over_the_rows_that_have_it(cohort: Cohort) -> None:
    network, batches = built(cohort)
    batch = batches(np.arange(30))
    with torch.no_grad():
        losses = network.eval().loss(batch, n_train=10, n_draws=1, seed=0, beta=1.0)
        draws = network(batch, n_draws=1, seed=0)
    for name in LABELS:
        target = batch.targets[name]
        p = torch.sigmoid(draws[name].value[0, :, 0])[target.observed]
        y = target.outcome[target.observed]
        expected = -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()
        assert float(losses.nll[name]) == pytest.approx(float(expected), rel=1e-5)

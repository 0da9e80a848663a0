"""The weights of views are found on select rows, by a trained network that stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from equipoise.assemble import assemble, fit_views
from equipoise.batches import Batches, at_rows, evidences_of, open_views
from equipoise.cohort.frozen import Cohort
from equipoise.learner.weigh import weigh_views
from equipoise.network import Network
from equipoise.testing.cohorts import tiny_cohort
from small_config import small_config


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("weigh") / "cohort")


def _built(cohort: Cohort, fusion: dict[str, Any]) -> tuple[Network, Batches]:
    config = {**small_config(views=("clinical", "biomarker", "genotype"), tasks=("risk", "regression"), head="point"), "fusion": fusion}
    views = fit_views(config, cohort, cohort.rows_in("train"))
    targets = {name: cohort.target(node["target"]) for name, node in config["task"].items()}
    network = assemble(config, views, {k: at_rows(t, cohort.rows_in("train")) for k, t in targets.items()}, seed=0)
    return network.eval(), Batches(open_views(views, cohort), {k: v.evidence for k, v in views.items()}, evidences_of(views), targets=targets)


LATE = {"_target_": "equipoise.fusion.late.Late", "sparsity": 3.0, "prior_scale": 20.0}


def test_select_rows_lower_their_own_loss_and_nothing_but_the_pool_moves(cohort: Cohort) -> None:
    network, batches = _built(cohort, LATE)
    rows = cohort.rows_in("select")
    before, weights = {k: v.clone() for k, v in network.state_dict().items()}, network.fusion.weights()

    def loss() -> float:
        with torch.no_grad():
            batch = batches(rows)
            draws = network(batch, n_draws=1, seed=0)
            return sum(float(network.task(k).loss(d, batch.targets[k]).sum()) for k, d in draws.items())

    first = loss()
    weigh_views(network, batches, [rows], n_draws=1, seed=0)
    assert loss() < first + 3.0 * sum(weights.values())
    moved = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"fusion.root", "fusion.overlap_root"}
    assert all(p.grad is None or not p.grad.any() for k, p in network.named_parameters() if not k.startswith("fusion."))
    found = network.fusion.weights()
    other, _ = _built(cohort, LATE)
    weigh_views(other, batches, np.array_split(rows, 3), n_draws=1, seed=0)
    assert other.fusion.weights() == pytest.approx(found, abs=1e-3)


def test_other_fusions_and_trainings_without_select_rows_are_left_alone(cohort: Cohort) -> None:
    concat = {"_target_": "equipoise.fusion.concat.Concat", "layers": 0, "hidden": 8, "dropout": 0.0, "prior_scale": 20.0}
    for fusion, rows in ((concat, [cohort.rows_in("select")]), (LATE, [np.empty(0, np.int64)]), (LATE, [])):
        network, batches = _built(cohort, fusion)
        before = {k: v.clone() for k, v in network.state_dict().items()}
        weigh_views(network, batches, rows, n_draws=1, seed=0)
        assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())

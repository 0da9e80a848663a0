"""The weights of views are found on select rows, by a trained network that stays as it is."""

from __future__ import annotations

import copy
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
from equipoise.testing.network_laws import seeded
from small_config import small_config


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("weigh") / "cohort")


def _built(cohort: Cohort, fusion: dict[str, Any], steps: int = 0) -> tuple[Network, Batches]:
    config = {**small_config(views=("clinical", "biomarker", "genotype"), tasks=("risk", "regression"), head="point"), "fusion": fusion}
    views = fit_views(config, cohort, cohort.rows_in("train"))
    targets = {name: cohort.target(node["target"]) for name, node in config["task"].items()}
    network = assemble(config, views, {k: at_rows(t, cohort.rows_in("train")) for k, t in targets.items()}, seed=0)
    batches = Batches(open_views(views, cohort), {k: v.evidence for k, v in views.items()}, evidences_of(views), targets=targets)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for step in range(steps):
        with seeded(step):
            network.train().loss(batches(cohort.rows_in("train")), n_train=10_000, n_draws=1, seed=0, beta=1.0).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    return network.eval(), batches


LATE = {"_target_": "equipoise.fusion.late.Late", "sparsity": 3.0, "prior_scale": 20.0}


def test_weights_are_fitted_to_all_select_rows_and_nothing_but_the_pool_moves(cohort: Cohort) -> None:
    network, batches = _built(cohort, LATE, steps=40)
    by_hand, other = copy.deepcopy(network), copy.deepcopy(network)
    rows = cohort.rows_in("select")
    before = {k: v.clone() for k, v in network.state_dict().items()}
    weigh_views(network, batches, [rows], n_draws=1, seed=0)
    moved = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"fusion.root", "fusion.overlap_root"}
    assert all(p.grad is None or not p.grad.any() for k, p in network.named_parameters() if not k.startswith("fusion."))
    found = network.fusion.weights()
    batch = batches(rows)
    tokens = {view: encoder(batch.parts[view]) for view, encoder in by_hand.encoders.items()}

    def nll(z: torch.Tensor) -> torch.Tensor:
        draws = by_hand.divide(by_hand.head(z, n_draws=1, seed=0))
        return sum((by_hand.task(k).loss(d, batch.targets[k]).sum() for k, d in draws.items()), torch.zeros(()))

    by_hand.fusion.fit(tokens, batch.present, nll)
    assert found == pytest.approx(by_hand.fusion.weights(), abs=1e-5)
    assert max(found.values()) > 0.1  # they have learnt something to be weighed
    weigh_views(other, batches, np.array_split(rows, 3), n_draws=1, seed=0)
    assert other.fusion.weights() == pytest.approx(found, abs=1e-3)


def test_other_fusions_and_trainings_without_select_rows_are_left_alone(cohort: Cohort) -> None:
    concat = {"_target_": "equipoise.fusion.concat.Concat", "layers": 0, "hidden": 8, "dropout": 0.0, "prior_scale": 20.0}
    for fusion, rows in ((concat, [cohort.rows_in("select")]), (LATE, [np.empty(0, np.int64)]), (LATE, [])):
        network, batches = _built(cohort, fusion)
        before = {k: v.clone() for k, v in network.state_dict().items()}
        weigh_views(network, batches, rows, n_draws=1, seed=0)
        assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())

"""Heads whose posterior is fitted after training, through the learner and a model's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.assemble import assemble, fit_views
from equipoise.batches import Batches, at_rows, evidences_of, open_views
from equipoise.cohort.split import Split
from equipoise.contract.tensors import Batch, Target
from equipoise.learner.after import hessian_of, nll_of
from equipoise.learner.train import train_member
from equipoise.model import Model
from equipoise.network import Network
from equipoise.testing.cohorts import tiny_cohort
from small_config import small_config

TASKS = ("risk", "multiclass", "regression")


@pytest.mark.parametrize("head", ["laplace", "sngp", "gaussian_process"])
def test_a_trained_model_has_draws_in_evaluation_and_gives_them_again_after_loading(head: str, tmp_path: Path) -> None:
    cohort = tiny_cohort(tmp_path / "cohort")
    config, split = small_config(tasks=TASKS, head=head, learner__max_epochs=2), Split.of(cohort)
    path = train_member(config, cohort, split, seed=0, folder=tmp_path / "m", loggers=[])
    model = Model.load(path)
    batches = Batches(open_views(model.views, cohort), {k: v.evidence for k, v in model.views.items()}, model.network.evidences, targets={})
    batch = batches(split.held_out[:9])
    with torch.no_grad():
        draws = {name: d.value for name, d in model.network(batch, n_draws=25, seed=1).items()}
        model.save(tmp_path / "again.pt")
        again = Model.load(tmp_path / "again.pt").network(batch, n_draws=25, seed=1)
    assert {name: len(value) for name, value in draws.items()} == dict.fromkeys(TASKS, 25)
    assert all((value.std(0) > 0).all() and value.isfinite().all() for value in draws.values())
    assert all(torch.equal(draws[name], again[name].value) for name in TASKS)


def test_the_likelihood_that_a_head_gets_is_that_of_all_tasks(tmp_path: Path) -> None:
    network, batch = small_network(tmp_path)
    targets: dict[str, Target] = dict(batch.targets)
    params = network.head(network.encode(batch), n_draws=1, seed=0).value[0].detach().double()
    nll, hessian = nll_of(network, targets), hessian_of(network, targets)
    expected = torch.stack([network.task(k).loss(d, targets[k]) for k, d in network(batch, n_draws=1, seed=0).items()]).sum(0)
    assert torch.allclose(nll(params), expected.double(), atol=1e-5)
    row = int(torch.stack([t.observed for t in targets.values()]).all(0).nonzero()[0, 0])

    def own(p: torch.Tensor) -> torch.Tensor:
        return nll(torch.cat([params[:row], p[None], params[row + 1 :]]))[row]

    # The Hessians of these likelihoods do not depend on the outcome, so the expected one is that of the loss.
    assert torch.allclose(hessian(params)[row], torch.autograd.functional.hessian(own, params[row]), atol=1e-4)


def small_network(folder: Path) -> tuple[Network, Batch]:
    cohort = tiny_cohort(folder / "cohort")
    config, rows = small_config(tasks=TASKS, head="point"), cohort.rows_in("train")
    views = fit_views(config, cohort, rows)
    targets = {name: cohort.target(node["target"]) for name, node in config["task"].items()}
    network = assemble(config, views, {k: at_rows(t, rows) for k, t in targets.items()}, seed=0).eval()
    batches = Batches(open_views(views, cohort), {k: v.evidence for k, v in views.items()}, evidences_of(views), targets=targets)
    return network, batches(np.asarray(rows[:30]))

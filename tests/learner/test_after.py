from __future__ import annotations

import torch

from equipoise.contract.tensors import Draws, generator
from equipoise.learner.after import observed_hessian
from equipoise.task.multiclass import MulticlassTask
from equipoise.task.time_to_event import TimeToEventTask
from equipoise.testing.task_laws import sample_outcomes, target_of


def test_the_observed_hessian_of_classes_is_the_expected_one() -> None:
    task, train = MulticlassTask(target="y"), sample_outcomes("multiclass", n=30, seed=0)
    task.setup(train)
    target, params = target_of(train), torch.randn(30, 3, generator=generator(0))
    expected = task.hessian(params) * (target.weight * target.observed)[:, None, None]
    assert torch.allclose(observed_hessian(lambda p: task.loss(Draws(p[None]), target), params), expected, atol=1e-6)


def test_the_observed_hessian_of_hazards_is_that_of_autograd_row_by_row() -> None:
    task, train = TimeToEventTask(target="t", n_intervals=3, horizons_days=None), sample_outcomes("time_to_event", n=12, seed=1)
    task.setup(train)
    target, params = target_of(train), task.start() + torch.randn(12, task.n_params, generator=generator(1))

    def total(params: torch.Tensor) -> torch.Tensor:
        return task.loss(Draws(params[None]), target).sum()

    whole = torch.autograd.functional.hessian(total, params)
    found = observed_hessian(lambda p: task.loss(Draws(p[None]), target), params)
    for row in range(12):
        assert torch.allclose(found[row], whole[row, :, row], atol=1e-5)
    assert (torch.linalg.eigvalsh(found.double()) > -1e-6).all()
    assert (found[~target.observed] == 0).all()


def test_negative_curvature_is_taken_as_none() -> None:
    found = observed_hessian(lambda p: (p[:, 0] ** 2 - p[:, 1] ** 2) / 2, torch.zeros(2, 2))
    assert torch.allclose(found, torch.tensor([[1.0, 0.0], [0.0, 0.0]]).expand(2, 2, 2))

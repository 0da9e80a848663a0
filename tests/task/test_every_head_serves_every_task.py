from __future__ import annotations

import pytest
import torch

from equipoise.contract.tensors import Draws, generator
from equipoise.head import Head, gaussian_process, settle
from equipoise.learner.after import observed_hessian
from equipoise.task import Task
from equipoise.testing.discovery import options
from equipoise.testing.head_laws import new_head
from equipoise.testing.task_laws import kind_for, new_task, sample_outcomes, target_of

WIDTH = {"identity": 64}
"""Of z, where not 8: every parameter of a task is an entry of it."""


@pytest.mark.parametrize("task_option", sorted(options("task")))
@pytest.mark.parametrize("head_option", sorted(options("head")))
def test_every_head_takes_two_steps_on_every_task_and_answers(head_option: str, task_option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # That settling and tuning reach an optimum is tested with the heads.
    monkeypatch.setattr(settle, "STEPS", 5)
    monkeypatch.setitem(gaussian_process._TUNING, "maxfev", 3)
    z = torch.randn(60, WIDTH.get(head_option, 8), generator=generator(0))
    task = new_task(options("task")[task_option])
    outcomes = sample_outcomes(kind_for(options("task")[task_option]), n=60, seed=1, x=z[:, 0].double().numpy())
    task.setup(outcomes)
    target = target_of(outcomes)
    head = new_head(options("head")[head_option], seed=0, d_in=z.shape[1], bias=task.start()).train()

    def loss(seed: int) -> torch.Tensor:
        nll = task.loss(head(z, n_draws=head.train_draws, seed=seed), target).mean()
        return nll + (head.kl() + head.penalty() + task.penalty()) / len(z)

    optimizer = torch.optim.Adam([*head.parameters(), *task.parameters()], lr=0.02)
    before = float(loss(0).detach())
    for _ in range(2):
        optimizer.zero_grad()
        loss(0).backward()
        optimizer.step()
    # Common numbers: the same noise before and after.
    assert float(loss(0).detach()) < before

    def nll(params: torch.Tensor) -> torch.Tensor:
        return task.loss(Draws(params if params.ndim == 3 else params[None]), target)

    def hessian(params: torch.Tensor) -> torch.Tensor:
        if type(task).hessian is Task.hessian:
            return observed_hessian(nll, params)
        return task.hessian(params) * target.observed[:, None, None]

    head.eval().fit(z, hessian, len(z), nll)
    answer = task.answer(Draws(head(z, n_draws=5, seed=3).value.detach()))
    assert torch.isfinite(answer.mean).all()
    if type(head).fit is not Head.fit:
        assert (answer.mean.std(0) > 0).all()

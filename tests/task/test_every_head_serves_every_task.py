from __future__ import annotations

import pytest
import torch

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, generator
from equipoise.head import Head, settle
from equipoise.learner.after import observed_hessian
from equipoise.testing.discovery import options
from equipoise.testing.head_laws import new_head
from equipoise.testing.task_laws import kind_for, new_task, sample_outcomes, target_of

REFUSED = {("gaussian_process", "quantile")}
"""A pinball loss is made of straight lines: it has no curvature to expand around, and the process says that it finds no mode."""


@pytest.mark.parametrize("task_option", sorted(options("task")))
@pytest.mark.parametrize("head_option", sorted(options("head")))
def test_every_head_takes_two_steps_on_every_task_and_answers(head_option: str, task_option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "STEPS", 5)  # that settling reaches the optimum is tested with the heads
    z = torch.randn(60, 8, generator=generator(0))
    task = new_task(options("task")[task_option])
    outcomes = sample_outcomes(kind_for(options("task")[task_option]), n=60, seed=1, x=z[:, 0].double().numpy())
    task.setup(outcomes)
    target = target_of(outcomes)
    head = new_head(options("head")[head_option], seed=0, d_in=8, bias=task.start()).train()

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

    if (head_option, task_option) in REFUSED:
        with pytest.raises(UserError, match="choose another head"):
            head.eval().fit(z, lambda params: observed_hessian(nll, params), len(z), nll)
        return
    head.eval().fit(z, lambda params: observed_hessian(nll, params), len(z), nll)
    answer = task.answer(Draws(head(z, n_draws=5, seed=3).value.detach()))
    assert torch.isfinite(answer.mean).all()
    if type(head).fit is not Head.fit:
        assert (answer.mean.std(0) > 0).all()

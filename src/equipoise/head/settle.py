"""Posterior spreads brought to the optimum of the lower bound after training, with means as trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from equipoise.contract.counter import stream_seed
from equipoise.head import Head, Likelihood

STEPS, RATE, DRAWS = 300, 0.1, 8


def settle(head: Head, spreads: Sequence[nn.Parameter], z: Tensor, n: int, nll: Likelihood) -> None:
    """Adam on the spreads alone, over all train rows at once, its rate falling to 0.

    Early stopping leaves a standard deviation near where it started: a network that is trained for a hundred steps at a rate of 0.002 moves it by a fifth.
    The intervals would tell of ``init_scale`` and not of the data. Means stay as they were selected.

    Args:
        head: in evaluation mode; its training-mode outputs give the bound.
        spreads: the parameters of its standard deviations and covariances.
        z, n, nll: see `Head.fit`.
    """
    if not len(z):
        return
    optimizer = torch.optim.Adam(spreads, lr=RATE)
    head.train()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        with torch.enable_grad():
            draws = head(z, n_draws=DRAWS, seed=stream_seed("settle", step)).value
            bound = (nll(draws).sum() * (n / len(z)) + head.kl()) / n
        for spread, gradient in zip(spreads, torch.autograd.grad(bound, spreads), strict=True):
            spread.grad = gradient
        optimizer.step()
    head.eval().zero_grad()

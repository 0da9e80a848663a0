"""A linear model with normal noise of known size, whose posterior over the weights is known, and a head trained on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.contract.tensors import generator
from equipoise.head import Head

N, D, SIGMA = 120, 3, 0.8
"""Heads of these tests have weights ~ N(0, 0.8^2 / D) and one bias ~ N(-1, 3^2)."""


@dataclass(frozen=True)
class Exact:
    """The posterior of the weights, the bias last: mean f64 (D + 1,) and precision f64 (D + 1, D + 1)."""

    mean: Tensor
    precision: Tensor


def sample() -> tuple[Tensor, Tensor]:
    """z (N, D), correlated, and y (N,)."""
    mixing = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -0.4], [0.0, 0.0, 1.0]])
    z = torch.randn(N, D, generator=generator(1)) @ mixing + 0.2
    return z, z @ torch.tensor([1.0, -0.5, 0.3]) + 0.7 + SIGMA * torch.randn(N, generator=generator(2))


def train(head: Head, *, n_draws: int, steps: int) -> None:
    """By the lower bound, with a learning rate that falls to 0."""
    z, y = sample()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        optimizer.zero_grad()
        mean = head(z, n_draws=n_draws, seed=step).value[..., 0]
        (((y - mean) ** 2).sum(1).mean() / (2 * SIGMA**2) + head.kl()).div(N).backward()
        optimizer.step()
        schedule.step()


def exact() -> Exact:
    z, y = sample()
    x = torch.cat([z, torch.ones(N, 1)], 1).double()
    prior_precision = torch.tensor([D / 0.8**2] * D + [1 / 3.0**2]).double()
    precision = x.T @ x / SIGMA**2 + torch.diag(prior_precision)
    prior_pull = prior_precision * torch.tensor([0.0] * D + [-1.0]).double()
    return Exact(torch.linalg.solve(precision, x.T @ y.double() / SIGMA**2 + prior_pull), precision)

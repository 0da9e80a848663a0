"""Intervals of a risk whose truth is known: linear heads on a linear truth, mean over generated cohorts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.contract.tensors import generator
from equipoise.head import Head
from equipoise.testing.discovery import options
from equipoise.testing.head_laws import new_head
from equipoise.uncertainty import credible_interval

N, D, COHORTS, STEPS = 400, 16, 20, 300
# The truth comes from the heads' own default prior; under the horseshoe's it would be sparse. Masks have a width of their own.
LINEAR = sorted(name for name, node in options("head").items() if node.get("layers") == 0 and name not in ("point", "mc_dropout", "variational_horseshoe"))


def cohort(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Correlated rows, outcomes, new rows and their true risks; weights from the heads' own default prior."""
    g = generator(seed)
    mixing = torch.eye(D) + 0.3 * torch.randn(D, D, generator=g) / 4
    z, new = (torch.randn(n, D, generator=g) @ mixing for n in (N, 100))
    w, b = torch.randn(D, generator=g) / D**0.5, -0.5 + 0.5 * torch.randn(1, generator=g)
    return z, (torch.rand(N, generator=g) < torch.sigmoid(z @ w + b)).float(), new, torch.sigmoid(new @ w + b)


def trained(node: dict[str, Any], z: Tensor, y: Tensor) -> Head:
    head = new_head(node, seed=0, d_in=D, bias=torch.logit(y.mean())[None]).train()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)

    def nll(params: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(params[..., 0], y.to(params).expand(params.shape[:-1]), reduction="none")
        return each if each.ndim == 1 else each.mean(0)

    for step in range(STEPS):
        optimizer.zero_grad()
        (nll(head(z, n_draws=head.train_draws, seed=step).value).sum() + head.kl() + head.penalty()).div(N).backward()
        optimizer.step()
        schedule.step()
    head.eval().fit(z, lambda p: (torch.sigmoid(p) * torch.sigmoid(-p))[..., None], N, nll)
    return head


def coverage(option: str, cohorts: int = COHORTS) -> tuple[float, float]:
    """Mean coverage of the true risk by the 90 % interval, and mean width."""
    inside, width = [], []
    for seed in range(cohorts):
        z, y, new, truth = cohort(seed)
        risk = torch.sigmoid(trained(options("head")[option], z, y)(new, n_draws=200, seed=1).value.detach().double()).numpy()
        interval = credible_interval(risk, 0.9)
        lo, hi = interval.lo[:, 0], interval.hi[:, 0]
        inside.append(float(np.mean((lo <= truth.numpy()) & (truth.numpy() <= hi))))
        width.append(float(np.mean(hi - lo)))
    return float(np.mean(inside)), float(np.mean(width))


@pytest.mark.slow
@pytest.mark.parametrize("option", LINEAR)
def test_intervals_of_linear_heads_cover_a_linear_truth(option: str) -> None:
    found, _ = coverage(option)
    assert 0.84 <= found <= 0.95


if __name__ == "__main__":
    for name in LINEAR:
        print(name, *(f"{x:.3f}" for x in coverage(name)), flush=True)

"""What heads believe before data: risks that pile up at 0 and 1 would say that an outcome is certain for a reason nobody has seen yet."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor

from equipoise.contract.tensors import generator
from equipoise.head import Head
from equipoise.head.gaussian_process import GaussianProcessHead
from equipoise.head.variational import VariationalHead
from equipoise.testing.discovery import options
from equipoise.testing.head_laws import new_head

N_DRAWS, N_ROWS = 80, 20
BASE_RATES = (0.5, 0.2)
LIMIT = 0.05


def prior_outputs(head: Head, z: Tensor) -> Tensor:
    """Outputs (S, B, K) under the head's prior."""
    if isinstance(head, VariationalHead):
        # The generative model itself, nothing conditioned.
        with torch.random.fork_rng(devices=[]), torch.no_grad(), pyro.plate("draws", N_DRAWS, dim=-1):
            torch.manual_seed(0)
            return head.model(z)
    if isinstance(head, GaussianProcessHead):
        # A row without curvature says nothing.
        head.rows, head.root, head.pull = z[:1], torch.zeros(1, 2, 2).double(), torch.zeros(1, 2).double()
        return head(z, n_draws=N_DRAWS, seed=0).value.detach()
    return torch.cat([with_prior_weights(head, s)(z, n_draws=1, seed=s).value.detach() for s in range(N_DRAWS)])


def with_prior_weights(head: Head, seed: int) -> Head:
    """Every weight drawn from the Gaussian whose negative log density is the penalty, or the mean's part of the KL; the posteriors without spread."""
    own = {name: p for name, p in head.named_parameters() if not name.rpartition(".")[2].startswith(("log_", "below"))}
    here = gradients(head, own)
    with torch.no_grad():
        for p in own.values():
            p.add_(1.0)
    precision = {name: g - here[name] for name, g in gradients(head, own).items()}
    with torch.no_grad():
        for i, (name, p) in enumerate(own.items()):
            assert (precision[name] > 0).all(), f"{name} has no prior"
            p.sub_(1.0 + here[name] / precision[name])
            p.add_(torch.randn(p.shape, generator=generator(1000 * seed + i)) / precision[name].sqrt())
        for name, p in head.named_parameters():
            if name not in own:
                p.fill_(-20.0 if name.rpartition(".")[2].startswith("log_") else 0.0)
    return head


def gradients(head: Head, of: dict[str, Tensor]) -> dict[str, Tensor]:
    found = torch.autograd.grad(head.penalty() + head.kl(), list(of.values()))
    return dict(zip(of, found, strict=True))


def deeper(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, {**node, "layers": 1}] if node.get("layers") == 0 and node.get("guide") != "full" else [node]


@pytest.mark.parametrize("d_in", [32, 256])
@pytest.mark.parametrize("option", sorted(options("head")))
def test_prior_risks_do_not_pile_up_at_0_and_1(option: str, d_in: int) -> None:
    z = torch.randn(N_ROWS, d_in, generator=generator(1))
    start = torch.logit(torch.tensor(BASE_RATES))
    for node in deeper(options("head")[option]):
        risk = torch.sigmoid(prior_outputs(new_head(node, seed=0, d_in=d_in, bias=start), z))
        assert risk.shape[1:] == (N_ROWS, 2)
        piled = ((risk < 0.01) | (risk > 0.99)).float().mean((0, 1))
        assert (piled < LIMIT).all(), f"{piled.tolist()} with {node}"
        # Nor may the prior say that all people are alike.
        assert risk.logit().std() > 0.5


def test_a_prior_that_is_too_wide_is_seen() -> None:
    z = torch.randn(N_ROWS, 32, generator=generator(1))
    head = new_head({**options("head")["point"], "prior_scale": 10.0}, seed=0, d_in=32, bias=torch.zeros(2))
    risk = torch.sigmoid(prior_outputs(head, z))
    assert float(((risk < 0.01) | (risk > 0.99)).float().mean()) > 0.5
    assert math.isclose(float(torch.cat([with_prior_weights(head, s).out.weight.detach() for s in range(50)]).std()), 10 / math.sqrt(32), rel_tol=0.05)

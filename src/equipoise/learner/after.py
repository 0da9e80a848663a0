"""After training: what heads and tasks still fit around the trained weights (Laplace posteriors, baseline hazards)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from equipoise.batches import Batches
from equipoise.contract.counter import stream_seed
from equipoise.contract.tensors import Draws, Target
from equipoise.head import Head, Likelihood
from equipoise.network import Network
from equipoise.task import Task


@torch.no_grad()
def finish_parts(network: Network, batches: Batches, chunks: Sequence[np.ndarray], *, n_draws: int, seed: int, independent: float) -> None:
    """Calls ``head.fit`` and every ``task.fit`` that does something, on all train rows with nothing dropped.

    Args:
        network: trained, in evaluation mode.
        batches: of the training cohort, with targets.
        chunks: train rows, in parts that fit into memory.
        n_draws: S of the draws that tasks see.
        seed: of the draws.
        independent: subjects over rows, in (0, 1]: several rows of a subject are told to the head as so many fewer.
    """
    fits_head = type(network.head).fit is not Head.fit
    fitting = [name for name in network.tasks if type(network.task(name)).fit is not Task.fit]
    if not fits_head and not fitting:
        return
    whole = [batches(rows) for rows in chunks]
    z = torch.cat([network.encode(batch) for batch in whole])
    targets = {name: _joined([batch.targets[name] for batch in whole]) for name in network.tasks}
    if fits_head:
        with torch.enable_grad():
            network.head.fit(z, hessian_of(network, targets), max(round(len(z) * independent), 1), nll_of(network, targets))
    draws = network.divide(network.head(z, n_draws=n_draws, seed=stream_seed("after", seed)))
    for name in fitting:
        network.task(name).fit(draws[name], targets[name])


@torch.no_grad()
def finish_spread(network: Network, batches: Batches, chunks: Sequence[np.ndarray], *, n_draws: int, seed: int) -> None:
    """Calls every ``task.fit_spread`` that does something, on the select rows with some evidence; arguments as in `finish_parts`."""
    sizing = [name for name in network.tasks if type(network.task(name)).fit_spread is not Task.fit_spread]
    if not sizing or not sum(len(rows) for rows in chunks):
        return
    whole = [batches(rows) for rows in chunks]
    z = torch.cat([network.encode(batch) for batch in whole])
    draws = network.divide(network.head(z, n_draws=n_draws, seed=stream_seed("spread", seed)))
    present = torch.cat([batch.present.any(1) for batch in whole])
    for name in sizing:
        target = _joined([batch.targets[name] for batch in whole])
        network.task(name).fit_spread(draws[name], replace(target, observed=target.observed & present))


def nll_of(network: Network, targets: dict[str, Target]) -> Likelihood:
    """The map from parameters (n', K) of these rows to their loss (n',), summed over tasks; 0 where nothing is observed."""

    def nll(params: Tensor) -> Tensor:
        return torch.stack([_rows_loss(network.task(name), targets[name])(params[:, own]) for name, own in network.slices.items()]).sum(0)

    return nll


def hessian_of(network: Network, targets: dict[str, Target]) -> Likelihood:
    """The map from parameters (n', K) of these rows to the loss's Hessian (n', K, K): a block for each task, 0 where its outcome is not observed.

    A task that gives no expected Hessian has the observed one of its loss, its negative eigenvalues set to 0.
    """

    def hessian(params: Tensor) -> Tensor:
        whole = params.new_zeros(*params.shape, params.shape[-1])
        for name, own in network.slices.items():
            task, target = network.task(name), targets[name]
            if type(task).hessian is Task.hessian:
                whole[..., own, own] = observed_hessian(_rows_loss(task, target), params[..., own])
            else:
                seen = (target.weight * target.observed).to(params)
                whole[..., own, own] = task.hessian(params[..., own]) * seen[:, None, None]
        return whole

    return hessian


def observed_hessian(nll: Likelihood, params: Tensor) -> Tensor:
    """Second derivatives (n', K, K) of a loss whose rows are their own, by K backward passes; the nearest matrix without negative eigenvalues.

    A loss that compares rows with one another (Cox) is not of this kind: its task must give its own Hessian.

    Args:
        nll: maps parameters (n', K) to (n',).
        params: (n', K).
    """
    with torch.enable_grad():
        at = params.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nll(at).sum(), at, create_graph=True)
        rows = [torch.autograd.grad(gradient[:, k].sum(), at, retain_graph=True)[0] for k in range(params.shape[1])]
    value, vector = torch.linalg.eigh(torch.stack(rows, 1).double())
    return torch.einsum("nik,nk,njk->nij", vector, value.clamp(min=0), vector).to(params)


def _rows_loss(task: Task, target: Target) -> Likelihood:
    return lambda params: task.loss(Draws(params[None]), target)


def _joined(targets: Sequence[Target]) -> Target:
    return Target(**{k: torch.cat([getattr(t, k) for t in targets]) for k in vars(targets[0])})

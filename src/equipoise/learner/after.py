"""After training: what heads and tasks still fit around the trained weights (Laplace posteriors, baseline hazards)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from equipoise.contract.counter import stream_seed
from equipoise.contract.tensors import Batch, Draws, Target
from equipoise.head import Head, Likelihood
from equipoise.network import Network
from equipoise.task import Task


@dataclass(frozen=True)
class Seen:
    """Rows as a trained network sees them.

    Args:
        z: f32 (n, D), before the head.
        present: bool (n,), whether any evidence is.
        targets: by task.
    """

    z: Tensor
    present: Tensor
    targets: dict[str, Target]

    @classmethod
    @torch.no_grad()
    def of(cls, network: Network, batches: Callable[[np.ndarray], Batch], chunks: Sequence[np.ndarray]) -> Self:
        """Of these rows, given in parts that fit into memory; there may be none."""
        whole = [batches(rows) for rows in chunks if len(rows)]
        if not whole:
            return cls(torch.zeros(0, network.fusion.d_out), torch.zeros(0, dtype=torch.bool), {})
        z = torch.cat([network.encode(batch) for batch in whole])
        return cls(z, torch.cat([batch.present.any(1) for batch in whole]), joined_targets(whole))


@torch.no_grad()
def finish_parts(network: Network, train: Seen, shown: Callable[[], Seen], *, n_draws: int, seed: int, independent: float) -> None:
    """Calls ``head.fit`` and every ``task.fit`` that does something.

    Args:
        network: trained, in evaluation mode.
        train: the train rows, which tasks are fitted to.
        shown: gives the same rows with some evidences dropped, as training shows them, which the head is fitted to; asked where it is fitted.
        n_draws: S of the draws that tasks see.
        seed: of the draws.
        independent: subjects over rows, in (0, 1]: several rows of a subject are told to the head as so many fewer.
    """
    fits_head = type(network.head).fit is not Head.fit
    fitting = [name for name in network.tasks if type(network.task(name)).fit is not Task.fit]
    if fits_head:
        rows = shown()
        n = max(round(len(rows.z) * independent), 1)
        with torch.enable_grad():
            network.head.fit(rows.z, hessian_of(network, rows.targets), n, nll_of(network, rows.targets))
    if fitting:
        draws = network.divide(network.head(train.z, n_draws=n_draws, seed=stream_seed("after", seed)))
        for name in fitting:
            network.task(name).fit(draws[name], train.targets[name])


def finish_spread(network: Network, rows: Seen, draws: Mapping[str, Draws]) -> None:
    """Calls every ``task.fit_spread`` that does something, on the rows with some evidence.

    Args:
        network: trained.
        rows: that did not teach what the draws come from; there may be none.
        draws: for these rows, by task.
    """
    for name in network.tasks if len(rows.z) else ():
        target = rows.targets[name]
        network.task(name).fit_spread(draws[name], replace(target, observed=target.observed & rows.present))


def nll_of(network: Network, targets: dict[str, Target]) -> Likelihood:
    """The map from parameters (n', K) of these rows, or draws of them (S, n', K), to their mean loss (n',), summed over tasks; 0 where nothing is observed."""

    def nll(params: Tensor) -> Tensor:
        return torch.stack([_rows_loss(network.task(name), targets[name])(params[..., own]) for name, own in network.slices.items()]).sum(0)

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
    return lambda params: task.loss(Draws(params if params.ndim == 3 else params[None]), target)


def joined_seen(seen: Sequence[Seen]) -> Seen:
    """Consecutive rows as one."""
    return Seen(torch.cat([s.z for s in seen]), torch.cat([s.present for s in seen]), joined_targets(seen))


def joined_targets(batches: Sequence[Batch] | Sequence[Seen]) -> dict[str, Target]:
    """The outcomes of consecutive batches, by task."""
    named = {name: [batch.targets[name] for batch in batches] for name in batches[0].targets}
    return {name: Target(**{k: torch.cat([getattr(t, k) for t in own]) for k in vars(own[0])}) for name, own in named.items()}

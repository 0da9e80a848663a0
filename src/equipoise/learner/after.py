"""After training: what heads and tasks still fit around the trained weights (Laplace posteriors, baseline hazards)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from equipoise.batches import Batches
from equipoise.contract.counter import stream_seed
from equipoise.contract.tensors import Target
from equipoise.head import Head
from equipoise.network import Network
from equipoise.task import Task


@torch.no_grad()
def finish_parts(network: Network, batches: Batches, chunks: Sequence[np.ndarray], *, n_draws: int, seed: int) -> None:
    """Calls ``head.fit`` and every ``task.fit`` that does something, on all train rows with nothing dropped.

    Args:
        network: trained, in evaluation mode.
        batches: of the training cohort, with targets.
        chunks: train rows, in parts that fit into memory.
        n_draws: S of the draws that tasks see.
        seed: of the draws.
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
            network.head.fit(z, hessian_of(network, targets), len(z))
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


def hessian_of(network: Network, targets: dict[str, Target]) -> Callable[[Tensor], Tensor]:
    """The map from parameters (n', K) of these rows to the loss's Hessian (n', K, K): a block for each task, 0 where its outcome is not observed."""

    def hessian(params: Tensor) -> Tensor:
        whole = params.new_zeros(*params.shape, params.shape[-1])
        for name, own in network.slices.items():
            seen = (targets[name].weight * targets[name].observed).to(params)
            whole[..., own, own] = network.task(name).hessian(params[..., own]) * seen[:, None, None]
        return whole

    return hessian


def _joined(targets: Sequence[Target]) -> Target:
    return Target(**{k: torch.cat([getattr(t, k) for t in targets]) for k in vars(targets[0])})

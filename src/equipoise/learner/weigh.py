"""After training: what a fusion still fits on select rows, which taught no view (weights of the views)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from equipoise.batches import Batches
from equipoise.contract.counter import stream_seed
from equipoise.contract.packed import lengths, offsets_of
from equipoise.contract.tensors import Tokens
from equipoise.fusion import Fusion
from equipoise.learner.after import joined_targets
from equipoise.network import Network


def weigh_views(network: Network, batches: Batches, chunks: Sequence[np.ndarray], *, n_draws: int, seed: int) -> None:
    """Calls ``fusion.fit`` where it does something, on all select rows with nothing dropped.

    Args:
        network: trained, in evaluation mode.
        batches: of the training cohort, with targets.
        chunks: select rows, in parts that fit into memory; none: nothing is fitted.
        n_draws: S of the head's draws behind the likelihood.
        seed: of the draws.
    """
    if type(network.fusion).fit is Fusion.fit or not sum(len(rows) for rows in chunks):
        return
    whole = [batches(rows) for rows in chunks]
    with torch.no_grad():
        tokens = {view: _joined([encoder(batch.parts[view]) for batch in whole]) for view, encoder in network.encoders.items()}

    def nll(z: Tensor) -> Tensor:
        draws = network.head(z, n_draws=n_draws, seed=stream_seed("weigh", seed))
        own = network.divide(draws)
        return torch.stack([network.task(name).loss(own[name], targets[name]).sum() for name in network.tasks]).sum()

    targets = joined_targets(whole)
    network.fusion.fit(tokens, torch.cat([batch.present for batch in whole]), nll)


def _joined(tokens: Sequence[Tokens]) -> Tokens:
    return Tokens(torch.cat([t.h for t in tokens]), offsets_of(torch.cat([lengths(t.offsets) for t in tokens])))

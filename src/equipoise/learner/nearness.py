"""After training: what is near to the train rows, measured on select rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from equipoise.batches import Batches
from equipoise.network import Network


@torch.no_grad()
def finish_novelty(network: Network, batches: Batches, train: Sequence[np.ndarray], select: Sequence[np.ndarray]) -> None:
    """Fits `Network.novelty` on rows with some evidence, with nothing dropped.

    Args:
        network: trained, in evaluation mode.
        batches: of the training cohort.
        train: train rows, in parts that fit into memory.
        select: select rows, likewise.
    """
    network.novelty.fit(_vectors(network, batches, train), _vectors(network, batches, select))


def _vectors(network: Network, batches: Batches, chunks: Sequence[np.ndarray]) -> Tensor:
    found = [network.encode(batch)[batch.present.any(1)] for batch in (batches(rows) for rows in chunks if len(rows))]
    return torch.cat(found) if found else torch.zeros(0, network.fusion.d_out)

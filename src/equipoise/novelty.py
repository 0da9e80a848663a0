"""How far a row's vector lies from those that the network was trained on."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

_QUANTILES = 1001
_FEWEST = 20
"""Rows without which no share of rows means anything."""


@final
class Novelty(nn.Module):
    """The share of reference rows that lie nearer to the train rows than a row does, by the Mahalanobis distance of its vector z before the head.

    0.5 is usual, 1 is farther than any. A posterior over the head's weights sees a far shift only where the head's output spreads there; the density
    of z sees it wherever the encoders carry it. Neither sees what the encoders have learnt to ignore.

    The covariance is drawn towards a multiple of the identity (Ledoit and Wolf). Reference rows are rows that the weights were not fitted to, because
    train rows lie nearer to themselves.

    Args:
        d_in: D, width of z.

    Source: Lee et al. (2018), section 2.1, with one class; Ledoit and Wolf (2004) for the covariance.
    """

    def __init__(self, d_in: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(d_in, dtype=torch.float64))
        self.register_buffer("whitener", torch.zeros(d_in, d_in, dtype=torch.float64))
        self.register_buffer("reference", torch.full((_QUANTILES,), float("inf"), dtype=torch.float64))

    @property
    def known(self) -> bool:
        """Whether it was fitted."""
        return bool(torch.isfinite(self.get_buffer("reference")).all())

    @torch.no_grad()
    def fit(self, train: Tensor, reference: Tensor) -> None:
        """Fits; with fewer than 20 rows of either kind it stays unknown.

        Args:
            train: f32 (n, D), of train rows with some evidence.
            reference: f32 (m, D), of rows that the weights were not fitted to.
        """
        if min(len(train), len(reference)) < _FEWEST:
            return
        from sklearn.covariance import ledoit_wolf

        z = train.double().cpu()
        covariance = torch.from_numpy(ledoit_wolf(z.numpy())[0])
        # Coordinates that never move (a unit that died) would make any movement infinitely far.
        covariance += torch.eye(len(covariance), dtype=torch.float64) * (1e-6 * covariance.diagonal().mean() + 1e-12)
        self.get_buffer("centre").copy_(z.mean(0))
        self.get_buffer("whitener").copy_(torch.linalg.inv(torch.linalg.cholesky(covariance)))
        levels = torch.linspace(0, 1, _QUANTILES, dtype=torch.float64)
        self.get_buffer("reference").copy_(torch.quantile(self.distance(reference).cpu(), levels))

    def distance(self, z: Tensor) -> Tensor:
        """Mahalanobis distance from the train rows, f64 (B,)."""
        moved = (z.double() - self.get_buffer("centre")) @ self.get_buffer("whitener").T
        return moved.square().sum(-1).sqrt()

    def forward(self, z: Tensor) -> Tensor:
        """The share of reference rows that lie nearer, f64 (B,), NaN before `fit`."""
        at = torch.searchsorted(self.get_buffer("reference"), self.distance(z)) / (_QUANTILES - 1)
        return torch.where(torch.isfinite(self.get_buffer("reference")).all(), at.double().clamp(max=1.0), float("nan"))

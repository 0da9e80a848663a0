"""Features in the basis in which those of the train rows are uncorrelated and vary alike, so that a prior over weights is one over outputs."""

from __future__ import annotations

from typing import Any, final

import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor, nn

from equipoise.head.saved_sizes import take_saved_sizes


@final
class Whitening(nn.Module):
    """h -> (h - mean) C^(-1/2) with the train rows' mean and covariance C; the identity until `fit`.

    Training makes some directions of the features large and leaves others near 0, and a prior of weights over features as they come takes that for
    knowledge: what training did not use could then hardly matter, and intervals come out narrow. Over whitened features w ~ N(0, s^2 / F) says that
    outputs of the train rows have standard deviation s before data (less where C is shrunk), whatever scale the features have: a g-prior,
    w ~ N(0, s^2 / F C^-1).

    C is shrunk towards a multiple of the identity, by as much as so few rows ask for: directions in which train rows hardly vary would otherwise be
    blown up without bound.

    Args:
        wanted: False: `fit` leaves the identity too.

    Source: Zellner (1986) for the prior; Ledoit and Wolf (2004), with scikit-learn, for C.
    """

    shift: Tensor
    matrix: Tensor

    def __init__(self, wanted: bool) -> None:
        super().__init__()
        self._wanted = wanted
        self.register_buffer("shift", torch.zeros(0))
        self.register_buffer("matrix", torch.zeros(0, 0))

    def forward(self, h: Tensor) -> Tensor:
        """(..., F) -> (..., F)."""
        return (h - self.shift) @ self.matrix if self.matrix.numel() else h

    @torch.no_grad()
    def fit(self, h: Tensor) -> None:
        """Finds mean and covariance.

        Args:
            h: (n, F), features of the train rows; fewer than two, or rows that are all alike, leave the identity.
        """
        if not self._wanted or len(h) < 2 or bool((h == h[0]).all()):
            return
        rows = h.detach().double().cpu()
        covariance, _ = ledoit_wolf(rows.numpy())
        value, vector = torch.linalg.eigh(torch.from_numpy(covariance))
        self.shift = rows.mean(0).to(h)
        self.matrix = (vector / value.sqrt()).to(h).contiguous()

    def moved(self, weight: Tensor) -> Tensor:
        """Weights (K, F + 1) of h, the bias last, as weights of `forward`: outputs stay as they are."""
        if not self.matrix.numel():
            return weight
        own, bias = weight.detach().double().split([weight.shape[1] - 1, 1], 1)
        return torch.cat([torch.linalg.solve(self.matrix.double(), own.mT).mT, bias + own @ self.shift.double()[:, None]], 1).to(weight)

    def back(self, d: int) -> Tensor:
        """The map f64 (d + 1, d + 1) from weights of `forward`, the bias last, to weights of h; d = F."""
        whole = torch.eye(d + 1, dtype=torch.float64, device=self.matrix.device)
        if self.matrix.numel():
            whole[:-1, :-1] = self.matrix.double()
            whole[-1, :-1] = -self.shift.double() @ self.matrix.double()
        return whole

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        take_saved_sizes(self, ("shift", "matrix"), state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

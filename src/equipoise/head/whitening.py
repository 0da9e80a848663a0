"""Features in the basis in which those of the train rows are uncorrelated and vary alike, so that a prior over weights is one over outputs."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from equipoise.head.saved_sizes import take_saved_sizes

_FOLDS = 5
SHRINKAGE = tuple(10 ** (-6 + i / 2) for i in range(13))  # up to 1; below 1e-6 lies what f32 features round
_DEAD = 1e-10  # of the largest variance


@final
class Whitening(nn.Module):
    """h -> (h - mean) C^(-1/2) with the train rows' mean and covariance C; the identity until `fit`.

    Training makes some directions of the features large and leaves others near 0, and a prior of weights over features as they come takes that for
    knowledge: what training did not use could then hardly matter, and intervals come out narrow. Over whitened features w ~ N(0, s^2 / F) says that
    outputs of the train rows have standard deviation s before data (less where C is shrunk), whatever scale the features have: a g-prior,
    w ~ N(0, s^2 / F C^-1).

    C is the covariance of `shrunk_covariance`: directions in which train rows hardly vary would otherwise be blown up without bound.

    Args:
        wanted: False: `fit` leaves the identity too.

    Source: Zellner (1986) for the prior.
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
        variance, vector = shrunk_covariance(rows)
        self.shift = rows.mean(0).to(h)
        self.matrix = (vector / variance.sqrt()).to(h).contiguous()

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


def shrunk_covariance(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The covariance ``(1 - d) S + d t I``, t the mean variance, under which left-out rows are likeliest.

    The likelihood looks at every direction relative to its own variance, as whitening does. (Ledoit and Wolf's d is that of least squared error,
    where the largest variances decide: it drowned directions of a hundredth of them, and with them much of the coverage.) A direction in which no row
    varies has nothing to say about d and gets variance t: what was never seen is doubted as much as the rest, and not without bound.

    Args:
        rows: f64 (n >= 2, F), not all alike; those of a subject stand together, so that folds of neighbours keep most subjects whole.

    Returns:
        Its eigenvalues (F,), > 0, and eigenvectors (F, F), in columns.
    """
    variance, vector = _principal(rows)
    live = variance > _DEAD * variance.max()
    scale = variance[live].mean()
    d = _likeliest_shrinkage(rows @ vector[:, live], scale) if len(rows) > 3 else 1.0
    return torch.where(live, (1 - d) * variance + d * scale, scale), vector


def _likeliest_shrinkage(rows: Tensor, scale: Tensor) -> float:
    """d, from `SHRINKAGE`, by the Gaussian likelihood of folds of neighbouring rows, two or more in each."""
    grid = rows.new_tensor(SHRINKAGE)[:, None]
    loss = rows.new_zeros(len(SHRINKAGE))
    for fold in torch.arange(len(rows)).chunk(min(_FOLDS, len(rows) // 2)):
        rest = torch.ones(len(rows), dtype=torch.bool).index_fill(0, fold, False)
        variance, vector = _principal(rows[rest])
        guess = (1 - grid) * variance + grid * scale
        left_out = ((rows[fold] - rows[rest].mean(0)) @ vector).square().mean(0)
        loss += len(fold) * (guess.log() + left_out / guess).sum(1)
    return SHRINKAGE[int(loss.argmin())]


def _principal(rows: Tensor) -> tuple[Tensor, Tensor]:
    value, vector = torch.linalg.eigh(torch.cov(rows.mT, correction=0).reshape(rows.shape[1], -1))
    return value.clamp_min(0), vector

"""Heads: z -> draws of distribution parameters, and a KL. A head knows no task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from equipoise.contract.tensors import Draws

OUTPUT_GAIN = 0.1
"""Output weights start at N(0, (OUTPUT_GAIN)^2 / d_in): predictions start near the base rate, and gradients still reach what lies before."""


Likelihood = Callable[[Tensor], Tensor]
"""A function of all train rows' distribution parameters."""


class Head(nn.Module, ABC):
    """Maps a row's vector to K distribution parameters, with uncertainty about its own weights.

    A final class takes from `assemble` the keywords ``d_in``, ``n_params`` (K) and ``bias`` (f32 (K,), where the parameters start: the tasks' base
    rates); all others stand in its yaml. Laws: a point head has S = 1; kl >= 0; in evaluation mode draw s is one weight sample (or mask) shared by
    all rows, a function of (seed, s) alone, so more draws extend fewer; saving and loading give equal draws. In training mode a head may give every
    row noise of its own where that makes the gradient less noisy and leaves the objective as it is; it says so, and the seed decides it.
    """

    spectral_norm: ClassVar[bool] = False
    needs_sum: ClassVar[bool] = False
    """Whether it takes entries of z for parameters, which only a fusion that sums views gives."""
    train_draws: int = 1
    """Draws in a training step; a head with a posterior sets its own."""

    @abstractmethod
    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """Draws (S, B, K); S = n_draws, or 1 for a head without uncertainty.

        Args:
            z: f32 (B, d_in).
            n_draws: S >= 1.
            seed: draw s uses ``stream_seed("draw", seed, s)``.
        """

    @abstractmethod
    def kl(self) -> Tensor:
        """KL(q || prior) of its weights, (), in nats, >= 0; zero for a head without a posterior."""

    @abstractmethod
    def penalty(self) -> Tensor:
        """Negative log prior of weights that have no posterior, (), in nats."""

    def fit(self, z: Tensor, hessian: Likelihood, n: int, nll: Likelihood) -> None:
        """After training: fits a posterior around the trained weights (Laplace and kin). The default does nothing.

        Args:
            z: f32 (n', d_in) of train rows.
            hessian: maps parameters (n', K), f32 or f64, to the negative log likelihood's Hessian (n', K, K), not negative; 0 where nothing is observed.
            n: number of train rows, or of subjects where some have several: the Hessian's sum over z counts as that of so many.
            nll: maps parameters (n', K), f32 or f64, or draws of them (S, n', K), to the negative log likelihood (n',), the mean over draws, differentiable:
                a Gaussian process needs its gradient, a lower bound its mean.
        """

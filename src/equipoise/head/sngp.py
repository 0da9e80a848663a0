"""A spectral-normalised neural Gaussian process: random features of a Gaussian kernel, and Laplace's covariance of their weights."""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from equipoise.contract.tensors import Draws
from equipoise.head import OUTPUT_GAIN, Head, Likelihood
from equipoise.head.last_layer import LastLayerPosterior
from equipoise.head.layers import linear_draws, output_penalty
from equipoise.head.noise import DrawNoise


@final
class SngpHead(Head):
    """f_k(z) = w_k phi(z) + b_k with phi(z) = sqrt(2 / M) cos(W z + c), W_ij ~ N(0, 1 / (length_scale^2 d_in)), c ~ uniform(0, 2 pi), both kept.

    phi(z) phi(z') tends to exp(-|z - z'|^2 / (2 length_scale^2 d_in)) as M grows: far from all train rows the features say nothing of w, so draws
    spread to the prior's. That needs distances kept by what lies before: `spectral_norm` asks `assemble` to bound the fusion and the encoders that
    declare a ``lipschitz`` constant. w is trained with its prior N(0, prior_scale^2); `fit` then sets the covariance from the loss's curvature over all train
    rows at once, where the paper keeps a running sum over the last epoch.

    Args:
        d_in: width of z.
        n_params: K.
        bias: f32 (K,), where the parameters start.
        n_features: M.
        length_scale: > 0, over sqrt(d_in): 1 = rows with standardised numbers are about one and a half length scales apart.
        structure: "auto", "full" or "kron", see `LastLayerPosterior`.
        whiten: whether the posterior's prior is over features in the basis of `Whitening`; training's is over features as they come.
        prior: "fixed" or "evidence", likewise.
        prior_scale: > 0, standard deviation of an output before data, apart from its bias.
        bias_scale: > 0.

    Source: Liu et al. (2020), eqs. 7 to 10; Rahimi and Recht (2007), section 3, for the features.
    """

    spectral_norm: ClassVar[bool] = True
    start: Tensor
    frequency: Tensor
    phase: Tensor

    def __init__(
        self,
        *,
        d_in: int,
        n_params: int,
        bias: Tensor,
        n_features: int,
        length_scale: float,
        structure: str,
        whiten: bool,
        prior: str,
        prior_scale: float,
        bias_scale: float,
    ) -> None:
        super().__init__()
        self.whiten, self.prior_scale, self.bias_scale = whiten, float(prior_scale), float(bias_scale)
        self.register_buffer("start", bias.detach().clone().to(torch.float32))
        self.register_buffer("frequency", torch.randn(n_features, d_in) / (length_scale * math.sqrt(d_in)))
        self.register_buffer("phase", 2 * math.pi * torch.rand(n_features))
        self.out = nn.Linear(n_features, n_params)
        # The features do not vanish where z does, so they start closer to 0 than a linear head's.
        nn.init.normal_(self.out.weight, std=OUTPUT_GAIN / 3)
        with torch.no_grad():
            self.out.bias.copy_(self.start)
        self.posterior = LastLayerPosterior(n_params=n_params, n_features=n_features + 1, structure=structure, prior=prior)
        self._noise = DrawNoise()

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """Draws (n_draws, B, K) once fitted; draw s is one sample of the features' weights, shared by all rows. Before: (1, B, K)."""
        phi = self.features(z)
        if self.training or not self.posterior.fitted:
            return Draws(self.out(phi)[None])
        weight = self._weight()
        return Draws(linear_draws(phi, weight + self.posterior.deviations(self._noise(seed, n_draws, weight.numel(), weight))))

    def features(self, z: Tensor) -> Tensor:
        """phi (B, M)."""
        return torch.cos(z @ self.frequency.T + self.phase) * math.sqrt(2 / len(self.phase))

    def fit(self, z: Tensor, hessian: Likelihood, n: int, nll: Likelihood) -> None:
        """Sets the covariance at the trained weights; see `Head.fit`."""
        with torch.no_grad():
            phi = self.features(z)
            # |phi|^2 is about 1, and about M where phi is whitened.
            precision = (phi.shape[1] if self.whiten else 1) / self.prior_scale**2
            curvature = hessian(self.out(phi)) * (n / len(z))
            self.posterior.fit_over(phi, curvature, self._weight(), whiten=self.whiten, precision=precision, bias_scale=self.bias_scale)

    def kl(self) -> Tensor:
        """Zero: the posterior is not trained by a lower bound."""
        return self.start.new_zeros(())

    def penalty(self) -> Tensor:
        """Sum of w^2 / (2 prior_scale^2), and of (b - start)^2 / (2 bias_scale^2), (), nats."""
        return output_penalty(self.out, self.start, self.prior_scale * math.sqrt(self.out.in_features), self.bias_scale)

    def _weight(self) -> Tensor:
        return torch.cat([self.out.weight, self.out.bias[:, None]], 1)

"""The Laplace head: one set of trained weights, and a Gaussian around those of the last layer, fitted when training is over."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from equipoise.contract.tensors import Draws
from equipoise.head import Head, Likelihood
from equipoise.head.last_layer import LastLayerPosterior
from equipoise.head.layers import features, hidden_penalty, linear_draws, linear_layers, output_penalty
from equipoise.head.noise import DrawNoise


@final
class LaplaceHead(Head):
    """Trains as the point head does; `fit` then sets N(w, (H + P)^-1) around the last layer's weights w.

    H is the Hessian of the train rows' negative log likelihood, P the prior's precision. For a Gaussian likelihood with known noise this is the exact
    posterior of a linear model; for others its second-order approximation at w. The mean stays at w also where the prior's precision is chosen by
    evidence: predictions of the mean are those that select rows chose. Until `fit`, and in training, it is a point head (S = 1).

    Args:
        d_in: width of z.
        n_params: K.
        bias: f32 (K,), where the parameters start.
        layers: number of hidden layers, each d_in wide; 0 = linear.
        structure: "auto", "full" or "kron", see `LastLayerPosterior`.
        whiten: whether the posterior's prior is over features in the basis of `Whitening`; training's is over features as they come.
        prior: "fixed": the posterior's prior has the declared scales; "evidence": its weights' precision is the one of largest marginal likelihood.
        prior_scale: > 0.
        bias_scale: > 0.

    Raises:
        UserError: a full covariance of more than 3,000 weights.

    Source: MacKay (1992), eqs. 2.4 and 2.6; Daxberger et al. (2021), section 2.
    """

    start: Tensor

    def __init__(
        self, *, d_in: int, n_params: int, bias: Tensor, layers: int, structure: str, whiten: bool, prior: str, prior_scale: float, bias_scale: float
    ) -> None:
        super().__init__()
        self.whiten, self.prior_scale, self.bias_scale = whiten, float(prior_scale), float(bias_scale)
        self.register_buffer("start", bias.detach().clone().to(torch.float32))
        self.hidden, self.out = linear_layers(d_in, layers, self.start)
        self.posterior = LastLayerPosterior(n_params=n_params, n_features=d_in + 1, structure=structure, prior=prior)
        self._noise = DrawNoise()

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """Draws (n_draws, B, K) once fitted; draw s is one sample of the last layer's weights, shared by all rows. Before: (1, B, K)."""
        h = features(self.hidden, z)
        if self.training or not self.posterior.fitted:
            return Draws(self.out(h)[None])
        weight = self._weight()
        return Draws(linear_draws(h, weight + self.posterior.deviations(self._noise(seed, n_draws, weight.numel(), weight))))

    def fit(self, z: Tensor, hessian: Likelihood, n: int, nll: Likelihood) -> None:
        """Sets the covariance at the trained weights; see `Head.fit`."""
        with torch.no_grad():
            h = features(self.hidden, z)
            precision = h.shape[1] / self.prior_scale**2
            curvature = hessian(self.out(h)) * (n / len(z))
            self.posterior.fit_over(h, curvature, self._weight(), whiten=self.whiten, precision=precision, bias_scale=self.bias_scale)

    def kl(self) -> Tensor:
        """Zero: the posterior is not trained by a lower bound."""
        return self.start.new_zeros(())

    def penalty(self) -> Tensor:
        """Negative log prior of all layers, (), nats, as the point head's."""
        output = output_penalty(self.out, self.start, self.prior_scale, self.bias_scale)
        return output + hidden_penalty(self.hidden, self.prior_scale, self.bias_scale)

    def _weight(self) -> Tensor:
        return torch.cat([self.out.weight, self.out.bias[:, None]], 1)

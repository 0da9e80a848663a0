"""A variational last layer: for each output a Gaussian with every covariance between its weights, trained by the lower bound."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.tensors import Draws
from equipoise.head import Head, Likelihood
from equipoise.head.divergence import gaussian_kl
from equipoise.head.last_layer import with_one
from equipoise.head.layers import features, hidden_penalty, linear_draws, linear_layers
from equipoise.head.noise import DrawNoise, row_noise
from equipoise.head.settle import settle
from equipoise.head.whitening import Whitening


@final
class VariationalLastLayerHead(Head):
    """Hidden layers with one set of weights; the last layer's weights w_k of output k have q(w_k) = N(m_k, D A_k A_k^T D).

    D holds the prior's standard deviations and A_k is lower triangular, so that A_k = 1 is the prior's spread. Given the features an output is
    Gaussian, N(m_k phi, |A_k^T D phi|^2): in training mode every row's outputs are drawn from it (the gradient is less noisy, the bound the same); in
    evaluation mode draw s is one sample of the weights, shared by all rows.

    This is the posterior of variational Bayesian last layers without their losses: those integrate a Gaussian likelihood in closed form, or bound the
    softmax's, so they need to know the task, and a head knows none. Here the same expectation is drawn, which is unbiased for every likelihood.

    Args:
        d_in: width of z.
        n_params: K.
        bias: f32 (K,), where the parameters start.
        layers: number of hidden layers, each d_in wide; 0 = linear.
        whiten: whether `fit` changes to the basis of `Whitening`, and the prior with it; training's is over features as they come.
        prior_scale: > 0.
        bias_scale: > 0.
        init_scale: > 0, every posterior standard deviation before training, over that of the prior.
        train_draws: draws in a training step.

    Source: the posterior: Harrison, Willes and Snoek (2024), section 3; the drawn outputs: Kingma, Salimans and Welling (2015), eq. 6, with
    covariances: ours.
    """

    prior_loc: Tensor
    prior_sd: Tensor

    def __init__(
        self,
        *,
        d_in: int,
        n_params: int,
        bias: Tensor,
        layers: int,
        whiten: bool,
        prior_scale: float,
        bias_scale: float,
        init_scale: float,
        train_draws: int,
    ) -> None:
        super().__init__()
        self.train_draws, self.prior_scale, self.bias_scale = train_draws, float(prior_scale), float(bias_scale)
        self.hidden, out = linear_layers(d_in, layers, bias.detach().to(torch.float32))
        start = out.bias.detach().clone()[:, None]
        self.register_buffer("prior_loc", torch.cat([torch.zeros(n_params, d_in), start], 1))
        self.register_buffer("prior_sd", torch.tensor([prior_scale / math.sqrt(d_in)] * d_in + [bias_scale]))
        self.loc = nn.Parameter(torch.cat([out.weight.detach(), start], 1))
        self.log_diagonal = nn.Parameter(torch.full((n_params, d_in + 1), math.log(init_scale)))
        self.below = nn.Parameter(torch.zeros(n_params, d_in + 1, d_in + 1))
        self.whitening = Whitening(whiten)
        self._noise = DrawNoise()

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """Draws (n_draws, B, K); in evaluation mode draw s is one weight sample, in training mode rows have noise of their own."""
        h = self.whitening(features(self.hidden, z))
        if self.training:
            return Draws(self._with_row_noise(h, n_draws, seed))
        noise = self._noise(seed, n_draws, self.loc.numel(), self.loc).unflatten(1, self.loc.shape)
        return Draws(linear_draws(h, self.loc + self.prior_sd * torch.einsum("kfg,skg->skf", self._factor(), noise)))

    def fit(self, z: Tensor, hessian: Likelihood, n: int, nll: Likelihood) -> None:
        """Brings the covariances to the lower bound's optimum at the trained means; see `settle`."""
        with torch.no_grad():
            self.whitening.fit(features(self.hidden, z))
            self.loc.copy_(self.whitening.moved(self.loc))
        settle(self, [self.log_diagonal, self.below], z, n, nll)

    def kl(self) -> Tensor:
        """KL(q || prior) in closed form, (), nats."""
        # A's diagonal and the means are as without covariances; what lies below the diagonal adds to the trace alone.
        return gaussian_kl(2 * self.log_diagonal, (self.loc - self.prior_loc) / self.prior_sd) + 0.5 * self.below.tril(-1).square().sum()

    def penalty(self) -> Tensor:
        """Negative log prior of the hidden layers, (), nats."""
        return hidden_penalty(self.hidden, self.prior_scale, self.bias_scale).to(self.loc)

    def posterior(self) -> tuple[Tensor, Tensor]:
        """Means (K, d_in + 1), the bias last, and covariances (K, d_in + 1, d_in + 1) of the last layer's weights."""
        root = self.prior_sd[:, None] * self._factor()
        return self.loc, root @ root.mT

    def _factor(self) -> Tensor:
        return self.below.tril(-1) + torch.diag_embed(self.log_diagonal.exp())

    def _with_row_noise(self, h: Tensor, n_draws: int, seed: int) -> Tensor:
        mean = F.linear(h, self.loc[:, :-1], self.loc[:, -1])
        spread = torch.linalg.vector_norm(torch.matmul(with_one(h) * self.prior_sd, self._factor()), dim=-1).T
        return mean + spread * row_noise(seed, mean.expand(n_draws, *mean.shape))

"""The variational head: a posterior over the weights in Pyro, with the guide and the prior that the config names."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws
from equipoise.head import Head, Likelihood
from equipoise.head.noise import DrawNoise
from equipoise.head.pyro_guides import divergence, make_guide, move_mean, of_site, sampled, spreads
from equipoise.head.pyro_layers import Chain, GaussianLayer, HorseshoeLayer
from equipoise.head.settle import settle
from equipoise.head.whitening import Whitening

GUIDES = ("diagonal", "low_rank", "full", "horseshoe")
MOST_FULL = 3000
"""Weights of a full guide: it learns half the square of their number."""


@final
class VariationalHead(Head):
    """A linear layer, or a small perceptron, whose weights have a Gaussian posterior fitted by the evidence lower bound.

    Model: w ~ N(0, prior_scale^2 / d_in) in every layer, output bias ~ N(base rate, bias_scale^2). Guides, with Pyro's autoguides:

    - "diagonal": q(w) = prod N(loc, scale^2);
    - "low_rank": all weights together, N(loc, D (1 + F F^T) D) with D diagonal and F of ``rank`` columns;
    - "full": all weights together, every covariance;
    - "horseshoe": another prior, under which most inputs are irrelevant (see `HorseshoeLayer`), with a factorised posterior, log-normal for its scales.

    The posterior is that of these weights given the encoder and the fusion: it does not cover what those do not know.

    Args:
        d_in: width of z.
        n_params: K.
        bias: f32 (K,), where the parameters start.
        layers: number of hidden layers, each d_in wide; 0 = linear.
        guide: "diagonal", "low_rank", "full" or "horseshoe".
        rank: >= 1, of "low_rank" alone.
        relevant: in (0, 1), share of inputs that "horseshoe" expects to matter.
        whiten: whether `fit` changes z to the basis of `Whitening`, and the prior with it; training's is over z as it comes. Not of "horseshoe", which
            is about single inputs.
        prior_scale: > 0.
        bias_scale: > 0.
        init_scale: > 0, every posterior standard deviation before training; small, or the first steps are noise.
        train_draws: draws in a training step.

    Raises:
        UserError: an unknown guide, a share outside (0, 1), or a full guide of more than 3,000 weights.

    Source: Blundell et al. (2015), section 3.2, with draws shared by the rows of a batch; Bingham et al. (2019), Pyro.
    """

    def __init__(
        self,
        *,
        d_in: int,
        n_params: int,
        bias: Tensor,
        layers: int,
        guide: str,
        rank: int,
        relevant: float,
        whiten: bool,
        prior_scale: float,
        bias_scale: float,
        init_scale: float,
        train_draws: int,
    ) -> None:
        super().__init__()
        _check(guide, relevant, whiten, layers * d_in * (d_in + 1) + n_params * (d_in + 1))
        self.train_draws = train_draws

        def layer(bias: Tensor) -> GaussianLayer:
            if guide == "horseshoe":
                return HorseshoeLayer(d_in, bias, prior_scale, bias_scale, relevant)
            return GaussianLayer(d_in, bias, prior_scale, bias_scale)

        self.model = Chain([*(layer(torch.zeros(d_in)) for _ in range(layers)), layer(bias)])
        self.guide = make_guide(guide, self.model, d_in=d_in, init_scale=float(init_scale), rank=rank)
        self.whitening = Whitening(whiten)
        self._noise = DrawNoise()

    def forward(self, z: Tensor, *, n_draws: int, seed: int) -> Draws:
        """Draws (n_draws, B, K); draw s is one sample of all weights, from ``stream_seed("draw", seed, s)``, shared by all rows."""
        return Draws(self.model.outputs(self.whitening(z), sampled(self.guide, self._noise, seed=seed, n_draws=n_draws)))

    def fit(self, z: Tensor, hessian: Likelihood, n: int, nll: Likelihood) -> None:
        """Brings the guide's standard deviations and covariances to the lower bound's optimum at the trained means; see `settle`."""
        self.whitening.fit(z)
        weight, bias = (self.posterior(f"layers.0.{name}")[0] for name in ("weight", "bias"))
        moved = self.whitening.moved(torch.cat([weight, bias[:, None]], 1))
        move_mean(self.guide, "layers.0.weight", moved[:, :-1])
        move_mean(self.guide, "layers.0.bias", moved[:, -1])
        settle(self, spreads(self.guide), z, n, nll)

    def kl(self) -> Tensor:
        """KL(q || prior) in closed form, (), nats, for every guide."""
        return divergence(self.guide, self.model)

    def posterior(self, site: str) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of a site such as ``layers.0.weight``, each in the site's shape; of a scale, those of its logarithm."""
        return of_site(self.guide, site)

    def penalty(self) -> Tensor:
        """Zero: every weight has a posterior."""
        return self.model.layers[0].bias_mean.new_zeros(())


def _check(guide: str, relevant: float, whiten: bool, n_weights: int) -> None:
    if guide not in GUIDES:
        raise UserError("head.guide", expected=", ".join(GUIDES), found=repr(guide), mend="set head.guide=diagonal")
    if not 0 < relevant < 1:
        raise UserError("head.relevant", expected="a share between 0 and 1", found=f"{relevant:g}", mend="set head.relevant=0.1")
    if guide == "horseshoe" and whiten:
        raise UserError(
            "head.whiten does not go with head.guide=horseshoe",
            expected="false: a horseshoe says that single inputs are irrelevant, and whitened features mix them",
            found="true",
            mend="set head.whiten=false",
        )
    if guide == "full" and n_weights > MOST_FULL:
        raise UserError(
            "head.guide=full is too large for this head",
            expected=f"at most {MOST_FULL} weights",
            found=str(n_weights),
            mend="set head.guide=low_rank, or head.layers=0",
        )

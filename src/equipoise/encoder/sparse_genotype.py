"""Scores of few strong variants among many: linear in the calls, with a prior of heavy tails."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Genotypes, GenotypesSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.one_token import check_scores, scores_in_front
from equipoise.encoder.standardised_calls import StandardisedCalls


@final
class SparseGenotype(Encoder):
    """k scores ``prior_scale * sum over v of u_v x_v`` of standardised calls x, in the first k entries of the token, zeros behind.

    The prior of an effect is Cauchy(0, prior_scale), whose negative log density is ``log(1 + u^2)``: a Gaussian with a variance of its own for every
    variant. Its tails are the horseshoe's, 1/u^2, so a strong effect is hardly shrunk; near zero it is ridge regression with standard
    deviation ``prior_scale / sqrt(2)``. Unlike the horseshoe's its density is finite at zero, so a most probable value exists; it is no selection:
    effects become small, not zero. With one standardised variant, an estimate b of standard error s/sqrt(n) leaves the ridge when
    ``|b| > s^2 / (n prior_scale)``. Chance gives |b| up to ``s sqrt(2 log V / n)``, so ``prior_scale`` should be about ``s / sqrt(2 n log V)``.

    Args:
        spec: of the view.
        d_model: D >= n_scores.
        n_scores: k; one for one outcome, more for classes or several tasks.
        prior_scale: of the effect of one standardised variant on a score, > 0.
        lr_scale: what the learning rate is multiplied with for this part; a strong effect is tens of units of u away from the start.

    Source: Carvalho, Polson and Scott (2010), table 1, for the Cauchy among shrinkage priors; the threshold is ours.
    """

    accepts = Genotypes

    def __init__(self, *, spec: GenotypesSpec, d_model: int, n_scores: int, prior_scale: float, lr_scale: float) -> None:
        super().__init__()
        check_scores(n_scores, d_model)
        self.n_scores = n_scores
        if not prior_scale > 0:
            raise UserError(f"prior_scale is {prior_scale}", expected="a number above 0", mend="about (noise sd) / sqrt(2 n log V)")
        self.lr_scale, self._d_model, self._scale = lr_scale, d_model, prior_scale
        self.calls = StandardisedCalls(spec)
        # Not zero: with a head that also starts at zero no gradient would reach either.
        self.u = nn.Parameter(torch.randn(n_scores, spec.n_variants) * 0.1)

    def forward(self, part: Genotypes) -> Tokens:  # type: ignore[override]
        return scores_in_front(self.calls.scores(part.packed, self._scale * self.u), self._d_model, part)

    def penalty(self) -> Tensor:
        return torch.log1p(self.u.square()).sum()

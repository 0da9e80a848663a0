"""Polygenic scores: linear in the calls, the standardisation folded into the weights, computed from the packed bytes."""

from __future__ import annotations

from math import sqrt
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.contract.prior import gaussian
from equipoise.contract.tensors import Genotypes, GenotypesSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.calls_of_byte import COPIES, MISSING
from equipoise.encoder.folded_calls import folded_scores, in_half
from equipoise.encoder.one_token import check_scores, scores_in_front


@final
class LinearGenotype(Encoder):
    """k polygenic scores, ``score = prior_scale / sqrt(V) * sum over v of u_v (copies_v - mean_v) / sd_v``, in the first k entries of the token, zeros behind.

    A missing call counts as the train mean; a variant that does not vary in the train rows contributes nothing, and V counts the others.
    The prior is u ~ N(0, 1), so a score of standardised calls has prior standard deviation ``prior_scale``. A fixed head of weight 1 with squared error
    makes this ridge regression, and GBLUP, with ``h2 / (1 - h2) = prior_scale^2 / noise variance``. In units of u all weights have the same scale;
    Adam moves a score by up to ``learning rate * prior_scale * sqrt(V)`` a step, hence its own learning rate.

    Args:
        spec: of the view.
        d_model: D >= n_scores.
        n_scores: k; one for one outcome, more for classes or several tasks.
        prior_scale: prior standard deviation of a score.
        lr_scale: what the learning rate is multiplied with for this part.

    Source: VanRaden (2008) for the equivalence with GBLUP; the folding is ours.
    """

    accepts = Genotypes
    mean: Tensor
    inverse_sd: Tensor
    copies: Tensor
    missing: Tensor

    def __init__(self, *, spec: GenotypesSpec, d_model: int, n_scores: int, prior_scale: float, lr_scale: float) -> None:
        super().__init__()
        check_scores(n_scores, d_model)
        self.n_scores = n_scores
        self.lr_scale, self._d_model = lr_scale, d_model
        mean, sd = (torch.tensor(x, dtype=torch.float32) for x in (spec.mean, spec.sd))
        varies = sd > 0
        self._scale = prior_scale / sqrt(max(int(varies.sum()), 1))
        self.register_buffer("mean", mean)
        self.register_buffer("inverse_sd", torch.where(varies, 1 / torch.where(varies, sd, 1.0), 0.0))
        self.register_buffer("copies", COPIES, persistent=False)
        self.register_buffer("missing", MISSING, persistent=False)
        # Not zero: with a head that also starts at zero no gradient would reach either.
        self.u = nn.Parameter(torch.randn(n_scores, spec.n_variants) * 0.01)

    def forward(self, part: Genotypes) -> Tokens:  # type: ignore[override]
        weight = self.u * (self._scale * self.inverse_sd)
        score = folded_scores(part.packed, weight, self.mean) if in_half(part.packed.device) else self._in_single(part.packed, weight)
        return scores_in_front(score, self._d_model, part)

    def penalty(self) -> Tensor:
        return gaussian(self.u, 1.0, 1)

    def _in_single(self, packed: Tensor, weight: Tensor) -> Tensor:
        """Scores f32 (P, k), from all calls at once."""
        at_mean = weight * self.mean
        index = packed.to(torch.int32)
        score = self._decoded(self.copies, index) @ weight.T - at_mean.sum(1)
        if bool(self.missing.any(1)[index].any()):
            score = score + self._decoded(self.missing, index) @ at_mean.T
        return score

    def _decoded(self, table: Tensor, index: Tensor) -> Tensor:
        """f32 (P, V): each byte's four entries of a (256, 4) table."""
        return F.embedding(index, table).flatten(1)[:, : self.u.shape[1]]

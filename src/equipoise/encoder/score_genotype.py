"""Fixed scores of a genome as tokens: published polygenic scores and components of ancestry."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.prior import gaussian
from equipoise.contract.tensors import Genotypes, GenotypesSpec, Tokens
from equipoise.encoder import Encoder
from equipoise.encoder.one_token import one_token_each, tokens_each
from equipoise.encoder.standardised_calls import StandardisedCalls


@final
class ScoreGenotype(Encoder):
    """``s_j = sum over v of weight_jv x_v`` of standardised calls x with weights that are not learnt; ``token_j = a_j s_j + place_j``, or their sum.

    The view scales each score to mean 0 and standard deviation 1 over the train rows. A missing call counts as the train mean. The priors are
    a ~ N(0, prior_scale^2 / S) for the sum ``one_token``, so that its entries have standard deviation ``prior_scale`` for unrelated scores,
    and N(0, prior_scale^2) for tokens of their own, with place ~ N(0, prior_scale^2 / D).

    Args:
        spec: of the view, with scores.
        d_model: D.
        one_token: one token a row instead of one for each score.
        prior_scale: > 0.
        lr_scale: what the learning rate is multiplied with for this part.

    Raises:
        UserError: the view has no scores.

    Source: Purcell et al. (2009) for polygenic scores; Price et al. (2006) for components beside them.
    """

    accepts = Genotypes
    weight: Tensor

    def __init__(self, *, spec: GenotypesSpec, d_model: int, one_token: bool, prior_scale: float, lr_scale: float) -> None:
        super().__init__()
        if spec.scores is None:
            mend = "give it some, e.g. modality.genotype.scores=FILE or modality.genotype.components=4"
            raise UserError("The view has no scores", expected="published weights, or components", mend=mend)
        self.lr_scale, self._prior_scale, self._d_model = lr_scale, prior_scale, d_model
        self.calls = StandardisedCalls(spec)
        self.register_buffer("weight", torch.tensor(spec.scores, dtype=torch.float32), persistent=False)
        n_scores = spec.scores.shape[0]
        self._fan_in = n_scores if one_token else 1
        self.a = nn.Parameter(torch.randn(n_scores, d_model) * self._fan_in**-0.5)
        self.place = None if one_token else nn.Parameter(torch.randn(n_scores, d_model) * d_model**-0.5)

    def forward(self, part: Genotypes) -> Tokens:  # type: ignore[override]
        score = self.calls.scores(part.packed, self.weight)
        if self.place is None:
            return one_token_each(score @ self.a, part)
        return tokens_each(score[:, :, None] * self.a + self.place, part)

    def penalty(self) -> Tensor:
        total = gaussian(self.a, self._prior_scale, self._fan_in)
        return total if self.place is None else total + gaussian(self.place, self._prior_scale, self._d_model)

"""Scores of thousands of numbers, with the prior of an elastic net: a few effects stand out, most are near zero, correlated ones share."""

from __future__ import annotations

from math import sqrt
from typing import final

import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.prior import gaussian
from equipoise.contract.tensors import Tokens, Vector, VectorSpec
from equipoise.encoder import Encoder
from equipoise.encoder.categories import Categories
from equipoise.encoder.one_token import check_scores, scores_in_front


@final
class ElasticNet(Encoder):
    """k scores, ``score = sum over f of w_f * value_f * observed_f + category effects``, times sqrt(D) in the first k entries of the token, zeros behind.

    A value that was not observed counts as the train mean. The negative log prior is ``sum |w| / laplace_scale + sum w^2 / (2 gaussian_scale^2)``.
    It is not stated of w itself, which Adam would keep shaking around 0, but of ``w = u v`` as ``sum (u^2 + v^2) / (2 laplace_scale) + sum w^2 / ...``:
    that is smooth everywhere, least where |u| = |v|, and there equal to the former. So the minimum is the elastic net's, and a small effect
    falls to 0 by itself, without a kink and without a step that depends on the optimizer.

    With a head of weight 1, squared error and noise variance s^2 this is scikit-learn's ElasticNet with
    ``alpha l1_ratio = s^2 / (n laplace_scale)`` and ``alpha (1 - l1_ratio) = s^2 / (n gaussian_scale^2)``. A head that multiplies a score by a
    multiplies both scales by a; sqrt(D) makes a about 1 under a head's prior, whose weights are N(0, 1 / D). Because both start small, a scale that is far
    too small ends at no score at all: then raise it.

    Args:
        spec: of the view.
        d_model: D >= n_scores.
        n_scores: k; one for one outcome, more for classes, several tasks or hidden layers behind.
        laplace_scale: mean absolute effect of a standard deviation under the Laplace factor, > 0; noise around n rows and F numbers
            is held at 0 by about ``s / sqrt(2 n ln F)``, with 2 / sqrt(n) for s / sqrt(n) in a balanced binary outcome, 1 / sqrt(events) in survival.
        gaussian_scale: standard deviation of an effect under the Gaussian factor, and of a level's effect, > 0.
        lr_scale: what the learning rate is multiplied with for this part.

    Source: Zou and Hastie (2005); the product form, Hoff (2017), section 2.
    """

    accepts = Vector

    def __init__(self, *, spec: VectorSpec, d_model: int, n_scores: int, laplace_scale: float, gaussian_scale: float, lr_scale: float) -> None:
        super().__init__()
        check_scores(n_scores, d_model)
        self.n_scores = n_scores
        if min(laplace_scale, gaussian_scale) <= 0:
            raise UserError("A prior scale of the encoder elastic_net", expected="more than 0", found=f"{laplace_scale} and {gaussian_scale}")
        self.lr_scale, self._d_model = lr_scale, d_model
        self._laplace_scale, self._gaussian_scale = laplace_scale, gaussian_scale
        # Once u and v are both 0 no gradient brings them back. So u starts far from it, and a head that starts near zero has a hundred steps to
        # grow before the prior could have closed what the outcome asks for. v is small and not zero, so that the head has a gradient.
        self.u = nn.Parameter(torch.full((n_scores, spec.n_values), _OPEN))
        self.v = nn.Parameter(torch.randn(n_scores, spec.n_values) * 0.01)
        self.categories = Categories(spec.cardinalities, n_scores)
        if self.categories.table is not None:
            nn.init.normal_(self.categories.table.weight, std=0.01)

    @property
    def effect(self) -> Tensor:
        """w, (k, F): effect on each score of one standard deviation of each number."""
        return self.u * self.v

    def forward(self, part: Vector) -> Tokens:  # type: ignore[override]
        level = self.categories(part.category).reshape(*part.category.shape, self.u.shape[0]).sum(1)
        score = part.value.masked_fill(~part.observed, 0.0) @ self.effect.T + level
        return scores_in_front(score * sqrt(self._d_model), self._d_model, part)

    def penalty(self) -> Tensor:
        laplace = (self.u.square().sum() + self.v.square().sum()) / (2 * self._laplace_scale)
        own = laplace + gaussian(self.effect, self._gaussian_scale, 1)
        return own + sum((gaussian(p, self._gaussian_scale, 1) for p in self.categories.parameters()), torch.zeros(()))


_OPEN = 0.5  # with 1.0 noise is still open after 200 steps, with 0.14 everything has closed before the head has grown (tried with F = 2,000, n = 300)
